"""Nothing outlives its owner: what ends supervisors when the interpreter ends.

Agents and supervisors run on daemon threads, so that a program that forgot to stop them
ends. They are stopped in order when the main thread has ended, before the interpreter waits
for the program's other threads: one of these may be inside an `ask`, and would hold up the
end for as long as the turn may take. It gets `AgentDeadError` instead.

SIGINT raises KeyboardInterrupt by itself. SIGTERM would end the interpreter on the spot:
while a supervisor is alive, and only where nobody else handles it, it raises
SystemExit(143) in the main thread instead, so that `with` blocks are left.

The moment before the interpreter waits for threads is known to `threading._register_atexit`
alone. It is private, the same in Python 3.11 to 3.13, and made for `concurrent.futures`, which
ends its worker threads there. Callbacks run in reverse order of their registration: that of
`concurrent.futures.thread`, which joins its workers, is registered at its import, before
ours. Where the function is missing, `atexit` stops supervisors after the threads have ended.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 (its import registers its callback: see above)
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from loguru import logger

from agy_actors._agent import AgentDeadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._kernel import ReplyFuture

__all__ = ["check_not_ending", "register", "unregister"]

_TERMINATED = 128 + signal.SIGTERM  # What a shell reports for a process that SIGTERM ended.

_lock = threading.RLock()  # Re-entrant: a signal's handler may interrupt its holder.
_stops: dict[object, Callable[[], ReplyFuture[bool]]] = {}
_before_threads = False
"""Whether `_end` is registered with `threading`, in this process or the one it was forked from."""
_ending = False
"""Whether the main thread has ended, and with it all supervisors."""


def check_not_ending() -> None:
    """Raise if it is too late to start a supervisor.

    Raises:
        AgentDeadError: the main thread has ended.
    """
    if _ending:
        raise AgentDeadError("no supervisor can be started: the program's main thread has ended")


def register(key: object, stop: Callable[[], ReplyFuture[bool]]) -> None:
    """Have `stop()` called when the main thread has ended, unless unregistered before.

    It must not block; what it returns is waited for when all have been called.
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
    """Forget a stop that has happened."""
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
    # Another thread may have held the lock, or ended the parent, in the moment of the fork.
    global _lock, _ending  # noqa: PLW0603
    _lock = threading.RLock()
    _ending = False
    _stops.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
