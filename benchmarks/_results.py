"""What was measured, and how two peers compare."""

from __future__ import annotations

import dataclasses
import enum
import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["OURS", "Ratio", "Results", "Row", "Unit"]

OURS = "agy_actors"
"""The peer that all others are compared with."""


class Unit(enum.Enum):
    """What a value counts. Less is better for each of them."""

    SECONDS = "second"
    BYTES = "byte"
    DESCRIPTORS = "integer"


class Ratio(NamedTuple):
    """Ours to a peer's: below 1 ours is better."""

    of_medians: float
    lowest: float
    """Of the rounds, each of which measured both."""
    highest: float


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One measure of one peer."""

    area: str
    what: str
    peer: str
    values: tuple[float, ...]
    """One for each round, in the order of the rounds."""
    unit: Unit = Unit.SECONDS

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    def ratio_to(self, peer: Row) -> Ratio | None:
        """Compare with a peer, or return `None` if it has nothing to divide by."""
        if not all(peer.values):
            return None
        rounds = [a / b for a, b in zip(self.values, peer.values, strict=False)]
        return Ratio(self.median / peer.median, min(rounds), max(rounds))


class Results:
    """The rows of a run, as they come, and what to know about them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.notes: list[str] = []
        """How far to trust the rows, and why there is none where one would look for it."""

    def add(
        self,
        area: str,
        values: Mapping[tuple[str, str], Sequence[float]],
        unit: Unit = Unit.SECONDS,
    ) -> None:
        """Add a row for each (what, peer), its values by round."""
        self.rows += [
            Row(area, what, peer, tuple(rounds), unit) for (what, peer), rounds in values.items()
        ]

    def note(self, text: str) -> None:
        """Say, once, what to know about the rows."""
        if text not in self.notes:
            self.notes.append(text)
            print(f"  {text}")

    def areas(self) -> list[str]:
        """Return the areas in the order in which they were measured."""
        return list(dict.fromkeys(row.area for row in self.rows))

    def groups(self, area: str) -> Iterator[list[Row]]:
        """Iterate over the rows of an area that measure the same, ours first."""
        rows = [row for row in self.rows if row.area == area]
        for what in dict.fromkeys(row.what for row in rows):
            group = [row for row in rows if row.what == what]
            yield sorted(group, key=lambda row: row.peer != OURS)
