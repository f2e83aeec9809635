"""An event loop that owns no descriptor until it needs one.

A stock asyncio loop waits in `epoll` and is woken through a pair of sockets: three
descriptors and three system calls for each message to an actor that sleeps. An actor
that does no I/O of its own needs neither. This loop waits on a lock instead, until the
first real descriptor is registered; from then on it is a stock loop.

Guarantee: no wake-up is lost in the change. Whoever calls `call_soon_threadsafe` has
appended its callback before it looks which way to wake. If it still saw the lock, the
callback was there before the change, so the loop finds it ready and does not wait.
This assumes sequential consistency, which the interpreter's lock gives.

It rests on three private methods of asyncio, of the same shape in Python 3.11 to 3.13.
Where they are missing, `new_event_loop` returns a stock loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["is_asleep", "new_event_loop"]

_PRIVATE = ("_make_self_pipe", "_close_self_pipe", "_write_to_self")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make a loop for one actor.

    Raises:
        OSError: the process has no descriptors left (only where a stock loop is made).
    """
    if _USABLE:
        return _LazyLoop(_LazySelector())
    return asyncio.new_event_loop()


def is_asleep(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell, on any thread, whether a loop waits for something to do just now."""
    return getattr(loop, "asleep", False)


class _LazySelector(selectors.BaseSelector):
    """Waits on a lock while there is nothing to select from."""

    def __init__(self) -> None:
        self._real: selectors.BaseSelector | None = None
        self._gate = threading.Lock()
        self._gate.acquire()
        self.before_first: Callable[[], None] | None = None
        self.asleep = False

    def wake(self) -> None:
        """End a wait on the lock, or the next one. Callable from any thread."""
        with contextlib.suppress(RuntimeError):  # Open: an earlier wake-up is not used up yet.
            self._gate.release()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.asleep = True
        try:
            return self._select(timeout)
        finally:
            self.asleep = False

    def _select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._real is not None:
            return self._real.select(timeout)
        if timeout is None:
            self._gate.acquire()
        elif timeout > 0:
            self._gate.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        else:
            self._gate.acquire(blocking=False)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self._real is None:
            self._real = selectors.DefaultSelector()
            if self.before_first is not None:
                self.before_first()
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        if self._real is None:
            raise KeyError(f"{fileobj!r} is not registered")
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self._real is None:
            raise KeyError(f"{fileobj!r} is not registered")
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {} if self._real is None else self._real.get_map()

    def close(self) -> None:
        if self._real is not None:
            self._real.close()


class _LazyLoop(asyncio.SelectorEventLoop):
    """A loop that makes its pair of sockets when its selector needs real ones."""

    def __init__(self, selector: _LazySelector) -> None:
        self._lazy = selector
        self._has_pipe = False
        super().__init__(selector)
        selector.before_first = self._make_real_pipe

    @property
    def asleep(self) -> bool:
        return self._lazy.asleep

    def _make_self_pipe(self) -> None:
        """Make none yet. asyncio's constructor calls this."""

    def _make_real_pipe(self) -> None:
        super()._make_self_pipe()  # type: ignore[misc] # private: see the module
        self._has_pipe = True

    def _close_self_pipe(self) -> None:
        if self._has_pipe:
            self._has_pipe = False
            super()._close_self_pipe()  # type: ignore[misc] # private: see the module

    def _write_to_self(self) -> None:
        if self._has_pipe:
            super()._write_to_self()  # type: ignore[misc] # private: see the module
        else:
            self._lazy.wake()


_USABLE = sys.platform != "win32" and all(
    callable(getattr(asyncio.SelectorEventLoop, name, None)) for name in _PRIVATE
)
