"""Nothing outlives its owner: what ends supervisors when the interpreter ends.

Agents and supervisors run on daemon threads, so that a program that forgot to stop them
ends; `atexit` runs while those threads still do, and stops them in order. SIGINT raises
KeyboardInterrupt by itself. SIGTERM would end the interpreter on the spot: while a
supervisor is alive, and only where nobody else handles it, it raises SystemExit(143) in
the main thread instead, so that `with` blocks are left and `atexit` runs.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._kernel import ReplyFuture

__all__ = ["register", "unregister"]

_TERMINATED = 128 + signal.SIGTERM  # What a shell reports for a process that SIGTERM ended.

_lock = threading.RLock()  # Re-entrant: a signal's handler may interrupt its holder.
_stops: dict[object, Callable[[], ReplyFuture[bool]]] = {}


def register(key: object, stop: Callable[[], ReplyFuture[bool]]) -> None:
    """Have `stop()` called when the interpreter ends, unless unregistered before.

    It must not block; what it returns is waited for when all have been called.
    """
    with _lock:
        if not _stops:
            atexit.register(_stop_all)
        _stops[key] = stop
    _handle_sigterm()


def unregister(key: object) -> None:
    """Forget a stop that has happened."""
    with _lock:
        if _stops.pop(key, None) is not None and not _stops:
            atexit.unregister(_stop_all)


def _stop_all() -> None:
    with _lock:
        stops = list(_stops.values())
    for ended in [stop() for stop in reversed(stops)]:
        try:
            ended.get()
        except Exception as error:  # noqa: BLE001 (the others must be waited for, too)
            logger.debug("A supervisor could not be stopped at exit: {!r}", error)


def _handle_sigterm() -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # Only the main thread may; there the default is left as it is.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(_signal: int, _frame: Any) -> None:
    if not _stops:
        # No supervisor is left, or this is a forked child, which has none: as if we had
        # never been here.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    sys.exit(_TERMINATED)


def _forget_parent() -> None:
    """Begin anew in a forked child: the parent's supervisors are none of its business."""
    global _lock  # noqa: PLW0603 (another thread may have held it in the moment of the fork)
    _lock = threading.RLock()
    _stops.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
