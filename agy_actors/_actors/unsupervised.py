"""Crashes and dead letters of actors without a supervisor."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["announce_dead_letter", "dead_letter_listeners", "print_unseen_error"]

dead_letter_listeners: dict[Callable[[str, Any], object], None] = {}
"""Callbacks that get the actor's name and the message, on any thread. They must not raise or
block."""


def announce_dead_letter(actor: str, message: object) -> None:
    """Pass the listeners a message that an actor's end left unhandled."""
    for listener in dead_letter_listeners.copy():
        try:
            listener(actor, message)
        except Exception:  # noqa: BLE001 (the end of an actor must not suffer from it)
            logger.exception("A listener to dead letters failed")


def print_unseen_error(name: str, text: str, error: BaseException) -> None:
    """Print an error that was logged, where no logging is configured that would show it.

    Python prints such errors by `logging.lastResort`, but only for loggers without a handler,
    and pykka's logger has one that does nothing (pykka 4.5). If any other handler is added to that
    logger or to one above, or if the logger is disabled, this prints nothing.

    Args:
        name: the logger's name.
        text: the logged text.
        error: the logged error.
    """
    log = logging.getLogger(name)
    handlers = list(_handlers(log))
    unseen = len(handlers) == 1 and isinstance(handlers[0], logging.NullHandler)
    if unseen and logging.lastResort is not None and log.isEnabledFor(logging.ERROR):
        exc_info = (type(error), error, error.__traceback__)
        record = log.makeRecord(name, logging.ERROR, __file__, 0, text, (), exc_info)
        logging.lastResort.handle(record)


def _handlers(log: logging.Logger | None) -> Iterator[logging.Handler]:
    while log is not None:
        yield from log.handlers
        log = log.parent if log.propagate else None
