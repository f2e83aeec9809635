"""`new_event_loop`: an event loop that owns no descriptor until it needs one.

A stock asyncio loop waits in `epoll` and is woken through a pair of sockets: three
descriptors and three system calls for each message to an actor that sleeps. An actor that does no
I/O needs neither. This loop waits on a lock instead, until the first real descriptor is registered;
after that it works as a stock loop.

Guarantee: the change loses no wake-up. `call_soon_threadsafe` appends its callback before it checks
how to wake the loop. If it still used the lock, the callback was there before the change, so the
loop finds it and does not wait. This assumes sequential consistency, which the interpreter's lock
provides.

It relies on three private methods of asyncio, which are the same in Python 3.11 to 3.13. If they
are missing, `new_event_loop` returns a stock loop.

The loop also keeps a list of its tasks. `asyncio.all_tasks` iterates over the tasks of all loops in
the process (up to Python 3.13), so with it the cost of one actor's end would grow with the number
of actors.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

__all__ = ["is_asleep", "new_event_loop", "unfinished_tasks"]

T = TypeVar("T")

_FEW_TASKS = 16
"""How many references to tasks are kept before those to ended tasks are dropped. Arbitrary."""

_PRIVATE = ("_make_self_pipe", "_close_self_pipe", "_write_to_self")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make a loop for one actor.

    Raises:
        OSError: the process has no descriptors left (only if a stock loop is made).
    """
    if _USABLE:
        return _LazyLoop(_LazySelector())
    return asyncio.new_event_loop()


def is_asleep(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a loop sleeps until its next callback or event. Callable from any thread."""
    return getattr(loop, "asleep", False)


def unfinished_tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Return the tasks of a loop that are not done, oldest first. Call it on the loop.

    Tasks that were made without the loop's `create_task` are not among them.
    """
    if isinstance(loop, _LazyLoop):
        return loop.unfinished_tasks()
    return list(asyncio.all_tasks(loop))


class _LazySelector(selectors.BaseSelector):
    """Waits on a lock while no descriptor is registered."""

    def __init__(self) -> None:
        self._real: selectors.BaseSelector | None = None
        self._gate = threading.Lock()
        self._gate.acquire()
        self.before_first: Callable[[], None] | None = None
        self.asleep = False

    def wake(self) -> None:
        """End a wait on the lock, or the next one. Callable from any thread."""
        try:  # noqa: SIM105 (it costs less, for each message to a sleeping actor)
            self._gate.release()
        except RuntimeError:  # It is open: an earlier wake-up is still pending.
            pass

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._real is None and timeout is not None and timeout <= 0:
            self._gate.acquire(blocking=False)  # Callbacks are ready: a pending wake-up is over.
            return []
        self.asleep = True
        try:
            if self._real is not None:
                return self._real.select(timeout)
            if timeout is None:
                self._gate.acquire()
            else:
                self._gate.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
            return []
        finally:
            self.asleep = False

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
    """A loop that makes its pair of sockets when its selector needs them."""

    def __init__(self, selector: _LazySelector) -> None:
        self._lazy = selector
        self._has_pipe = False
        self._tasks: list[weakref.ref[asyncio.Task[Any]]] = []
        """All pending tasks and some that are done, oldest first."""
        self._prune_at = _FEW_TASKS
        super().__init__(selector)
        selector.before_first = self._make_real_pipe

    def create_task(self, coro: Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:  # type: ignore[override] # the options differ between Pythons
        """Make a task. See `asyncio.loop.create_task`."""
        task: asyncio.Task[T] = super().create_task(coro, **options)
        # A weak reference without a callback is cheap: a task has only one.
        self._tasks.append(weakref.ref(task))
        if len(self._tasks) >= self._prune_at:
            self._tasks = [weakref.ref(task) for task in self.unfinished_tasks()]
            self._prune_at = max(_FEW_TASKS, 2 * len(self._tasks))
        return task

    def unfinished_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done, oldest first."""
        tasks = [reference() for reference in self._tasks]
        return [task for task in tasks if task is not None and not task.done()]

    @property
    def asleep(self) -> bool:
        return self._lazy.asleep

    def _make_self_pipe(self) -> None:
        """Do nothing: asyncio's constructor calls this, but the sockets are made later."""

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
