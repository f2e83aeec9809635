"""`Counts`: exact numbers of what happened under a supervisor, also without subscribers.

Subscribers may be too slow, and then miss events. These counts miss nothing. Each count is also
added to the supervisors above, so it outlives the supervisor and its children.

Guarantees:

*   `add` never waits, and may interrupt any method here on the same thread, because signal handlers
    and finalizers send messages too. It appends to a deque, which is one call of C code. A
    thread that gets the lock without waiting adds the entries up; otherwise the thread that holds
    it, or a later call, does.
*   Each entry is counted once: one thread pops it, under the lock. An `add` that interrupts the
    sum does not get the lock, and only appends.
"""

from __future__ import annotations

import enum
import threading
from collections import Counter, deque
from typing import NamedTuple

__all__ = ["Count", "Counts", "What"]

_SUM_UP_AT = 16
"""How many entries are kept before they are added up. Arbitrary: a sum takes microseconds."""


class What(enum.StrEnum):
    """What is counted."""

    ASKS = "asks"
    """Turns that were asked of an agent, a pool of agents or sessions; by outcome."""

    RESTARTS = "restarts"
    """Incarnations that were started after the first of their child; by kind of child."""

    GIVE_UPS = "give_ups"
    """Children that failed too often; by kind of child."""

    HANGS = "hangs"
    """Event loops that did not respond for `hang_timeout`; by kind of child."""

    DEAD_LETTERS = "dead_letters"
    """Told messages that were not handled."""

    QUOTA_HOLDS = "quota_holds"
    """Times when the quota of an API key was used up, or its hold was extended."""

    EVENTS_DROPPED = "events_dropped"
    """Events that a subscriber missed because it was too slow."""


class Count(NamedTuple):
    """What one number is about."""

    what: What
    """What is counted."""
    detail: str = ""
    """The outcome or the kind; see `What`."""


class Counts:
    """Counts what happens under one supervisor. Thread-safe; callable from signal handlers.

    Args:
        above: the counts of the supervisor above.
    """

    def __init__(self, above: Counts | None = None) -> None:
        self._above = above
        self._lock = threading.Lock()
        self._new: deque[Count] = deque()
        """The entries that are not added up."""
        self._sums: Counter[Count] = Counter()

    def add(self, what: What, detail: str = "") -> None:
        """Count one, here and above."""
        self._new.append(Count(what, detail))
        # Never a wait: this thread itself may hold the lock, if this call interrupts it.
        if len(self._new) >= _SUM_UP_AT and self._lock.acquire(blocking=False):
            try:
                self._sum_up()
            finally:
                self._lock.release()
        if self._above is not None:
            self._above.add(what, detail)

    def _sum_up(self) -> None:
        for _ in range(len(self._new)):  # Not for ever, while other threads add.
            self._sums[self._new.popleft()] += 1

    def read(self) -> Counter[Count]:
        """Return all numbers. Call it on a thread that no signal handler interrupts to read."""
        with self._lock:
            self._sum_up()
            return self._sums.copy()
