"""Queries, which are answered also during a turn."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from google.antigravity import CapabilitiesConfig
from google.antigravity import types as sdk

from agy_actors import (
    AvailableTools,
    Cancel,
    Chat,
    ClearHistory,
    GetCompactionIndices,
    GetConversationId,
    GetHistory,
    GetLastResponse,
    GetLastTurnUsage,
    GetStatistics,
    GetTotalUsage,
    GetTurnCount,
    IsIdle,
    SignalIdle,
    UnknownMessage,
    WaitForIdle,
    WaitForWakeup,
)
from agy_actors._agents.record import AgentRecord, AgentSpec
from agy_actors.testing import ScriptedModel, Usage, say, silence
from tests.harnesses import PATIENCE, SOON, kill_harness, pid_of, until

if TYPE_CHECKING:
    from agy_actors import AgentRef, SupervisorRef
    from tests.agents.conftest import HeldCrash


def test_a_thousand_queries_are_answered_while_a_turn_streams(
    model: ScriptedModel, either: AgentRef
) -> None:
    gate = threading.Event()
    model.then(say("one two", gate=gate))
    future = either.ask(Chat("hi"), block=False)
    model.wait_for_requests(1)

    answers = [either.ask(IsIdle(), timeout=SOON) for _ in range(1000)]
    statistics = either.ask(GetStatistics(), timeout=SOON)
    gate.set()

    assert answers == [False] * 1000
    assert (statistics.state, statistics.turns) == ("busy", 1)
    assert future.get(timeout=PATIENCE).text == "one two"
    assert either.ask(IsIdle()) is True


def test_waiting_for_idle_ends_after_all_queued_turns(
    model: ScriptedModel, agent: AgentRef
) -> None:
    gate = threading.Event()
    model.then(say("one", gate=gate))
    turns = [agent.ask(Chat(str(number)), block=False) for number in range(3)]
    model.wait_for_requests(1)
    waits = [agent.ask(WaitForIdle(), block=False) for _ in range(2)]

    agent.ask(IsIdle())
    assert not any(wait.done() for wait in waits)
    gate.set()

    for wait in waits:
        wait.get(timeout=PATIENCE)
    assert all(turn.done() for turn in turns)


def test_waiting_for_an_idle_agent_ends_at_once(agent: AgentRef) -> None:
    agent.ask(WaitForIdle(), timeout=SOON)


def test_waiting_for_idle_ends_when_all_waiting_turns_are_abandoned(
    model: ScriptedModel, agent: AgentRef
) -> None:
    model.then(silence())
    running = agent.ask(Chat("hi"), block=False)
    model.wait_for_requests(1)
    queued = [agent.ask(Chat(str(number)), block=False) for number in range(3)]
    wait = agent.ask(WaitForIdle(), block=False)

    for future in queued:
        future.cancel()
    running.cancel()

    wait.get(timeout=SOON)
    assert agent.ask(IsIdle()) is True


def test_waiting_for_idle_survives_a_crash_and_ends_with_the_restart(
    agent: AgentRef, held: HeldCrash
) -> None:
    killed = held.crash(agent)
    wait = agent.ask(WaitForIdle(), block=False)
    assert agent.ask(IsIdle()) is False
    assert not wait.done()
    held.let_go()

    wait.get(timeout=PATIENCE)

    assert pid_of(agent) != killed


def test_a_wake_up_comes_with_the_next_turn_or_with_a_signal(agent: AgentRef) -> None:
    first = agent.ask(WaitForWakeup(), block=False)
    agent.ask(Chat("hi"))
    second = agent.ask(WaitForWakeup(), block=False)
    agent.ask(IsIdle())
    agent.ask(SignalIdle())

    assert first.get(timeout=SOON) is True
    assert second.get(timeout=SOON) is True
    assert agent.ask(WaitForWakeup(timeout=0.05)) is False


def test_history_and_last_response_include_all_turns(either: AgentRef) -> None:
    assert either.ask(GetLastResponse()) is None
    assert either.ask(GetHistory()) == []

    either.ask(Chat("one"))
    either.ask(Chat("two"))

    responses = [step.content for step in either.ask(GetHistory()) if step.is_complete_response]
    assert responses == ["echo: one", "echo: two"]
    assert either.ask(GetLastResponse()) == "echo: two"
    assert either.ask(GetTurnCount()) == 2


def test_a_cleared_history_leaves_the_conversation_as_it_was(
    model: ScriptedModel, either: AgentRef
) -> None:
    either.ask(Chat("one"))

    either.ask(ClearHistory())

    assert either.ask(GetHistory()) == []
    assert either.ask(GetLastResponse()) is None
    either.ask(Chat("two"))
    assert model.requests[-1].messages == (
        ("user", "one"),
        ("assistant", "echo: one"),
        ("user", "two"),
    )


def test_usage_is_reported_for_the_last_turn_and_in_total(
    model: ScriptedModel, either: AgentRef
) -> None:
    assert either.ask(GetLastTurnUsage()) is None
    assert not either.ask(GetTotalUsage()).total_token_count
    model.then(
        say("one", usage=Usage(prompt=10, completion=5)),
        say("two", usage=Usage(prompt=20, completion=7)),
    )

    either.ask(Chat("a"))
    reply = either.ask(Chat("b"))

    last = either.ask(GetLastTurnUsage())
    assert last is not None
    assert (last.prompt_token_count, last.candidates_token_count) == (20, 7)
    assert reply.usage == last
    assert either.ask(GetTotalUsage()).total_token_count == 42


def test_statistics_are_a_snapshot_of_the_agent(agent: AgentRef) -> None:
    agent.ask(Chat("hi"))

    statistics = agent.ask(GetStatistics())

    assert (statistics.name, statistics.state, statistics.turns) == ("agent", "idle", 1)
    assert (statistics.turns_waiting, statistics.restarts, statistics.last_error) == (0, 0, None)
    assert statistics.conversation_id == agent.ask(GetConversationId())
    assert statistics.total_usage == agent.ask(GetTotalUsage())


def test_statistics_name_the_cause_of_the_last_restart(agent: AgentRef) -> None:
    killed = kill_harness(agent)

    until(lambda: agent.ask(GetStatistics(), timeout=PATIENCE).harness_pid != killed)

    statistics = agent.ask(GetStatistics())
    assert statistics.restarts == 1
    assert statistics.last_error is not None
    assert "died" in statistics.last_error


def test_the_tools_are_those_that_the_agent_may_call(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def weather(city: str) -> str:
        """Tell the weather."""
        return city

    capabilities = CapabilitiesConfig(enabled_tools=[sdk.BuiltinTools.VIEW_FILE])
    agent = supervisor.create_agent(model.openai_config(tools=[weather], capabilities=capabilities))

    tools = agent.ask(AvailableTools())

    assert (tools[0].name, tools[0].source) == ("weather", "custom")
    assert tools[0].description == "Tell the weather."
    assert sdk.BuiltinTools.VIEW_FILE.value in [t.name for t in tools if t.source == "builtin"]


def test_compactions_are_found_in_the_history() -> None:
    record = AgentRecord()
    for kind in (sdk.StepType.TEXT_RESPONSE, sdk.StepType.COMPACTION, sdk.StepType.FINISH):
        record.note_step(sdk.Step(type=kind))

    assert record.compaction_indices() == [1]


def test_an_agent_that_was_never_compacted_has_no_compactions(agent: AgentRef) -> None:
    agent.ask(Chat("hi"))

    assert agent.ask(GetCompactionIndices()) == []


def test_the_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agy_actors._agents.record._MAX_STEPS", 3)
    record = AgentRecord()

    for index in range(5):
        record.note_step(sdk.Step(step_index=index))

    assert [step.step_index for step in record.steps] == [2, 3, 4]


def test_an_unknown_message_is_an_error_that_names_the_known_ones(
    agent: AgentRef,
) -> None:
    with pytest.raises(
        UnknownMessage, match=r"does not answer int; it answers .*Chat.*IsIdle"
    ) as caught:
        agent.ask(5)

    assert isinstance(caught.value, TypeError)

    assert "StreamChat" not in str(caught.value)
    assert agent.ask(Cancel()) is False


def test_a_spec_shows_no_secret() -> None:
    assert AgentSpec.__dataclass_fields__["secrets"].repr is False
