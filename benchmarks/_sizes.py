"""How long a run takes."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from benchmarks._results import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Size"]


class Size(enum.Enum):
    """How much an area measures."""

    FULL = "full"
    """What the documentation shows: all areas in less than half an hour on two cores."""

    QUICK = "quick"
    """All areas in about three minutes: which way the numbers point."""

    TINY = "tiny"
    """A second or two each: does it run? The numbers mean nothing."""

    def choose(self, peers: Iterable[str]) -> list[str]:
        """Return the peers that are measured: in a tiny run we are one, not two or three."""
        return [peer for peer in peers if self is not Size.TINY or not peer.startswith(OURS + ",")]
