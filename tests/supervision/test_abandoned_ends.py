"""An agent ends although the asker has stopped waiting for its end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import hooks

from agy_actors import AgentStopped, AskTimeout, Delete, Disconnect, Supervisor
from agy_actors.testing import ScriptedModel, SimulatedAgent, Simulation
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    from agy_actors import Event, SupervisorRef

ENDS = [Disconnect(), Delete()]


def names_of_stopped(events: list[Event]) -> list[str]:
    return [event.agent for event in events if isinstance(event, AgentStopped)]


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_an_agent_ends_on_request_when_no_asker_waits_for_it(end: Any) -> None:
    def scenario(sim: Simulation) -> None:
        events: list[Event] = []
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            agent = supervisor.create_agent(SimulatedAgent(stop=2.0), name="poet")

            with pytest.raises(AskTimeout):
                agent.ask(end, timeout=1.0)
            sim.sleep(2.0)

            assert names_of_stopped(events) == ["poet"]
            assert supervisor.create_agent(SimulatedAgent(), name="poet").ask("hi").text == "hi"

    Simulation().run(scenario)


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_a_member_of_a_pool_is_replaced_when_no_asker_waits_for_its_end(end: Any) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(stop=2.0), 2)
            ended = pool.members()[0]

            with pytest.raises(AskTimeout):
                ended.ask(end, timeout=1.0)
            sim.sleep(10.0)

            assert ended not in pool.members()
            assert [member.is_alive() for member in pool.members()] == [True, True]

    Simulation().run(scenario)


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_an_agent_ends_on_the_real_harness_when_no_asker_waits_for_its_end(
    supervisor: SupervisorRef, model: ScriptedModel, end: Any
) -> None:
    closing, gate = threading.Event(), threading.Event()

    @hooks.on_session_end  # type: ignore[untyped-decorator] # the SDK's
    def wait_at_the_end() -> None:
        closing.set()
        gate.wait(PATIENCE)

    events: list[Event] = []
    supervisor.subscribe(events.append)
    agent = supervisor.create_agent(model.openai_config(hooks=[wait_at_the_end]))
    ended = agent.ask(end, block=False)
    assert closing.wait(PATIENCE)

    ended.cancel()
    gate.set()

    until(lambda: names_of_stopped(events) == [agent.name])


def test_an_agent_whose_conversation_cannot_be_deleted_ends(
    supervisor: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise PermissionError("the conversation is read-only")

    monkeypatch.setattr("agy_actors._agents.open_sessions.OpenSessions.delete", fail)
    events: list[Event] = []
    supervisor.subscribe(events.append)
    agent = supervisor.create_agent(model.openai_config())

    with pytest.raises(PermissionError, match="read-only"):
        agent.ask(Delete(), timeout=PATIENCE)

    until(lambda: names_of_stopped(events) == [agent.name])
