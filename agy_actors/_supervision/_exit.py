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

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["register", "unregister"]

_TERMINATED = 128 + signal.SIGTERM  # What a shell reports for a process that SIGTERM ended.

_lock = threading.RLock()
_stops: dict[object, tuple[int, Callable[[], object]]] = {}


def register(key: object, stop: Callable[[], object]) -> None:
    """Have `stop()` called when the interpreter ends, unless unregistered before."""
    with _lock:
        if not _stops:
            atexit.register(_stop_all)
        _stops[key] = (os.getpid(), stop)
    _handle_sigterm()


def unregister(key: object) -> None:
    """Forget a stop that has happened."""
    with _lock:
        _stops.pop(key, None)
        if not _stops:
            atexit.unregister(_stop_all)


def _stop_all() -> None:
    with _lock:
        stops = list(_stops.values())
    for pid, stop in reversed(stops):
        if pid == os.getpid():  # A forked child has the parent's list, and none of its threads.
            stop()


def _handle_sigterm() -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # Only the main thread may; there the default is left as it is.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(_signal: int, _frame: Any) -> None:
    sys.exit(_TERMINATED)
