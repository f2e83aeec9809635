"""The statistics of a supervisor about all agents below it."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import tenacity

from agy_actors import (
    AgentDeadError,
    Backoff,
    Cancel,
    Chat,
    GetSupervisorStatistics,
    GetTotalUsage,
    ModelError,
    Supervisor,
    SupervisorStatistics,
    TurnCancelled,
    TurnInterrupted,
    TurnTimeout,
)
from agy_actors.testing import (
    ScriptedModel,
    SimulatedAgent,
    Simulation,
    call_tool,
    crash,
    error,
    hang,
    http_error,
    reply,
    say,
)
from tests.harnesses import HANGS, PATIENCE, SOON, fake_harness, kill_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import SupervisorRef


def test_a_supervisor_without_agents_counts_nothing(supervisor: SupervisorRef) -> None:
    statistics = supervisor.statistics()

    assert statistics.name == supervisor.name
    assert statistics.agents == statistics.turns == Counter()
    assert statistics.agents["idle"] == 0
    assert (statistics.supervisors, statistics.pools) == (0, 0)
    assert (statistics.turns_waiting, statistics.restarts) == (0, 0)


def test_statistics_are_a_frozen_answer_to_a_message(supervisor: SupervisorRef) -> None:
    statistics = supervisor.ask(GetSupervisorStatistics())

    assert isinstance(statistics, SupervisorStatistics)
    with pytest.raises(dataclasses.FrozenInstanceError):
        statistics.restarts = 5  # type: ignore[misc]


def test_agents_turns_and_tokens_are_counted_with_the_real_harness(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    poet = supervisor.create_agent(model.openai_config(), "poet")
    critic = supervisor.create_agent(model.openai_config(), "critic")
    poet.ask("one")
    critic.ask("two")
    model.when("bad", http_error(400))
    with pytest.raises(ModelError):
        critic.ask("bad")

    # After such an error, the SDK's conversation is opened again.
    until(lambda: supervisor.statistics().agents == Counter(idle=2))
    statistics = supervisor.statistics()

    assert statistics.turns == Counter(answered=2, ModelError=1)
    spent = poet.ask(GetTotalUsage()) + critic.ask(GetTotalUsage())
    assert statistics.total_usage == spent
    assert spent.total_token_count


@pytest.mark.own_processes
def test_restarts_are_counted_once_with_the_real_harness(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")
    agent.ask("one")
    before = agent.ask(GetTotalUsage())

    kill_harness(agent)
    agent.ask("two", timeout=PATIENCE)

    statistics = supervisor.statistics()
    assert statistics.restarts == 1
    assert statistics.turns["answered"] == 2
    assert statistics.total_usage == agent.ask(GetTotalUsage())
    assert (statistics.total_usage.total_token_count or 0) > (before.total_token_count or 0)


@pytest.mark.own_processes
def test_statistics_come_at_once_while_agents_hang_start_and_work(
    model: ScriptedModel, tmp_path: Path
) -> None:
    let_go, inside = threading.Event(), threading.Event()

    async def block() -> str:
        """Block."""
        inside.set()
        let_go.wait(60)
        return "let go"

    gate = threading.Event()
    model.when("block", call_tool("block"), times=1)
    model.when("slow", say("slowly", gate=gate, gate_after=0))
    try:
        with Supervisor.start(hang_timeout=None) as supervisor:
            hung = supervisor.create_agent(model.openai_config(tools=[block]), "hung")
            busy = supervisor.create_agent(model.openai_config(), "busy")
            turns = [hung.ask("block", block=False), busy.ask("slow", block=False)]
            waiting = busy.ask("next", block=False)
            config = model.openai_config(env=fake_harness(tmp_path, HANGS))
            starting = supervisor.create_agent(config, "starting", block=False)
            assert inside.wait(PATIENCE)
            until(lambda: supervisor.statistics(block=False).get(timeout=SOON).agents["busy"] == 2)

            statistics = supervisor.statistics(block=False).get(timeout=SOON)

            assert statistics.agents == Counter(busy=2, starting=1)
            assert statistics.turns_waiting == 1
            assert not starting.done()
            let_go.set()
            gate.set()
            assert all(turn.get(timeout=PATIENCE) for turn in (*turns, waiting))
            starting.cancel()
    finally:
        let_go.set()
        gate.set()


def test_the_whole_tree_is_counted_and_each_supervisor_counts_its_own() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            team = supervisor.create_supervisor("team")
            deep = team.create_supervisor("deep")
            pool = deep.create_pool(SimulatedAgent(), 2, "pool")
            agents = [owner.create_agent(SimulatedAgent()) for owner in (supervisor, team, deep)]
            for agent in (*agents, pool, pool):
                agent.ask("hi")

            counts = {
                owner.name: (
                    owner.statistics().agents,
                    owner.statistics().turns,
                    owner.statistics().supervisors,
                    owner.statistics().pools,
                )
                for owner in (supervisor, team, deep)
            }

            assert counts == {
                "root": (Counter(idle=5), Counter(answered=5), 2, 1),
                "team": (Counter(idle=4), Counter(answered=4), 1, 1),
                "deep": (Counter(idle=3), Counter(answered=3), 0, 1),
            }

    Simulation().run(scenario)


def test_the_counts_of_ended_agents_remain() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            team = supervisor.create_supervisor("team")
            spent = 0
            for number in range(3):
                agent = team.create_agent(SimulatedAgent(), f"agent {number}")
                agent.ask("hi")
                spent += agent.ask(GetTotalUsage()).total_token_count or 0
                team.shutdown_agent(agent)
            below = team.statistics()
            team.shutdown()

            statistics = supervisor.statistics()

            assert statistics.agents == below.agents == Counter()
            assert statistics.turns == below.turns == Counter(answered=3)
            assert statistics.total_usage == below.total_usage
            assert statistics.total_usage.total_token_count == spent > 0

    Simulation().run(scenario)


def test_each_turn_is_counted_by_its_outcome() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            turns = [reply(), error(500), hang(), hang(), reply(), hang()]
            agent = supervisor.create_agent(SimulatedAgent(turns))
            agent.ask("1")
            with pytest.raises(ModelError):
                agent.ask("2")
            with pytest.raises(TurnTimeout):
                agent.ask(Chat("3", timeout=5.0))
            cancelled = agent.ask("4", block=False)
            sim.sleep(0.5)
            assert agent.ask(Cancel())
            with pytest.raises(TurnCancelled):
                cancelled.get()
            agent.ask("5")
            given_up = agent.ask("6", block=False)
            sim.sleep(0.5)
            given_up.cancel()
            sim.sleep(60.0)

            assert supervisor.statistics().turns == Counter(
                answered=2, ModelError=1, TurnTimeout=1, TurnCancelled=1, CancelledError=1
            )

    Simulation().run(scenario)


def test_a_turn_whose_agent_is_given_up_is_counted() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root", max_restarts=0) as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([crash(after=1.0)]))

            with pytest.raises(AgentDeadError):
                agent.ask("go")

            assert supervisor.statistics().turns == Counter(AgentDeadError=1)

    Simulation().run(scenario)


def test_a_turn_that_is_retried_by_its_agent_or_pool_is_counted_once() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([crash(after=1.0)]))
            pool = supervisor.create_pool(SimulatedAgent([crash(after=1.0)]), 2, max_restarts=0)

            agent.ask("go")
            pool.ask("go")

            assert pool.statistics().replaced == 1
            assert supervisor.statistics().turns == Counter(answered=2)

    Simulation().run(scenario)


def test_a_turn_that_hung_its_agent_is_counted_once(model: ScriptedModel) -> None:
    let_go = threading.Event()

    async def block() -> str:
        """Block."""
        let_go.wait(60)
        return "let go"

    model.when("block", call_tool("block"), times=1)
    with Supervisor.start(hang_timeout=0.6) as supervisor:
        agent = supervisor.create_agent(model.openai_config(tools=[block]), "poet")
        with pytest.raises(TurnInterrupted):
            agent.ask("block", timeout=PATIENCE)
        agent.ask("next", timeout=PATIENCE)
        let_go.set()
        agent.ask("last", timeout=PATIENCE)

        statistics = supervisor.statistics()
        assert statistics.turns == Counter(answered=2, TurnInterrupted=1)
        assert statistics.restarts == 1


def test_states_follow_an_agent_through_a_crash_to_its_end() -> None:
    def scenario(sim: Simulation) -> None:
        backoff = Backoff(wait=tenacity.wait_fixed(10.0), reset_after=30.0)
        with Supervisor.start(name="root", backoff=backoff) as supervisor:
            config = SimulatedAgent(
                [crash(after=1.0), reply(after=1.0), crash(after=1.0)], start=2.0, stop=2.0
            )
            seen = []

            def note(seconds: float) -> None:
                sim.sleep(seconds)
                seen.append(dict(supervisor.statistics().agents))

            creation = supervisor.create_agent(config, "poet", block=False)
            note(1.0)
            agent = creation.get()
            note(0.1)
            turns = [agent.ask(f"{number}", block=False) for number in range(3)]
            note(0.5)
            note(1.0)
            for turn in turns[:2]:
                turn.get()
            turns[2].cancel()
            end = supervisor.shutdown_agent(agent, block=False)
            note(0.5)
            end.get()
            note(0.0)

            kinds = ["starting", "idle", "busy", "restarting", "ending"]
            assert [set(states) for states in seen] == [*({kind} for kind in kinds), set()]

    Simulation().run(scenario)


def test_turns_that_wait_for_a_pool_are_counted() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(lambda _: reply(after=5.0)), 2)
            turns = [pool.ask(f"{number}", block=False) for number in range(7)]
            sim.sleep(1.0)

            statistics = supervisor.statistics()

            assert statistics.agents == Counter(busy=2)
            assert statistics.turns_waiting == pool.statistics().waiting == 5
            for turn in turns:
                turn.get()
            assert supervisor.statistics().turns == Counter(answered=7)
            assert supervisor.statistics().turns_waiting == 0

    Simulation().run(scenario)


def test_turns_that_wait_for_the_machine_are_counted() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root", max_running_turns=1) as supervisor:
            config = SimulatedAgent(lambda _: reply(after=5.0))
            agents = [supervisor.create_agent(config) for _ in range(3)]
            turns = [agent.ask("go", block=False) for agent in agents]
            sim.sleep(1.0)

            statistics = supervisor.statistics()

            assert statistics.agents == Counter(busy=1, waiting=2)
            assert statistics.turns_waiting == 2
            for turn in turns:
                turn.get()

    Simulation().run(scenario)
