"""Many simulations of one scenario, each in another schedule, until one of them fails."""

from __future__ import annotations

import dataclasses
import itertools
import random
import time
from typing import TYPE_CHECKING, Any, Protocol

from agy_actors.testing._schedules import Given, PriorityChanges, RandomChoices
from agy_actors.testing._simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agy_actors.testing._simulation_scheduler import Schedule

__all__ = ["Exhaustive", "Exploration", "PctSchedules", "RandomSchedules", "Schedules", "explore"]

_RATES = (1.0, 0.3, 0.1, 0.03)
"""How many choices of a random schedule are drawn freely, in turns. Arbitrary: some bugs
take chaos, others one misstep in an orderly run."""


class Schedules(Protocol):
    """Makes the schedules of an exploration."""

    def next(self, last: Simulation | None) -> Schedule | None:
        """Return another schedule, or `None` if there is none.

        Args:
            last: the simulation that ran the schedule before, if there was one.
        """
        ...


class RandomSchedules:
    """Schedules at random, from wild ones to those that are nearly FIFO.

    Args:
        seed: the same seed makes the same schedules.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._rates = itertools.cycle(_RATES)

    def next(self, last: Simulation | None) -> Schedule:
        """Return another one; there are always more."""
        del last
        return RandomChoices(self._random, next(self._rates))


class PctSchedules:
    """Schedules of probabilistic concurrency testing. See `PriorityChanges`.

    Args:
        seed: the same seed makes the same schedules.
        depth: how many orderings a bug may take, at most.
    """

    def __init__(self, seed: int = 0, depth: int = 3) -> None:
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._depths = itertools.cycle(range(1, depth + 1))
        self._steps = 1

    def next(self, last: Simulation | None) -> Schedule:
        """Return another one, for as many choices as the longest run so far had."""
        if last is not None:
            self._steps = max(self._steps, len(last.choices))
        return PriorityChanges(self._random, next(self._depths), self._steps)


class Exhaustive:
    """All schedules, depth first; for small scenarios.

    Args:
        deviations: how many choices other than FIFO's a schedule has at most; `None` for
            any number. Most bugs take one or two.
    """

    def __init__(self, deviations: int | None = None) -> None:
        self.deviations = deviations

    def next(self, last: Simulation | None) -> Schedule | None:
        """Return the next schedule in the order of the tree."""
        if last is None:
            return Given(())
        return self._after(last.choices, last.widths)

    def _after(self, choices: Sequence[int], widths: Sequence[int]) -> Schedule | None:
        spent = sum(map(bool, choices))
        for position in range(len(choices) - 1, -1, -1):
            choice = choices[position]
            spent -= bool(choice)  # What is spent before this position.
            allowed = self.deviations is None or spent < self.deviations
            if choice + 1 < widths[position] and allowed:
                return Given([*choices[:position], choice + 1])
        return None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What an exploration that found nothing has tried."""

    runs: int
    """How many schedules were run."""

    distinct: int
    """How many of them were different."""

    complete: bool
    """Whether there are no others (within the bound, if there is one)."""

    seconds: float
    """Of real time."""


def explore(
    scenario: Callable[[Simulation], Any],
    schedules: Schedules | None = None,
    *,
    runs: int = 1000,
    seconds: float | None = None,
    shrink: int = 500,
    **options: Any,
) -> Exploration:
    """Run a scenario in many schedules.

    Args:
        scenario: see `Simulation.run`. It starts afresh each time: what it uses it makes.
        schedules: where the schedules come from; by default `RandomSchedules()`.
        runs: how many to run at most.
        seconds: of real time, after which no more are run; `None` for no limit.
        shrink: how many more runs may be spent on a failure, to make its schedule simpler.
        options: for each `Simulation`.

    Raises:
        BaseException: what the scenario raised first, from the simplest schedule found that
            raises an error of this type. Its notes have the trace and the token.
    """
    schedules = schedules or RandomSchedules()
    started = time.perf_counter()
    seen: set[int] = set()
    last: Simulation | None = None
    done = 0
    while done < runs and (seconds is None or time.perf_counter() - started < seconds):
        schedule = schedules.next(last)
        if schedule is None:
            return _found_nothing(done, seen, started, complete=True)
        last = Simulation(schedule, **options)
        try:
            last.run(scenario)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failure, shrunk = _shrink(scenario, last, error, shrink, options)
            failure.add_note(f"found in run {done + 1}, and made simpler in {shrunk} more")
            raise failure from None
        done += 1
        seen.add(hash(tuple(last.choices)))
    return _found_nothing(done, seen, started, complete=False)


def _found_nothing(done: int, seen: set[int], started: float, *, complete: bool) -> Exploration:
    return Exploration(
        runs=done,
        distinct=len(seen),
        complete=complete,
        seconds=time.perf_counter() - started,
    )


def _shrink(
    scenario: Callable[[Simulation], Any],
    failed: Simulation,
    error: BaseException,
    budget: int,
    options: dict[str, Any],
) -> tuple[BaseException, int]:
    """Find the simplest schedule that fails alike: fewer deviations, and earlier ones."""
    tried = 0
    best = tuple(failed.choices)
    improved = True
    while improved:
        improved = False
        for candidate in _simpler(best):
            if tried >= budget:
                return error, tried
            tried += 1
            simulation = Simulation(Given(candidate), **options)
            try:
                simulation.run(scenario)
            except BaseException as other:
                if isinstance(other, KeyboardInterrupt):
                    raise
                found = tuple(simulation.choices)
                if type(other) is type(error) and _size(found) < _size(best):
                    best, error, improved = found, other, True
                    break
    return error, tried


def _size(choices: Sequence[int]) -> tuple[int, int, int]:
    deviations = [(position, choice) for position, choice in enumerate(choices) if choice]
    return len(deviations), sum(choice for _, choice in deviations), sum(p for p, _ in deviations)


def _simpler(choices: Sequence[int]) -> Iterator[list[int]]:
    """Yield schedules with fewer deviations: without many of them first, then without one."""
    places = [position for position, choice in enumerate(choices) if choice]
    size = len(places)
    while size:
        for start in range(0, len(places), size):
            without = set(places[start : start + size])
            yield [0 if i in without else choice for i, choice in enumerate(choices)]
        size //= 2
    for place in places:
        if choices[place] > 1:
            yield [1 if i == place else choice for i, choice in enumerate(choices)]
