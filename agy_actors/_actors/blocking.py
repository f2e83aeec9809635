"""A queue and a condition that wait on the runtime's gates.

Those of the standard library wait on locks of the operating system. These wait on the runtime's
gates, so that they wait in virtual time in a simulation.
"""

from __future__ import annotations

import contextlib
import queue
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agy_actors._actors import forks
from agy_actors._actors.blocking_warning import running_loop, warn_of_blocking
from agy_actors._actors.deadlock import begin_wait
from agy_actors._actors.errors import DeadlockError
from agy_actors._actors.runtime import current_runtime, wait_at_gate

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection

    from agy_actors._actors.future import ReplyFuture
    from agy_actors._actors.runtime import Gate

__all__ = ["Arrivals", "Change"]

T = TypeVar("T")


class Arrivals(Generic[T]):
    """A queue with one reader.

    Guarantee: no arrival is missed. A reader shows its gate before it looks for the last
    time; `put` looks for a gate after the item is there. There is no lock, so that a
    put, for example of a finalizer, may interrupt another one of its thread.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._gate: Gate | None = None
        self._made_in = forks.generation

    def put(self, item: T) -> None:
        """Append an item. For any thread; never waits."""
        self._items.append(item)
        gate = self._gate
        if gate is not None:
            _open(gate)

    def get(self, timeout: float | None, goals: Collection[ReplyFuture[Any]] = ()) -> T:
        """Wait for the next item and take it.

        Args:
            timeout: the seconds to wait, or `None` for as long as it takes.
            goals: the replies that bring an item, if nothing else does: see `deadlock`.

        Raises:
            queue.Empty: no item came in time.
            DeadlockError: none of the replies can come.
            ForkedProcessError: it was made before a fork, so nothing is put here.
        """
        forks.check(self._made_in)
        while not self._items:
            if timeout is not None and timeout <= 0:
                raise queue.Empty
            self._gate = gate = current_runtime().new_gate(self)
            try:
                came = bool(self._items) or _pass(gate, timeout, goals, partial(_open, gate))
            except DeadlockError:
                if not self._items:  # Otherwise an item has just come.
                    raise
                came = True
            finally:
                self._gate = None
            if not came and not self._items:
                raise queue.Empty
        return self._items.popleft()

    def clear(self) -> None:
        """Drop all items. For the reader."""
        self._items.clear()


class Change:
    """A `threading.Condition`: threads wait for a change of the data that a lock guards.

    Args:
        lock: the lock that is held around every call here.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._gates: list[Gate] = []

    def wait(self, timeout: float | None, goals: Collection[ReplyFuture[Any]] = ()) -> None:
        """Release the lock, wait for `announce` until the timeout, and acquire the lock again.

        Args:
            timeout: the seconds.
            goals: the replies that bring a change, if nothing else does: see `deadlock`.

        Raises:
            DeadlockError: none of the replies can come.
        """
        gate = current_runtime().new_gate(self)
        self._gates.append(gate)
        self._lock.release()
        try:
            _pass(gate, timeout, goals, lambda: self._let_go(gate))
        finally:
            self._lock.acquire()
            with contextlib.suppress(ValueError):  # `announce` has removed it.
                self._gates.remove(gate)

    def announce(self) -> None:
        """Wake all threads that wait."""
        gates, self._gates = self._gates, []
        for gate in gates:
            gate.release()

    def _let_go(self, gate: Gate) -> None:
        with self._lock:
            if gate in self._gates:
                self._gates.remove(gate)
                gate.release()


def _pass(
    gate: Gate,
    timeout: float | None,
    goals: Collection[ReplyFuture[Any]],
    give_up: Callable[[], None],
) -> bool:
    wait = begin_wait(goals, timeout, give_up) if goals else None
    try:
        if running_loop() is not None:
            warn_of_blocking()
        passed = wait_at_gate(gate, timeout)
    finally:
        if wait is not None:
            wait.end()
    if wait is not None and wait.error is not None:
        raise wait.error
    return passed


def _open(gate: Gate) -> None:
    with contextlib.suppress(RuntimeError):  # It is open already.
        gate.release()
