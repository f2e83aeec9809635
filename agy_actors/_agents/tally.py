"""`Tally`: the sums over all agents of a supervisor, including agents that have ended.

Agents count on their own threads, at the time of each event. So the sums need no replies of agents,
and an agent that hangs or starts does not delay them. Each count is also added to the supervisors
above.

Each supervisor has a lock that guards its sums. Under it there are only additions, a few per turn.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import NamedTuple

from google.antigravity.types import UsageMetadata

__all__ = ["ANSWERED", "Sums", "Tally"]

ANSWERED = "answered"
"""The outcome of a turn that was answered. Any other outcome is the name of the error's type."""


class Sums(NamedTuple):
    """A snapshot of a tally."""

    turns: Counter[str]
    """How many turns have ended, by outcome."""
    restarts: int
    """How many times agents were restarted."""
    usage: UsageMetadata
    """The tokens."""


class Tally:
    """Counts turns, restarts and tokens below one supervisor. Thread-safe.

    Args:
        above: the tally of the supervisor above.
    """

    def __init__(self, above: Tally | None = None) -> None:
        self._above = above
        self._lock = threading.Lock()
        self._turns: Counter[str] = Counter()
        self._restarts = 0
        self._usage = UsageMetadata()

    def note_turn(self, error: str | None) -> None:
        """Count a turn that has ended, with the name of its error's type or `None`."""
        with self._lock:
            self._turns[error or ANSWERED] += 1
        if self._above is not None:
            self._above.note_turn(error)

    def note_restart(self) -> None:
        """Count a restart of an agent."""
        with self._lock:
            self._restarts += 1
        if self._above is not None:
            self._above.note_restart()

    def note_usage(self, spent: UsageMetadata) -> None:
        """Count tokens."""
        with self._lock:
            self._usage += spent
        if self._above is not None:
            self._above.note_usage(spent)

    def read(self) -> Sums:
        """Return all sums."""
        with self._lock:
            return Sums(Counter(self._turns), self._restarts, self._usage.model_copy())
