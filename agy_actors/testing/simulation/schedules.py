"""Schedules: they choose which fiber takes the next step of a simulation.

A schedule serves one run. `agy_actors.testing.explore` takes its schedules from `Schedules`, in
the module `exploration`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Deviations",
    "Fifo",
    "PriorityChanges",
    "RandomChoices",
    "Ready",
    "ReplayChoices",
    "Schedule",
]

_MAX_STEPS_IN_A_ROW = 100
"""Steps that `PriorityChanges` gives one fiber in a row while others are ready. Arbitrary. The
published algorithm has no such bound: it keeps a fiber that spins from running forever."""


class Ready(Protocol):
    """A fiber that is ready to take the next step."""

    number: int
    """The number of the fiber, from 0, in the order in which fibers start."""


class Schedule(Protocol):
    """Chooses what happens next."""

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return a position from 0 to `width - 1`. A larger number is taken modulo `width`.

        Args:
            width: the number of options, 2 or more.
            ready: the fibers that are ready, the one that became ready first at position 0.
                Empty when the options are values (`Simulation.choose`).
        """
        ...


class Fifo:
    """First come, first served: chooses the fiber that has been ready for longest."""

    def __repr__(self) -> str:
        return "Fifo()"

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return 0."""
        del width, ready
        return 0


class ReplayChoices:
    """A given list of choices. After the last one, every choice is 0.

    Args:
        choices: positions in the ready queue, each taken modulo the number of ready fibers.
    """

    def __init__(self, choices: Iterable[int]) -> None:
        self.choices = tuple(choices)
        self._left = iter(self.choices)

    def __repr__(self) -> str:
        return f"ReplayChoices({list(self.choices)})"

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return the next choice."""
        del ready
        return next(self._left, 0) % width


class Deviations:
    """First come, first served, except for a few choices. Hypothesis shrinks these few numbers.

    Args:
        deviations: pairs of numbers. The first is the number of choices since the previous
            deviation, the second is the position in the ready queue to choose there.
    """

    def __init__(self, deviations: Iterable[tuple[int, int]]) -> None:
        self.deviations = tuple(deviations)
        self._left = iter(self.deviations)
        self._gap, self._choice = next(self._left, (-1, 0))

    def __repr__(self) -> str:
        return f"Deviations({list(self.deviations)})"

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return the choice of a deviation if one is due, otherwise 0."""
        if self._gap:
            self._gap -= 1
            return 0
        choice = self._choice
        self._gap, self._choice = next(self._left, (-1, 0))
        del ready
        return choice % width


class RandomChoices:
    """Random choices.

    Args:
        source: a seed or a `random.Random`.
        rate: the share of choices that may differ from 0, from 0 to 1.
    """

    def __init__(self, source: int | random.Random, rate: float = 1.0) -> None:
        seeded = source if isinstance(source, random.Random) else random.Random(source)  # noqa: S311
        self._random = seeded.random
        self.rate = rate

    def __repr__(self) -> str:
        return f"RandomChoices(rate={self.rate:g})"

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return a random position; with a rate below 1, mostly 0."""
        del ready
        if self.rate < 1 and self._random() >= self.rate:
            return 0
        return int(self._random() * width)


class PriorityChanges:
    """Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010).

    Each fiber has a random priority, and the ready fiber with the highest priority takes each
    step. At `depth - 1` random steps the chosen fiber gets the lowest priority instead. With n
    fibers and k steps, one run finds a bug that depends on `depth` orderings with a probability
    of at least 1/(n * k^(depth-1)).

    Args:
        source: a seed or a `random.Random`.
        depth: the number of orderings that a bug depends on, 1 or more.
        steps: the expected number of choices in a run.
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
        """Return the position of the fiber with the highest priority."""
        if not ready:  # The options are values: they have no priority.
            return int(self._random.random() * width)
        position = self._highest(ready)
        self._in_a_row = self._in_a_row + 1 if ready[position].number == self._last else 0
        if self._step in self._changes or self._in_a_row >= _MAX_STEPS_IN_A_ROW:
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
        for position, fiber in enumerate(ready):
            number = fiber.number
            priority = priorities.get(number)
            if priority is None:
                priority = priorities[number] = self._random.random()
            if priority > highest:
                best, highest = position, priority
        return best
