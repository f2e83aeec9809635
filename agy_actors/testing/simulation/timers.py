"""The timers of all fibers of a simulation."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors.testing.simulation.fiber import Handle

__all__ = ["Timers"]

_PRUNE_AT = 64
"""Timers in the heap before cancelled ones are removed for the first time. Arbitrary."""


class Timers:
    """A priority queue of timers, ordered by time and then by creation."""

    def __init__(self) -> None:
        self._heap: list[Handle] = []
        self._prune_at = _PRUNE_AT

    def __iter__(self) -> Iterator[Handle]:
        return (handle for handle in self._heap if not _is_obsolete(handle))

    def add(self, handle: Handle) -> None:
        """Add a timer."""
        heapq.heappush(self._heap, handle)
        if len(self._heap) >= self._prune_at:
            self.prune()
            self._prune_at = max(_PRUNE_AT, 2 * len(self._heap))

    def prune(self) -> None:
        """Remove the timers that are cancelled, or whose fiber has ended."""
        self._heap = [handle for handle in self._heap if not _is_obsolete(handle)]
        heapq.heapify(self._heap)

    def next_time(self) -> float | None:
        """Return the time of the next timer, or `None` if there is no timer."""
        heap = self._heap
        while heap and _is_obsolete(heap[0]):
            heapq.heappop(heap)
        return heap[0].time if heap else None

    def pop_due(self, now: float) -> list[Handle]:
        """Remove the timers that are due, and return them in order."""
        heap, due = self._heap, []
        while heap and heap[0].time <= now:
            handle = heapq.heappop(heap)
            if not _is_obsolete(handle):
                due.append(handle)
        return due


def _is_obsolete(handle: Handle) -> bool:
    return handle.gone or handle.fiber.closed
