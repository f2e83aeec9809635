"""Schedules: who draws what comes next in a simulation.

Each is asked for one run. What makes many of them, for `explore`, is in `_exploration`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agy_actors.testing._simulation_scheduler import Ready

__all__ = ["Deviations", "Fifo", "Given", "PriorityChanges", "RandomChoices"]


class Fifo:
    """Whoever has been ready for longest: what a single queue would do."""

    def __repr__(self) -> str:
        return "Fifo()"

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return 0."""
        del width, ready
        return 0


class Given:
    """Choices that are known. When they are used up, all others are 0.

    Args:
        choices: ring positions, each taken modulo the number of those that are ready.
    """

    def __init__(self, choices: Iterable[int]) -> None:
        self.choices = tuple(choices)
        self._left = iter(self.choices)

    def __repr__(self) -> str:
        return f"Given({list(self.choices)})"

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return the next choice."""
        del ready
        return next(self._left, 0) % width


class Deviations:
    """FIFO but for a few choices, which are few numbers to shrink.

    Args:
        deviations: for each, how many choices after the last one it comes, and the ring
            position that is chosen there.
    """

    def __init__(self, deviations: Iterable[tuple[int, int]]) -> None:
        self.deviations = tuple(deviations)
        self._left = iter(self.deviations)
        self._gap, self._choice = next(self._left, (-1, 0))

    def __repr__(self) -> str:
        return f"Deviations({list(self.deviations)})"

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return 0, or where a deviation is due, its choice."""
        if self._gap:
            self._gap -= 1
            return 0
        choice = self._choice
        self._gap, self._choice = next(self._left, (-1, 0))
        del ready
        return choice % width


class RandomChoices:
    """Choices at random.

    Args:
        source: where they come from, a seed or a `random.Random`.
        rate: how many of them may be other than 0, from 0 to 1.
    """

    def __init__(self, source: int | random.Random, rate: float = 1.0) -> None:
        seeded = source if isinstance(source, random.Random) else random.Random(source)  # noqa: S311
        self._random = seeded.random
        self.rate = rate

    def __repr__(self) -> str:
        return f"RandomChoices(rate={self.rate:g})"

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return any position; at a rate below 1, mostly 0."""
        del ready
        if self.rate < 1 and self._random() >= self.rate:
            return 0
        return int(self._random() * width)


class PriorityChanges:
    """Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010).

    Each strand has a random priority, and the highest of those that are ready takes each
    step; at `depth - 1` random steps the strand that would go falls to the lowest. With n
    strands and k steps a bug that takes `depth` orderings is found with a probability of
    1/(n * k^(depth-1)) at least.

    Args:
        source: a seed or a `random.Random`.
        depth: of the bugs looked for, from 1.
        steps: how many choices a run is about to have.
    """

    def __init__(self, source: int | random.Random, depth: int = 3, steps: int = 100) -> None:
        self._random = source if isinstance(source, random.Random) else random.Random(source)  # noqa: S311
        self._changes = {self._random.randrange(max(1, steps)) for _ in range(depth - 1)}
        self._priorities: dict[int, float] = {}
        self._step = 0
        self._lowest = 0.0
        self._last = -1
        self._in_a_row = 0

    def __repr__(self) -> str:
        return f"PriorityChanges(depth={len(self._changes) + 1})"

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return the position of the highest priority."""
        if not ready:  # Values, which have no priority.
            return int(self._random.random() * width)
        position = self._highest(ready)
        # A strand that spins until another has done something must not go on for ever.
        self._in_a_row = self._in_a_row + 1 if ready[position].number == self._last else 0
        if self._step in self._changes or self._in_a_row >= _MOST_IN_A_ROW:
            self._lowest -= 1.0
            self._priorities[ready[position].number] = self._lowest
            self._in_a_row = 0
            position = self._highest(ready)
        self._step += 1
        self._last = ready[position].number
        return position

    def _highest(self, ready: Sequence[Ready]) -> int:
        priorities = self._priorities
        best, highest = 0, float("-inf")
        for position, strand in enumerate(ready):
            number = strand.number
            priority = priorities.get(number)
            if priority is None:
                priority = priorities[number] = self._random.random()
            if priority > highest:
                best, highest = position, priority
        return best


_MOST_IN_A_ROW = 100
"""Steps that one strand takes in a row while others are ready. Arbitrary; as fairness it is
no part of the algorithm, and only bounds its depth in long runs."""
