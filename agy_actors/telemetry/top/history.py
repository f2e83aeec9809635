"""`History`: the snapshots of the last seconds, for rates."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agy_actors.telemetry.top.snapshot import Snapshot

__all__ = ["History"]

_WINDOW = 15.0
"""Seconds over which rates are averaged. Arbitrary: turns that take a few seconds each give a
steady rate."""

_GAP = 1.0
"""Seconds between two snapshots that are kept, so that few are kept."""


class History:
    """The snapshots of the last seconds, oldest first."""

    def __init__(self) -> None:
        self._kept: deque[Snapshot] = deque()

    def add(self, snapshot: Snapshot) -> Snapshot | None:
        """Add a snapshot, and return the oldest of the last seconds to compare it with."""
        kept = self._kept
        if kept and snapshot.at < kept[-1].at:
            kept.clear()  # It comes from another program.
        while len(kept) > 1 and kept[1].at <= snapshot.at - _WINDOW:
            kept.popleft()
        before = kept[0] if kept else None
        if not kept or snapshot.at >= kept[-1].at + _GAP:
            kept.append(snapshot)
        return before
