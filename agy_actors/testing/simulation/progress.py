"""Decides whether a simulation is stuck although its timers still fire. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agy_actors.testing.simulation.fiber import Handle

__all__ = ["Progress"]

_MIN_JUMPS = 100
"""Jumps of the clock without progress before a simulation can count as stuck, however long each
jump is. Arbitrary: one long sleep is one jump."""


class Progress:
    """Records when a client last made progress.

    Args:
        patience: seconds of virtual time without progress after which a simulation counts as
            stuck.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.last = 0.0
        """The virtual time of the last step of a client, or of the last message."""
        self._seen = 0.0
        self._jumps = 0

    def __repr__(self) -> str:
        return f"<Progress: last at {self.last:g}, {self._jumps} jumps since>"

    def is_stuck(self, next_time: float, timers: Iterable[Handle]) -> bool:
        """Return whether timers have fired for long without progress for a client.

        Args:
            next_time: the virtual time of the next timer. Each call counts as one jump to it.
            timers: all timers. A timer of a client is progress that is still to come.
        """
        if self.last != self._seen:
            self._seen, self._jumps = self.last, 0
        self._jumps += 1
        return (
            self._jumps > _MIN_JUMPS
            and next_time - self.last > self._patience
            and not any(handle.fiber.is_client for handle in timers)
        )
