"""The guarantees of a reply's future, in drawn schedules."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import hypothesis
from hypothesis import strategies as st

from agy_actors.testing import Deviations, Simulation, schedules
from tests.simulation.actors import Work, Worker
from tests.simulation.effort import times


def outcome(future: Any) -> str:
    try:
        return str(future.get(timeout=0))
    except concurrent.futures.CancelledError:
        return "cancelled"


@hypothesis.settings(max_examples=times(100), deadline=None, print_blob=False)
@hypothesis.given(schedule=schedules(), later=st.sampled_from([0.0, 0.5, 1.0, 1.5]))
def test_a_reply_never_changes_and_is_delivered_once(schedule: Deviations, later: float) -> None:
    told: list[str] = []

    def scenario(sim: Simulation) -> None:
        ref = Worker.start([])
        reply = ref.ask(Work("done", 1.0), block=False)
        reply.add_done_callback(lambda future: told.append(outcome(future)))

        def cancel() -> None:
            sim.sleep(later)
            reply.cancel()

        sim.client(cancel).result()
        sim.sleep(5)
        assert told == [outcome(reply)]

    Simulation(schedule).run(scenario)
