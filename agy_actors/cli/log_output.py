"""Prints the library's log on standard error, for ``--log-level``."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum

from loguru import logger

from agy_actors import carry_over_logging

__all__ = ["LogLevel", "show_logs"]


class LogLevel(StrEnum):
    """The lowest level of log lines to show."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def show_logs(level: LogLevel) -> None:
    """Print the library's log lines of a level and above on standard error."""
    logger.remove()
    # A function, because a live display replaces `sys.stderr`. No values of variables
    # (`diagnose`), because one may be an API key.
    logger.add(
        _write_error,
        level=level.value.upper(),
        backtrace=False,
        diagnose=False,
        colorize=sys.stderr is not None and sys.stderr.isatty(),
    )
    logger.enable("agy_actors")
    carry_over_logging()
    # The SDK adds a handler to the root logger, which would print these lines a second time.
    logging.getLogger("pykka").propagate = False


def _write_error(line: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(line)
