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
    """The size for the documentation: all areas in less than half an hour on two cores."""

    QUICK = "quick"
    """All areas in about three minutes, for a first impression."""

    TINY = "tiny"
    """A second or two each, to test that they run. The numbers mean nothing."""

    def choose(self, peers: Iterable[str]) -> list[str]:
        """Return the peers to measure: a tiny run has one of ours instead of two or three."""
        return [peer for peer in peers if self is not Size.TINY or not peer.startswith(OURS + ",")]
