"""There is one agent for each name, also if several threads ask for it at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgentDeadError,
    AgentRef,
    AgentStartError,
    AskTimeout,
    GetConversationId,
    GetOrCreateAgent,
    InvalidConfig,
    Supervisor,
)
from agy_actors.testing import RandomSchedules, SimulatedAgent, Simulation, crash, explore, reply
from tests.harnesses import FAILS, PATIENCE, children, fake_harness, patient_harness, until
from tests.slow import quick

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel


def test_five_racing_threads_get_one_agent(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    together = threading.Barrier(5)

    def get() -> AgentRef:
        together.wait(PATIENCE)
        return supervisor.get_or_create_agent(model.openai_config(), name="poet")

    with ThreadPoolExecutor(5) as threads:
        agents = [future.result(PATIENCE) for future in [threads.submit(get) for _ in range(5)]]

    assert len(set(agents)) == 1
    assert supervisor.children() == {"poet": agents[0]}
    assert len({agent.ask(GetConversationId()) for agent in agents}) == 1
    assert agents[4].ask("hi").text == "echo: hi"


def test_an_agent_is_got_or_created_by_message(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")

    assert supervisor.ask(GetOrCreateAgent(model.openai_config(), "poet")) == agent
    assert supervisor.ask(GetOrCreateAgent(model.openai_config(), "critic")) != agent


@pytest.mark.parametrize("name", [None, "", "a/b", 5])
def test_a_name_is_needed(supervisor: SupervisorRef, name: Any) -> None:
    with pytest.raises(InvalidConfig, match="a name"):
        supervisor.get_or_create_agent(SimulatedAgent(), name)


def test_both_forms_of_a_name_are_one_agents(supervisor: SupervisorRef) -> None:
    agent = supervisor.create_agent(SimulatedAgent(), "Zoe\u0308")

    assert supervisor.get_or_create_agent(SimulatedAgent(), "Zo\u00eb") == agent


def test_an_existing_agent_keeps_its_configuration(supervisor: SupervisorRef) -> None:
    agent = supervisor.get_or_create_agent(SimulatedAgent(lambda _: reply("first")), "poet")
    other: Any = "no configuration at all"

    assert supervisor.get_or_create_agent(SimulatedAgent(), "poet") == agent
    assert supervisor.get_or_create_agent(other, "poet") == agent
    assert agent.ask("hi").text == "first"


@pytest.mark.parametrize("kind", ["pool", "supervisor"])
def test_the_name_of_a_pool_or_a_supervisor_is_refused(
    supervisor: SupervisorRef, kind: str
) -> None:
    if kind == "pool":
        supervisor.create_pool(SimulatedAgent(), 1, "it")
    else:
        supervisor.create_supervisor("it")

    with pytest.raises(InvalidConfig, match=f"has no agent 'it': that is {kind} 'it'"):
        supervisor.get_or_create_agent(SimulatedAgent(), "it")


def test_a_supervisor_that_has_ended_creates_and_returns_nothing(
    supervisor: SupervisorRef,
) -> None:
    supervisor.create_agent(SimulatedAgent(), "poet")
    supervisor.stop()

    with pytest.raises(AgentDeadError):
        supervisor.get_or_create_agent(SimulatedAgent(), "poet")


def test_a_pool_creates_no_agents(supervisor: SupervisorRef) -> None:
    pool = supervisor.create_pool(SimulatedAgent(), 1)

    with pytest.raises(TypeError, match="does not answer GetOrCreateAgent"):
        pool.ask(GetOrCreateAgent(SimulatedAgent(), "poet"))


def test_all_askers_of_a_failed_start_get_their_own_error(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    config = model.openai_config(env=fake_harness(tmp_path, "sleep 0.3; " + FAILS))
    futures = [supervisor.get_or_create_agent(config, "poet", block=False) for _ in range(5)]

    errors: set[int] = set()
    for future in futures:
        with pytest.raises(AgentStartError, match="'poet' did not start") as caught:
            future.get(timeout=PATIENCE)
        errors.add(id(caught.value))
        assert caught.value.__cause__ is not None

    assert len(errors) == 5
    assert supervisor.children() == {}
    assert supervisor.get_or_create_agent(model.openai_config(), "poet").ask("hi").text


def test_an_asker_that_gives_up_does_not_end_the_agent_of_others(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    env, start = patient_harness(tmp_path)
    config = model.openai_config(env=env)
    first = supervisor.create_agent(config, "poet", block=False)
    second = supervisor.get_or_create_agent(config, "poet", block=False)
    with pytest.raises(AskTimeout):
        supervisor.get_or_create_agent(config, "poet", timeout=0.1)

    assert first.cancel()
    start()

    agent = second.get(timeout=PATIENCE)
    assert supervisor.children() == {"poet": agent}
    assert agent.ask("hi").text == "echo: hi"


@pytest.mark.new_processes
def test_if_all_give_up_nothing_is_left(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    env, start = patient_harness(tmp_path)
    config = model.openai_config(env=env)
    futures = [supervisor.get_or_create_agent(config, "poet", block=False) for _ in range(3)]
    until(lambda: bool(children()))

    assert all(future.cancel() for future in futures)
    start()

    until(lambda: not children())
    until(lambda: not supervisor.children())


# Races, in the simulation.


def _race(sim: Simulation, supervisor: SupervisorRef, *, block: bool = True) -> list[Any]:
    """Let five clients ask for one agent at once; return the result of each."""
    config = SimulatedAgent(start=1.0)

    def get() -> object:
        return supervisor.get_or_create_agent(config, "poet", block=block)

    return [sim.client(get, name=f"client-{number}").future for number in range(5)]


def test_in_any_order_racing_clients_get_one_agent() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            agents = {future.get() for future in _race(sim, supervisor)}
            assert agents == set(supervisor.children().values())
            assert len(agents) == 1

    explore(scenario, RandomSchedules(3), runs=60)


@pytest.mark.parametrize("end", quick(["shutdown_agent", "stop", "drain"], 0))
def test_a_race_with_an_end_returns_a_living_agent_or_raises(end: str) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            old = supervisor.create_agent(SimulatedAgent(stop=1.0), "poet")
            turn = old.ask("go", block=False)

            def finish() -> None:
                if end == "stop":
                    old.stop(block=False)
                else:
                    supervisor.shutdown_agent(old, drain=end == "drain", block=False)

            ending = sim.client(finish)
            futures = _race(sim, supervisor)
            ending.future.get()
            late = supervisor.get_or_create_agent(SimulatedAgent(), "poet")
            agents = {future.get() for future in futures} - {old}

            # If it is requested after the request for the end, it is never the ending one.
            assert late != old
            assert agents <= {late}
            assert late.ask("hi").text == "hi"
            turn.cancel()
            assert supervisor.children() == {"poet": late}

    explore(scenario, RandomSchedules(4), runs=60)


def test_a_race_with_a_crash_returns_the_agent_that_is_restarted() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            config = SimulatedAgent([crash(after=1.0)], start=1.0)
            agent = supervisor.create_agent(config, "poet")
            turn = agent.ask("go", block=False)
            sim.sleep(sim.choose(0.5, 1.0, 1.5))
            agents = {future.get() for future in _race(sim, supervisor)}

            assert agents == {agent}
            assert turn.get().text == "go"

    explore(scenario, RandomSchedules(5), runs=60)


def test_a_race_with_the_end_of_the_supervisor_returns_no_living_agent() -> None:
    def scenario(sim: Simulation) -> None:
        supervisor = Supervisor.start(name="root")
        clients = _race(sim, supervisor, block=False)
        sim.sleep(sim.choose(0.0, 0.5, 1.0, 1.5))
        supervisor.stop()

        for client in clients:
            try:
                agent = client.get().get()
            except (AgentDeadError, AgentStartError):
                continue
            assert not agent.is_alive()

    explore(scenario, RandomSchedules(6), runs=60)


def test_a_race_with_creators_that_give_up_returns_a_living_agent() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            config = SimulatedAgent(start=1.0)
            first = supervisor.create_agent(config, "poet", block=False)

            def give_up() -> bool:
                sim.sleep(sim.choose(0.5, 1.0))
                return first.cancel()

            giving_up = sim.client(give_up)
            sim.sleep(sim.choose(0.1, 0.5, 1.0))
            agent = supervisor.get_or_create_agent(config, "poet")
            giving_up.future.get()
            sim.sleep(60.0)

            assert agent.ask("hi").text == "hi"
            assert supervisor.children() == {"poet": agent}

    explore(scenario, RandomSchedules(7), runs=100)
