"""Turns that wait for their start, in drawn schedules in virtual time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st

from agy_actors import AskTimeout, Cancel, Chat, Supervisor, TurnError, TurnTimeout
from agy_actors.testing import (
    Deviations,
    RandomSchedules,
    SimulatedAgent,
    Simulation,
    explore,
    reply,
    schedules,
    turns,
)
from tests.simulation.effort import times

if TYPE_CHECKING:
    from agy_actors import AgentRef
    from agy_actors.testing import SimulatedTurn

SETTINGS = hypothesis.settings(
    max_examples=times(20),
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    limit=st.integers(1, 2),
    script=st.lists(turns(), max_size=5),
    crashes=st.integers(0, 2),
    asks=st.lists(
        st.lists(st.sampled_from(["ask", "ask for 1 s", "cancel"]), min_size=1, max_size=3),
        min_size=2,
        max_size=3,
    ),
)
def test_the_limit_holds_and_no_slot_is_lost_despite_failures(
    schedule: Deviations,
    limit: int,
    script: list[SimulatedTurn],
    crashes: int,
    asks: list[list[str]],
) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(max_running_turns=limit, max_restarts=50) as supervisor:
            config = SimulatedAgent(script)
            agents = [supervisor.create_agent(config, name=f"agent-{n}") for n in range(len(asks))]
            config._state.crashes = crashes

            def client(agent: AgentRef, actions: list[str]) -> None:
                for action in actions:
                    if action == "cancel":
                        agent.ask(Cancel())
                        continue
                    with contextlib.suppress(TurnError, AskTimeout):
                        agent.ask(Chat("go"), timeout=1.0 if action == "ask for 1 s" else None)
                    assert supervisor.load().running <= limit

            clients = [sim.client(client, *work) for work in zip(agents, asks, strict=True)]
            for running in clients:
                running.result()
            sim.sleep(1000.0)
            load = supervisor.load()
            assert (load.running, load.waiting, load.starting) == (0, 0, 0)
            # And one that comes now is not held back.
            with contextlib.suppress(TurnError):  # What the script has left.
                agents[0].ask(Chat("last"), timeout=200.0)

    Simulation(schedule).run(scenario)


@pytest.mark.parametrize("limit", [1, 2, None])
@pytest.mark.parametrize("waits", ["blocking", "awaited", "pool"])
def test_turns_whose_tools_ask_others_progress_in_any_order(limit: int | None, waits: str) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(max_running_turns=limit) as supervisor:
            expert: Any = (
                supervisor.create_pool(SimulatedAgent([]), 1, "expert")
                if waits == "pool"
                else supervisor.create_agent(SimulatedAgent([]), "expert")
            )

            def blocking() -> str:
                return str(expert.ask(Chat("nested")).text)

            async def awaited() -> str:
                return str((await expert.ask(Chat("nested"), block=False)).text)

            tool = awaited if waits == "awaited" else blocking
            config = SimulatedAgent(
                [reply("done").calling(tool.__name__) for _ in range(3)], tools=[tool]
            )
            bosses = [supervisor.create_agent(config, f"boss-{n}") for n in range(3)]

            asked = [boss.ask(Chat("go", timeout=5.0), block=False) for boss in bosses]

            assert [turn.get().text for turn in asked] == ["done"] * 3
            assert sim.now < 2.0
            assert supervisor.load().running == 0

    explore(scenario, RandomSchedules(0), runs=times(20))


def test_the_time_of_a_turn_begins_with_its_start_and_that_of_an_ask_does_not() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(max_running_turns=1) as supervisor:
            long, slow, late, gone = (
                supervisor.create_agent(SimulatedAgent([reply(after=after)]))
                for after in (40.0, 9.0, 11.0, 0.0)
            )
            first = long.ask(Chat("long"), block=False)
            second = slow.ask(Chat("slow", timeout=10.0, stall_timeout=9.5), block=False)
            third = late.ask(Chat("late", timeout=10.0), block=False)

            with pytest.raises(AskTimeout):
                gone.ask(Chat("gone"), timeout=30.0)
            assert sim.now == 30.0

            assert first.get().text == "long"
            assert second.get().text == "slow"
            assert sim.now == 49.0
            with pytest.raises(TurnTimeout):
                third.get()
            assert sim.now == 59.0

    Simulation().run(scenario)


def test_a_limit_by_the_machine_lets_all_turns_run_that_wait_for_their_model() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agents = [
                supervisor.create_agent(SimulatedAgent([reply(after=5.0)])) for _ in range(60)
            ]
            asked = [agent.ask(Chat("go"), block=False) for agent in agents]
            for turn in asked:
                turn.get()
            assert sim.now < 6.0

    Simulation().run(scenario)
