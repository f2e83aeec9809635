"""The order in which a supervisor ends its children, and how many end at the same time."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from agy_actors import AsyncioActor, Supervisor
from agy_actors._supervision import child_ending
from agy_actors.testing import Simulation

MANY = 150
"""More children than end within the orderly part of a stop."""


class Ending(AsyncioActor):
    """An actor whose clean-up takes some time."""

    ends_now: ClassVar[set[int]] = set()

    def __init__(self, number: int, seconds: float, noted: list[tuple[int, int]]) -> None:
        super().__init__()
        self.number = number
        self.seconds = seconds
        self.noted = noted

    async def on_stop(self) -> None:  # type: ignore[override]
        """Note how many actors clean up, this one included."""
        self.ends_now.add(self.number)
        self.noted.append((self.number, len(self.ends_now)))
        await asyncio.sleep(self.seconds)
        self.ends_now.discard(self.number)


def stop(number_of_children: int, seconds: float) -> tuple[list[tuple[int, int]], float]:
    """Stop a supervisor; return which children ended in which order, and how long it took."""
    noted: list[tuple[int, int]] = []

    def scenario(sim: Simulation) -> float:
        supervisor = Supervisor.start()
        for number in range(number_of_children):
            supervisor.create_actor(Ending, number, seconds, noted)
        began = sim.now
        supervisor.stop()
        return sim.now - began

    return noted, Simulation(max_steps=1_000_000).run(scenario)


def test_few_children_end_one_after_another_the_youngest_first() -> None:
    noted, seconds = stop(5, 0.1)

    assert noted == [(number, 1) for number in reversed(range(5))]
    assert seconds == pytest.approx(0.5)


def test_later_several_end_at_a_time_but_not_all() -> None:
    noted, _ = stop(MANY, 0.05)

    orderly = round(child_ending._ORDERLY / 0.05)
    assert [number for number, _ in noted] == list(reversed(range(MANY)))
    assert {ending for _, ending in noted[:orderly]} == {1}
    assert max(ending for _, ending in noted) == child_ending._AT_ONCE


def test_children_that_take_long_end_all_in_the_time_of_one() -> None:
    noted, seconds = stop(MANY, 5.0)

    assert [number for number, _ in noted] == list(reversed(range(MANY)))
    assert seconds < child_ending._ORDERLY + 5.0 + 5 * child_ending._STALL
