"""What a thread waits with: a queue and a condition, on the host's gates.

The standard library's wait on locks of the operating system. Waiting is the host's affair
here, so that who waits in a simulation waits in virtual time. (See `_host`.)
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from agy_actors._kernel import forks
from agy_actors._kernel._host import current_host

if TYPE_CHECKING:
    from agy_actors._kernel._host import Gate

__all__ = ["Arrivals", "Change"]

T = TypeVar("T")


class Arrivals(Generic[T]):
    """A queue with one reader.

    Guarantee: no arrival is missed. A reader shows its gate before it looks for the last
    time; whoever puts looks for a gate after the item is there. There is no lock, so that a
    put may interrupt another one of its thread (a finalizer's, say).
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
            with contextlib.suppress(RuntimeError):  # Open already, by another item.
                gate.release()

    def get(self, timeout: float | None) -> T:
        """Wait for the next item and take it.

        Args:
            timeout: the seconds to wait, or `None` for as long as it takes.

        Raises:
            queue.Empty: none came in time.
            ForkedProcessError: it was made before a fork, so nobody puts here.
        """
        forks.check(self._made_in)
        while not self._items:
            if timeout is not None and timeout <= 0:
                raise queue.Empty
            self._gate = gate = current_host().new_gate(self)
            try:
                came = bool(self._items) or _pass(gate, timeout)
            finally:
                self._gate = None
            if not came and not self._items:
                raise queue.Empty
        return self._items.popleft()

    def clear(self) -> None:
        """Drop the items that are there. For the reader."""
        self._items.clear()


class Change:
    """Where threads wait for a change of what a lock guards: a `threading.Condition`.

    Args:
        lock: what is held around every call here.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._gates: list[Gate] = []

    def wait(self, timeout: float | None) -> None:
        """Leave the lock, wait for `announce` for so many seconds, and take the lock again."""
        gate = current_host().new_gate(self)
        self._gates.append(gate)
        self._lock.release()
        try:
            _pass(gate, timeout)
        finally:
            self._lock.acquire()
            with contextlib.suppress(ValueError):  # The announcement took it out.
                self._gates.remove(gate)

    def announce(self) -> None:
        """Let all pass who wait."""
        gates, self._gates = self._gates, []
        for gate in gates:
            gate.release()


def _pass(gate: Gate, timeout: float | None) -> bool:
    if timeout is None:
        return gate.acquire()
    return gate.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
