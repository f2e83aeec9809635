"""Threads that hand one baton round: whoever has it runs, all others wait.

A strand that blocks in the middle of a step (an ask that waits for its reply, in ordinary
threaded code) leaves its stack on the thread it runs on. That thread waits, and another goes
on with the other strands. So threads carry stacks here, and run nothing side by side.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Carrier", "Crew"]


class Carrier:
    """A thread that runs while it has the baton."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.thread: threading.Thread | None = None
        """The thread, if it was made here; `None` for the caller's own."""

    def wake(self) -> None:
        """Give it the baton."""
        self._lock.release()

    def wait(self) -> None:
        """Wait for the baton."""
        self._lock.acquire()


class Crew:
    """The threads of one simulation, first of all the caller's own.

    Args:
        work: what each thread that is made here does whenever it gets the baton with
            nothing else to go on with. It returns when the simulation is over.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self.first = Carrier()
        self.running = self.first
        """Who has the baton."""
        self._idle: list[Carrier] = []
        self._made: list[Carrier] = []
        self._dismissed = False

    def take_over_from(self, carrier: Carrier) -> None:
        """Give the baton to a thread without a stack of its own, until it comes back here.

        Args:
            carrier: the calling thread, which has the baton.
        """
        self._give(self._idle.pop() if self._idle else self._hire())
        carrier.wait()

    def resume(self, carrier: Carrier) -> None:
        """Give the baton to a thread that left a stack, until it comes back here."""
        me = self.running
        self._idle.append(me)
        self._give(carrier)
        me.wait()

    def unwind(self, carrier: Carrier) -> None:
        """Have a thread leave its stack, once the simulation is over. For the first one."""
        self._give(carrier)
        self.first.wait()

    def dismiss(self) -> None:
        """End all threads that were made here. For the first one, at the end."""
        self._dismissed = True
        for carrier in self._made:
            carrier.wake()
        for carrier in self._made:
            assert carrier.thread is not None
            carrier.thread.join()

    def _give(self, carrier: Carrier) -> None:
        self.running = carrier
        carrier.wake()

    def _hire(self) -> Carrier:
        carrier = Carrier()
        carrier.thread = threading.Thread(
            target=self._carry, args=(carrier,), name="agy_actors-simulation", daemon=True
        )
        self._made.append(carrier)
        carrier.thread.start()
        return carrier

    def _carry(self, me: Carrier) -> None:
        me.wait()
        while not self._dismissed:
            self._work()
            if self._dismissed:  # It was idle in there when all were.
                return
            self._give(self.first)
            me.wait()
