"""Keeps what the SDK logs about agents off the root logger.

google-antigravity 0.1.22 logs with the functions of the module `logging`, so on the root logger. An
application whose agent merely restarts its process would see the SDK's tracebacks on standard
error.

`redirect_logging` replaces the name `logging` in the SDK's modules. In the threads of agents, log
calls then go to loguru if the application wants them, and nowhere otherwise. In all other threads
they go where they went before, so other code that uses the SDK sees no difference. The root logger
does not change.

A thread of an agent is known by its name: that of the agent's loop, or of the thread that reads its
harness's standard error. Context variables do not help: other actors inherit them, and their use of
the SDK does not concern their agent.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

from loguru import logger

from agy_actors._sdk.process.harness_process import READER_THREADS

__all__ = ["carry_over", "redirect_logging"]

_AGENT_THREADS = "AgentActor-"
"""The prefix of the names of threads with the loop of an agent."""

_ORIGIN = "google.antigravity"


class _Redirect:
    """Replaces the module `logging` in a module of the SDK. Thread-safe."""

    def __init__(self) -> None:
        self.min_level: int | None = None
        """The lowest level that goes to loguru; `None` to drop everything."""

    def __getattr__(self, name: str) -> Any:
        return getattr(logging, name)

    def debug(self, msg: object, *args: Any, **options: Any) -> None:
        self.log(logging.DEBUG, msg, *args, **_one_frame_up(options))

    def info(self, msg: object, *args: Any, **options: Any) -> None:
        self.log(logging.INFO, msg, *args, **_one_frame_up(options))

    def warning(self, msg: object, *args: Any, **options: Any) -> None:
        self.log(logging.WARNING, msg, *args, **_one_frame_up(options))

    def error(self, msg: object, *args: Any, **options: Any) -> None:
        self.log(logging.ERROR, msg, *args, **_one_frame_up(options))

    def critical(self, msg: object, *args: Any, **options: Any) -> None:
        self.log(logging.CRITICAL, msg, *args, **_one_frame_up(options))

    def exception(self, msg: object, *args: Any, exc_info: Any = True, **options: Any) -> None:
        self.log(logging.ERROR, msg, *args, exc_info=exc_info, **_one_frame_up(options))

    def log(self, level: int, msg: object, *args: Any, **options: Any) -> None:
        if not _is_agents_thread():
            # The SDK itself logs on the root logger.
            logging.log(level, msg, *args, **_one_frame_up(options))  # noqa: LOG015
            return
        minimum = self.min_level
        if minimum is None or level < minimum or not logging.getLogger().isEnabledFor(level):
            return
        record = logging.LogRecord(_ORIGIN, level, "", 0, msg, args, None)
        # As DEBUG, because the SDK's texts may quote prompts and replies.
        logger.bind(origin=_ORIGIN).opt(exception=bool(options.get("exc_info"))).log(
            "DEBUG", "{}", record.getMessage()
        )


_redirect = _Redirect()


def redirect_logging() -> None:
    """Redirect the log calls of all SDK modules that are loaded. Repeating it is safe.

    Modules that the SDK loads later, such as those of LiteRT, are redirected by the next call.
    """
    # `copy` is one step. `list` of the items makes tuples, and with these a garbage collection may
    # run (up to Python 3.11), in which another thread imports a module.
    for name, module in sys.modules.copy().items():
        if name.startswith("google.antigravity") and vars(module).get("logging") is logging:
            vars(module)["logging"] = _redirect


def carry_over(min_level: int) -> None:
    """Send what the SDK logs in agents' threads to loguru, as DEBUG, from a level upwards.

    The level of the root logger applies, too.
    """
    _redirect.min_level = min_level


def _is_agents_thread() -> bool:
    return threading.current_thread().name.startswith((_AGENT_THREADS, READER_THREADS))


def _one_frame_up(options: dict[str, Any]) -> dict[str, Any]:
    """Return options so that a record names the SDK's line, and not one of this module."""
    return {**options, "stacklevel": options.get("stacklevel", 1) + 1}
