"""The number of explored schedules per second: `python -m benchmarks.simulation`.

The scenario has three actors that pass messages on to each other, and three clients. Each figure is
the best of several rounds, in processor time, so that other programs do not affect it. For
comparison it also prints the time of a simple counting loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import hypothesis
from hypothesis import strategies as st

from agy_actors._actors.actor import AsyncioActor
from agy_actors.testing import (
    Deviations,
    DrawnChoices,
    PctSchedules,
    RandomSchedules,
    Simulation,
    explore,
    schedules,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 10
RUNS = 300
COUNTS = 1_000_000


class _Relay(AsyncioActor):
    def __init__(self, after: Any = None) -> None:
        super().__init__()
        self.after = after

    def on_receive(self, message: Any) -> Any:
        if self.after is not None:
            self.after.tell(message)
        return message


async def _scenario(sim: Simulation) -> None:
    last = _Relay.start()
    middle = _Relay.start(last)
    first = _Relay.start(middle)

    async def ask(ref: Any) -> None:
        await ref.ask("a", block=False)

    for client in [sim.client(ask, ref) for ref in (first, middle)]:
        await client
    await last.ask("end", block=False)


def _random() -> None:
    explore(_scenario, RandomSchedules(), runs=RUNS)


def _pct() -> None:
    explore(_scenario, PctSchedules(), runs=RUNS)


_settings = hypothesis.settings(
    max_examples=RUNS,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


@_settings
@hypothesis.given(schedules())
def _hypothesis(schedule: Deviations) -> None:
    Simulation(schedule).run(_scenario)


@_settings
@hypothesis.given(st.data())
def _drawn(data: st.DataObject) -> None:
    Simulation(DrawnChoices(data)).run(_scenario)


def _count() -> float:
    started = time.process_time()
    total = 0
    for number in range(COUNTS):
        total += number
    return (time.process_time() - started) / COUNTS * 1e9


def _best(run: Callable[[], None]) -> float:
    best = 0.0
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        best = max(best, RUNS / (time.process_time() - started))
    return best


def run() -> None:
    """Measure, and print a table."""
    print("schedules a second, best of", ROUNDS)
    for what, measure in (
        ("random", _random),
        ("PCT", _pct),
        ("Hypothesis, deviations", _hypothesis),
        ("Hypothesis, each choice", _drawn),
    ):
        print(f"{what:<26}{_best(measure):8.0f}")
    print(f"{'one count, ns':<26}{min(_count() for _ in range(ROUNDS)):8.0f}")


if __name__ == "__main__":
    run()
