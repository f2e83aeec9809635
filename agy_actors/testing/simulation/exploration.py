"""`explore`: runs a scenario in many schedules until one run fails."""

from __future__ import annotations

import dataclasses
import itertools
import random
import time
from typing import TYPE_CHECKING, Any, Protocol

from agy_actors.testing.simulation.schedules import PriorityChanges, RandomChoices, ReplayChoices
from agy_actors.testing.simulation.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agy_actors.testing.simulation.schedules import Schedule

__all__ = ["Exhaustive", "Exploration", "PctSchedules", "RandomSchedules", "Schedules", "explore"]

_RATES = (1.0, 0.3, 0.1, 0.03)
"""The rates of successive random schedules. Arbitrary: some bugs need many unusual choices, others
a single one in an otherwise ordered run."""


class Schedules(Protocol):
    """Creates the schedules of an exploration."""

    def next(self, last: Simulation | None) -> Schedule | None:
        """Return the next schedule, or `None` if there are no more.

        Args:
            last: the simulation that ran the previous schedule, or `None` before the first.
        """
        ...


class RandomSchedules:
    """Random schedules, from fully random ones to ones that are nearly first come, first served.

    Args:
        seed: the same seed gives the same schedules.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._rates = itertools.cycle(_RATES)

    def next(self, last: Simulation | None) -> Schedule:
        """Return the next schedule. It never returns `None`."""
        del last
        return RandomChoices(self._random, next(self._rates))


class PctSchedules:
    """Schedules of probabilistic concurrency testing. See `PriorityChanges`.

    Args:
        seed: the same seed gives the same schedules.
        depth: the largest number of orderings that a bug may depend on. The schedules have depths
            from 1 to this number in turn.
    """

    def __init__(self, seed: int = 0, depth: int = 3) -> None:
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._depths = itertools.cycle(range(1, depth + 1))
        self._steps = 1

    def next(self, last: Simulation | None) -> Schedule:
        """Return the next schedule, for as many choices as the longest run so far. Never `None`."""
        if last is not None:
            self._steps = max(self._steps, len(last.choices))
        return PriorityChanges(self._random, next(self._depths), self._steps)


class Exhaustive:
    """All schedules, depth first; for small scenarios.

    Args:
        deviations: the largest number of choices that differ from first come, first served;
            `None` for no limit. Most bugs need one or two.
    """

    def __init__(self, deviations: int | None = None) -> None:
        self.deviations = deviations

    def next(self, last: Simulation | None) -> Schedule | None:
        """Return the next schedule, or `None` after the last one."""
        if last is None:
            return ReplayChoices(())
        return self._after(last.choices, last.widths)

    def _after(self, choices: Sequence[int], widths: Sequence[int]) -> Schedule | None:
        spent = sum(map(bool, choices))
        for position in range(len(choices) - 1, -1, -1):
            choice = choices[position]
            spent -= bool(choice)  # The deviations before this position.
            allowed = self.deviations is None or spent < self.deviations
            if choice + 1 < widths[position] and allowed:
                return ReplayChoices([*choices[:position], choice + 1])
        return None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """The result of an exploration without a failure."""

    runs: int
    """The number of runs."""

    distinct: int
    """The number of different schedules among them."""

    complete: bool
    """Whether all schedules were run, within the limit of deviations if there is one."""

    seconds: float
    """Real time, in seconds."""


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
        scenario: see `Simulation.run`. Each run must create everything it uses.
        schedules: the source of schedules; by default `RandomSchedules()`.
        runs: the largest number of runs.
        seconds: seconds of real time after which no further run starts; `None` for no limit.
        shrink: the largest number of additional runs that simplify the schedule of a failure.
        options: the options of each `Simulation`.

    Raises:
        BaseException: the first failure. It comes from the simplest schedule found that fails
            with an error of the same type. Its notes have the trace and the token.
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
            failure.add_note(f"found in run {done + 1}, and simplified in {shrunk} more")
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
    """Find the simplest schedule that fails with the same type: fewer and earlier deviations."""
    tried = 0
    best = tuple(failed.choices)
    improved = True
    while improved:
        improved = False
        for candidate in _simpler(best):
            if tried >= budget:
                return error, tried
            tried += 1
            simulation = Simulation(ReplayChoices(candidate), **options)
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
    """Yield schedules with fewer deviations: first without many of them, then without one."""
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
