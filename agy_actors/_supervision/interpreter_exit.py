"""Ends supervisors when the interpreter ends, so that no process outlives the program.

Agents and supervisors run on daemon threads, so that a program that forgot to stop them ends. They
are stopped in order when the main thread has ended, before the interpreter waits for the program's
other threads. One of these may be inside an `ask`, and would delay the end by the time of a turn.
It gets the dead actor's error instead.

SIGINT raises KeyboardInterrupt by itself. SIGTERM would end the interpreter immediately: while a
supervisor is alive, and only if there is no other handler, it raises SystemExit(143) in the main
thread instead, so that `with` blocks are left.

Only `threading._register_atexit` calls a function before the interpreter waits for threads.
It is private, the same in Python 3.11 to 3.13, and exists for `concurrent.futures`, which ends its
worker threads there. Callbacks run in reverse order of their registration: that of
`concurrent.futures.thread`, which joins its workers, is registered at its import, before ours.
Without that function, `atexit` stops supervisors after the threads have ended.
"""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.future import ReplyFuture

__all__ = ["is_ending", "register", "unregister"]

# Its import registers its callback, which must be before ours: see above.
importlib.import_module("concurrent.futures.thread")

# The exit code that a shell reports for a process that SIGTERM ended.
_TERMINATED = 128 + signal.SIGTERM

_lock = threading.RLock()  # Re-entrant: a signal handler may interrupt the holder of the lock.
_stops: dict[object, Callable[[], ReplyFuture[bool]]] = {}
_before_threads = False
"""Whether `_end` is registered with `threading`, in this process or the one it was forked from."""
_ending = False
"""Whether the main thread has ended, and with it all supervisors."""


def is_ending() -> bool:
    """Return whether the main thread has ended, so that it is too late to start a supervisor."""
    return _ending


def register(key: object, stop: Callable[[], ReplyFuture[bool]]) -> None:
    """Call `stop()` when the main thread has ended, unless it is unregistered before.

    It must not block. The futures are waited for when all have been called.
    """
    global _before_threads  # noqa: PLW0603 (once for the whole process)
    with _lock:
        if not _before_threads:
            _before_threads = _register_before_threads(_end)
        if not _stops:
            atexit.register(_stop_all)
        _stops[key] = stop
    _handle_sigterm()


def unregister(key: object) -> None:
    """Remove a `stop` that is no longer needed."""
    with _lock:
        if _stops.pop(key, None) is not None and not _stops:
            atexit.unregister(_stop_all)


def _register_before_threads(call: Callable[[], None]) -> bool:
    try:
        threading._register_atexit(call)  # type: ignore[attr-defined] # noqa: SLF001
    except (AttributeError, RuntimeError):  # It is missing, or the threads are waited for already.
        return False
    return True


def _end() -> None:
    global _ending  # noqa: PLW0603 (the process ends once)
    _ending = True
    _stop_all()


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
        return  # Only the main thread can set a handler.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(_signal: int, _frame: Any) -> None:
    if not _stops:
        # No supervisor is left, or this is a forked child without supervisors: the default applies.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    sys.exit(_TERMINATED)


def _forget_parent() -> None:
    """Remove the parent's supervisors in a forked child."""
    # Another thread may have held the lock, or ended the parent, in the moment of the fork.
    global _lock, _ending  # noqa: PLW0603
    _lock = threading.RLock()
    _ending = False
    _stops.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
