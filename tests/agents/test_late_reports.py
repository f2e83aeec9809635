"""Reports of a session after its end do not affect the next session of its agent."""

from __future__ import annotations

import contextvars
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import Cancel, Chat, GetStatistics, Supervisor, TurnCancelled
from agy_actors._sdk.process import connect as _connect
from agy_actors._sdk.process import lease as _lease
from agy_actors._sdk.process.shared_process import SharedProcess
from agy_actors._sdk.session import Session
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE, SOON, until

if TYPE_CHECKING:
    from agy_actors import AgentRef, SupervisorRef
    from agy_actors._sdk.process.shared_process import Lessee

SHORT = 0.05
VISITOR: ContextVar[str] = ContextVar("VISITOR")


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The callbacks of each session that is made."""
    made: list[dict[str, Any]] = []
    init = Session.__init__

    def note(self: Session, config: Any, **callbacks: Any) -> None:
        made.append(callbacks)
        init(self, config, **callbacks)

    monkeypatch.setattr(Session, "__init__", note)
    return made


def wait_for_sleep(agent: AgentRef) -> None:
    until(lambda: agent.ask(GetStatistics(), timeout=SOON).state == "asleep")


def visitor_in(around: Any) -> str | None:
    def read() -> str | None:
        with around():
            return VISITOR.get(None)

    return contextvars.Context().run(read)


def is_well(agent: AgentRef) -> bool:
    answered = agent.ask(Chat("well?"), timeout=PATIENCE).text == "echo: well?"
    return answered and agent.ask(GetStatistics()).restarts == 0


def test_no_report_of_a_closed_session_reaches_the_next_one(
    model: ScriptedModel, supervisor: SupervisorRef, reports: list[dict[str, Any]]
) -> None:
    gate = threading.Event()
    agent = supervisor.create_agent(model.openai_config(), idle_timeout=SHORT)
    wait_for_sleep(agent)
    model.when("second", say("Here.", gate=gate))
    VISITOR.set("ada")
    turn = agent.ask(Chat("second"), block=False)
    model.wait_for_requests(1)
    closed, present = reports

    closed["on_death"]()
    closed["on_line"]("HTTP request failed with status 429", True)
    closed["on_line"]("subscriber fell behind", True)
    closed["on_step"]()

    assert visitor_in(present["around"]) == "ada"
    assert visitor_in(closed["around"]) is None
    assert supervisor.pace() == {}
    gate.set()
    assert turn.get(timeout=PATIENCE).text == "Here."
    assert is_well(agent)


def test_the_death_of_a_sleeping_agents_process_is_not_a_crash_of_the_next_session(
    model: ScriptedModel, supervisor: SupervisorRef, reports: list[dict[str, Any]]
) -> None:
    agent = supervisor.create_agent(model.openai_config(), idle_timeout=SHORT)
    wait_for_sleep(agent)

    reports[0]["on_death"]()
    assert agent.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"
    reports[0]["on_death"]()

    assert is_well(agent)


def test_the_late_death_of_a_process_that_took_no_connection_is_not_a_crash(
    model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lessees: list[Lessee] = []
    add = SharedProcess.add
    connect = _connect.connect
    failures = [ConnectionError("it hangs")]

    def note(process: SharedProcess, lessee: Lessee) -> None:
        lessees.append(lessee)
        add(process, lessee)

    async def fail_once(address: Any) -> Any:
        if failures:
            raise failures.pop()
        return await connect(address)

    monkeypatch.setattr(SharedProcess, "add", note)
    monkeypatch.setattr(_lease, "connect", fail_once)
    with Supervisor.start(max_conversations_per_process=4) as supervisor:
        agent = supervisor.create_agent(model.openai_config())

        first, _ = lessees
        first.note_death()

        assert is_well(agent)


def test_a_tool_that_outlives_its_session_belongs_to_no_turn_of_the_next_one(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    gate, begun, release = threading.Event(), threading.Event(), threading.Event()
    answers: list[str] = []
    agents: list[AgentRef] = []

    def linger() -> str:
        """Take long."""
        begun.set()
        release.wait(PATIENCE)
        answers.append(agents[0].ask(Chat("late"), timeout=PATIENCE).text)
        return "done"

    model.when("first", call_tool("linger"))
    model.when("second", say("Here.", gate=gate))
    agent = supervisor.create_agent(model.openai_config(tools=[linger]), idle_timeout=SHORT)
    agents.append(agent)
    turn = agent.ask(Chat("first"), block=False)
    assert begun.wait(PATIENCE)
    agent.ask(Cancel())
    with pytest.raises(TurnCancelled):
        turn.get(timeout=PATIENCE)
    wait_for_sleep(agent)
    second = agent.ask(Chat("second"), block=False)
    model.wait_for_requests(2)

    release.set()
    until(lambda: agent.ask(GetStatistics()).turns_waiting == 1)
    gate.set()

    assert second.get(timeout=PATIENCE).text == "Here."
    until(lambda: answers == ["echo: late"])
