"""Logs: loguru's, silent until the application enables them.

    from loguru import logger
    logger.enable("agy_actors")

Every line is bound (`record["extra"]`) to what it is about: `agent`, `supervisor`,
`turn`. No line above DEBUG holds anything of a prompt, and none holds an API key.
"""

from __future__ import annotations

import logging
import threading

from loguru import logger

from agy_actors._kernel import InvalidArgument, shown

__all__ = ["carry_over_logging", "hush_sdk"]

logger.disable("agy_actors")

_AGENT_THREADS = "AgentActor-"
_READER_THREADS = "agy_actors-"  # As in _harness._process.
_SDK = "/google/antigravity/"
_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})


def carry_over_logging(level: int | str = logging.INFO) -> None:
    """Have what pykka and the SDK say by standard `logging` go to loguru too.

    The SDK's words may quote prompts and what a service answered, so all of them become
    DEBUG. Lines are bound with `origin`: `"pykka"` or `"google.antigravity"`.

    Args:
        level: the least level of standard logging that is carried over: its number or its name.

    Raises:
        InvalidArgument: it is neither. Nothing is changed.
    """
    level = _number_of(level)
    pykka_logger = logging.getLogger("pykka")
    if not any(isinstance(handler, _ToLoguru) for handler in pykka_logger.handlers):
        pykka_logger.addHandler(_ToLoguru("pykka"))
    pykka_logger.setLevel(level)
    _hush.carry_from = level
    hush_sdk()


def hush_sdk() -> None:
    """Keep the SDK's words about our agents off the root logger.

    The SDK logs on the root logger, so an application that merely has an agent whose
    process is restarted would see tracebacks of it on its standard error. Records are
    taken from the threads of agents alone: what else uses the SDK is not touched.
    """
    root = logging.getLogger()
    if _hush not in root.filters:
        root.addFilter(_hush)


def _number_of(level: int | str) -> int:
    number = logging.getLevelNamesMapping().get(level) if isinstance(level, str) else level
    if not isinstance(number, int) or isinstance(number, bool):
        raise InvalidArgument(f"level is a level of logging, such as INFO, got {shown(level)}")
    return number


class _ToLoguru(logging.Handler):
    def __init__(self, origin: str) -> None:
        super().__init__()
        self._origin = origin

    def emit(self, record: logging.LogRecord) -> None:
        _forward(record, self._origin)


class _Hush(logging.Filter):
    carry_from: int | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        ours = _SDK in record.pathname.replace("\\", "/") and _in_agent()
        if ours and self.carry_from is not None and record.levelno >= self.carry_from:
            _forward(record, "google.antigravity")
        return not ours


_hush = _Hush()


def _in_agent() -> bool:
    """Tell whether this thread works for one of our agents: its loop's, or its reader's.

    Both are known by their names alone. The context is no help: other actors have it too,
    and what they do with the SDK is theirs.
    """
    return threading.current_thread().name.startswith((_AGENT_THREADS, _READER_THREADS))


def _forward(record: logging.LogRecord, origin: str) -> None:
    level = record.levelname if origin == "pykka" and record.levelname in _LEVELS else "DEBUG"
    logger.bind(origin=origin).opt(exception=record.exc_info).log(level, "{}", record.getMessage())
