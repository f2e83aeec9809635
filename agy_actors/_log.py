"""Logs with loguru, which is silent until the application enables it.

    from loguru import logger
    logger.enable("agy_actors")

Each line is bound (`record["extra"]`) to its `agent`, `supervisor` and `turn`. No line above DEBUG
contains any part of a prompt, and no line contains an API key.
"""

from __future__ import annotations

import logging

from loguru import logger

from agy_actors._actors.arguments import shown
from agy_actors._actors.errors import InvalidArgument
from agy_actors._sdk import sdk_logging

__all__ = ["carry_over_logging"]

logger.disable("agy_actors")

_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
"""The levels of standard logging that loguru has, too."""


def carry_over_logging(level: int | str = logging.INFO) -> None:
    """Send what pykka and the SDK log by standard `logging` about agents to loguru, too.

    The SDK's texts may quote prompts and replies, so they all become DEBUG. Lines are bound with
    `origin`: `"pykka"` or `"google.antigravity"`.

    Args:
        level: the lowest level of standard logging that is carried over: its number or its name.

    Raises:
        InvalidArgument: it is not a level. Nothing is changed.
    """
    level = _number_of(level)
    pykka_logger = logging.getLogger("pykka")
    if not any(isinstance(handler, _ToLoguru) for handler in pykka_logger.handlers):
        pykka_logger.addHandler(_ToLoguru())
    pykka_logger.setLevel(level)
    sdk_logging.carry_over(level)


def _number_of(level: int | str) -> int:
    number = logging.getLevelNamesMapping().get(level) if isinstance(level, str) else level
    if not isinstance(number, int) or isinstance(number, bool):
        raise InvalidArgument(f"level must be a level of logging, such as INFO, got {shown(level)}")
    return number


class _ToLoguru(logging.Handler):
    """Sends the records of pykka's logger to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in _LEVELS else "DEBUG"
        logger.bind(origin="pykka").opt(exception=record.exc_info).log(
            level, "{}", record.getMessage()
        )
