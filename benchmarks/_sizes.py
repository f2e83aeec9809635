"""How long a run takes."""

from __future__ import annotations

import enum

__all__ = ["Size"]


class Size(enum.Enum):
    """How much an area measures."""

    FULL = "full"
    """What the documentation shows: all areas in less than half an hour on two cores."""

    QUICK = "quick"
    """All areas in about three minutes: which way the numbers point."""

    TINY = "tiny"
    """A few seconds each: does it run? The numbers mean nothing."""
