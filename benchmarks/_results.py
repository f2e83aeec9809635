"""The measured values, and the comparison of two peers."""

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
    """The unit of a value. Smaller is better for each."""

    SECONDS = "second"
    BYTES = "byte"
    DESCRIPTORS = "integer"


class Ratio(NamedTuple):
    """Our value divided by a peer's: below 1, ours is better."""

    of_medians: float
    lowest: float
    """Over the rounds, each of which measured both."""
    highest: float


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One measure of one peer."""

    area: str
    what: str
    peer: str
    values: tuple[float, ...]
    """One value for each round, in the order of the rounds."""
    unit: Unit = Unit.SECONDS

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    def ratio_to(self, peer: Row) -> Ratio | None:
        """Compare with a peer, or return `None` if its value is 0."""
        if not all(peer.values):
            return None
        rounds = [a / b for a, b in zip(self.values, peer.values, strict=False)]
        return Ratio(self.median / peer.median, min(rounds), max(rounds))


class Results:
    """The rows of a run in the order in which they are added, and notes about them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.notes: list[str] = []
        """Notes on how reliable the rows are, and why some are missing."""

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
        """Add a note about the rows, and print it once."""
        if text not in self.notes:
            self.notes.append(text)
            print(f"  {text}")

    def areas(self) -> list[str]:
        """Return the areas in the order in which they were measured."""
        return list(dict.fromkeys(row.area for row in self.rows))

    def groups(self, area: str) -> Iterator[list[Row]]:
        """Iterate over the groups of rows of an area with the same measure, ours first."""
        rows = [row for row in self.rows if row.area == area]
        for what in dict.fromkeys(row.what for row in rows):
            group = [row for row in rows if row.what == what]
            yield sorted(group, key=lambda row: row.peer != OURS)
