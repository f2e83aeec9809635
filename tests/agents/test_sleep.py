"""Agents that release their process while they are idle."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgentFellAsleep,
    Cancel,
    Chat,
    Delete,
    GetStatistics,
    GetTotalUsage,
    GetTurnCount,
    IsIdle,
    Supervisor,
    TurnCancelled,
    WaitForIdle,
)
from agy_actors._sdk.session import Session
from agy_actors.testing import ScriptedModel, Usage, say
from tests.harnesses import PATIENCE, SOON, children, until

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import AgentRef, SupervisorRef
    from tests.agents.agents import Configure

SHORT = 0.05


def wait_for_sleep(agent: AgentRef) -> None:
    until(lambda: agent.ask(GetStatistics(), timeout=SOON).state == "asleep")
    until(lambda: not children())


@pytest.mark.own_processes
def test_an_idle_agent_releases_its_process_and_wakes_for_its_next_turn(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    agent = supervisor.create_agent(configure(), "sleeper", idle_timeout=SHORT)
    model.then(say("one", usage=Usage(prompt=10, completion=5)))
    agent.ask(Chat("first"), timeout=PATIENCE)

    wait_for_sleep(agent)
    reply = agent.ask(Chat("second"), timeout=PATIENCE)

    assert reply.text == "echo: second"
    assert ("user", "first") in model.requests[-1].messages
    assert ("assistant", "one") in model.requests[-1].messages
    assert agent.ask(GetTurnCount()) == 2
    assert agent.ask(GetStatistics()).restarts == 0


@pytest.mark.own_processes
def test_an_agent_that_sleeps_answers_queries_and_stays_asleep(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.openai_config(), idle_timeout=SHORT)
    agent.ask(Chat("hi"), timeout=PATIENCE)
    usage = agent.ask(GetTotalUsage())

    wait_for_sleep(agent)

    assert agent.ask(IsIdle(), timeout=SOON)
    assert agent.ask(GetTurnCount(), timeout=SOON) == 1
    assert agent.ask(GetTotalUsage(), timeout=SOON) == usage
    assert agent.ask(Cancel(), timeout=SOON) is False
    agent.ask(WaitForIdle(), timeout=SOON)
    assert agent.ask(GetStatistics(), timeout=SOON).state == "asleep"
    assert not children()


def test_an_agent_that_is_asked_while_it_falls_asleep_answers(
    model: ScriptedModel, supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, release = threading.Event(), threading.Event()
    close = Session.close

    async def dawdle(self: Session, **options: Any) -> None:
        closing.set()
        await asyncio.to_thread(release.wait, PATIENCE)
        await close(self, **options)

    monkeypatch.setattr(Session, "close", dawdle)
    agent = supervisor.create_agent(model.openai_config(), idle_timeout=SHORT)
    assert closing.wait(PATIENCE)

    turn = agent.ask(Chat("hi"), block=False)
    release.set()

    assert turn.get(timeout=PATIENCE).text == "echo: hi"


def test_an_agent_is_asleep_when_others_can_open_its_conversation(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, release = threading.Event(), threading.Event()
    close = Session.close

    async def dawdle(self: Session, **options: Any) -> None:
        closing.set()
        await asyncio.to_thread(release.wait, PATIENCE)
        await close(self, **options)

    monkeypatch.setattr(Session, "close", dawdle)
    asleep = threading.Event()
    with Supervisor.start(state_dir=tmp_path) as one, Supervisor.start(state_dir=tmp_path) as two:
        one.subscribe(lambda event: asleep.set() if isinstance(event, AgentFellAsleep) else None)
        sleeper = one.create_agent(model.openai_config(), "ada", idle_timeout=SHORT)
        assert closing.wait(PATIENCE)
        assert sleeper.ask(GetStatistics(), timeout=SOON).state == "idle"
        assert not asleep.is_set()

        release.set()
        assert asleep.wait(PATIENCE)

        assert sleeper.ask(GetStatistics(), timeout=SOON).state == "asleep"
        two.create_agent(model.openai_config(), "ada", timeout=PATIENCE)


@pytest.mark.own_processes
def test_a_turn_that_is_cancelled_while_its_agent_wakes_never_starts(
    model: ScriptedModel, supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = supervisor.create_agent(model.openai_config(), idle_timeout=SHORT)
    wait_for_sleep(agent)
    opening = threading.Event()
    open_session = Session.open

    async def slowly(self: Session) -> None:
        opening.set()
        await open_session(self)

    monkeypatch.setattr(Session, "open", slowly)
    turn = agent.ask(Chat("no"), block=False)
    assert opening.wait(PATIENCE)

    cancelled = agent.ask(Cancel(), timeout=SOON)

    if cancelled:  # Otherwise the agent was awake before the message came.
        with pytest.raises(TurnCancelled):
            turn.get(timeout=PATIENCE)
        assert not model.requests
    assert agent.ask(Chat("yes"), timeout=PATIENCE).text == "echo: yes"


@pytest.mark.own_processes
def test_an_agent_that_does_not_wake_up_is_restarted(
    model: ScriptedModel, supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = supervisor.create_agent(model.openai_config(), idle_timeout=SHORT)
    wait_for_sleep(agent)
    failures = ["once"]
    open_session = Session.open

    async def fail_once(self: Session) -> None:
        if failures:
            raise OSError(failures.pop())
        await open_session(self)

    monkeypatch.setattr(Session, "open", fail_once)

    assert agent.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    assert agent.ask(GetStatistics()).restarts == 1


@pytest.mark.own_processes
def test_a_sleeping_agent_can_be_ended(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    agents = [supervisor.create_agent(model.openai_config(), idle_timeout=SHORT) for _ in range(3)]
    for agent in agents:
        wait_for_sleep(agent)

    agents[0].ask(Delete(), timeout=SOON)
    agents[1].stop(timeout=SOON)
    supervisor.shutdown_agent(agents[2], timeout=SOON)

    assert not any(agent.is_alive() for agent in agents)
    assert supervisor.children() == {}


@pytest.mark.own_processes
def test_many_agents_share_few_processes(model: ScriptedModel) -> None:
    events: list[Any] = []
    with Supervisor.start() as supervisor:
        supervisor.subscribe(events.append)
        agents = [
            supervisor.create_agent(model.openai_config(), idle_timeout=SHORT) for _ in range(4)
        ]
        until(lambda: not children())

        answers = [agent.ask(Chat("hi"), timeout=PATIENCE).text for agent in agents]

        assert answers == ["echo: hi"] * 4
        until(lambda: sum(isinstance(event, AgentFellAsleep) for event in events) == 8)
