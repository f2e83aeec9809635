from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, assert_type

import pytest
from google.antigravity.types import Step, UsageMetadata

import agy_actors
from agy_actors import (
    AgentRef,
    AgyActorsError,
    AvailableTools,
    Cancel,
    Chat,
    ChatReply,
    CreateAgent,
    GetActiveAgentCount,
    GetChildren,
    GetHistory,
    GetLastResponse,
    GetTotalUsage,
    IsIdle,
    Message,
    ReplyFuture,
    Send,
    ShutdownAgent,
    Supervisor,
    SupervisorRef,
    ToolInfo,
)

if TYPE_CHECKING:
    from google.antigravity import AgentConfig


_LISTED = """
    Supervisor SupervisorRef AgentRef AsyncioActor ReplyFuture as_completed Restart Strategy
    Backoff RetryPolicy Chat Send Cancel IsIdle WaitForIdle WaitForWakeup SignalIdle
    GetHistory ClearHistory GetTurnCount GetTotalUsage GetLastTurnUsage GetLastResponse
    GetCompactionIndices GetConversationId GetStatistics AvailableTools Disconnect Delete
    CreateAgent ShutdownAgent GetChildren GetActiveAgentCount Shutdown ChatReply ChatStream
    AgentStatistics ToolInfo AgyActorsError AgentStartError AgentDeadError MailboxFull
    DeadlockError InvalidConfig ModelError QuotaExceeded TurnCancelled TurnInterrupted
    TurnStalled TurnTimeout PoolRef Routing CreatePool
"""
NAMES = set(_LISTED.split())


def test_every_public_name_is_exported() -> None:
    assert set(agy_actors.__all__) >= NAMES


def test_the_list_of_exports_is_what_there_is() -> None:
    public = {
        name
        for name, value in vars(agy_actors).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert set(agy_actors.__all__) == public
    assert len(agy_actors.__all__) == len(set(agy_actors.__all__))


@pytest.mark.parametrize("name", sorted(set(agy_actors.__all__)))
def test_every_export_is_documented(name: str) -> None:
    value = getattr(agy_actors, name)

    assert (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__) or ""


def test_errors_have_one_root_and_say_whether_to_try_again() -> None:
    errors = [
        value
        for name in agy_actors.__all__
        if inspect.isclass(value := getattr(agy_actors, name)) and issubclass(value, Exception)
    ]

    assert len(errors) > 10
    for error in errors:
        assert issubclass(error, AgyActorsError)
        assert hasattr(error, "retryable")


def test_every_message_is_a_message() -> None:
    for name in NAMES:
        value = getattr(agy_actors, name)
        if name.startswith(("Get", "Create", "Wait", "Shutdown")):
            assert issubclass(value, Message)


def check_types(  # Not called: it is for the type checkers.
    supervisor: SupervisorRef, agent: AgentRef, config: AgentConfig
) -> None:
    assert_type(Supervisor.start(), SupervisorRef)
    assert_type(supervisor.create_agent(config, name="poet"), AgentRef)
    assert_type(supervisor.ask(CreateAgent(config)), AgentRef)
    assert_type(supervisor.ask(CreateAgent(config), block=False), ReplyFuture[AgentRef])
    assert_type(supervisor.ask(GetChildren()), dict[str, AgentRef])
    assert_type(supervisor.ask(GetActiveAgentCount()), int)
    assert_type(supervisor.ask(ShutdownAgent("poet")), None)
    assert_type(agent.ask(Chat("x")), ChatReply)
    assert_type(agent.ask(Chat("x")).text, str)
    assert_type(agent.ask(Chat("x"), timeout=5.0), ChatReply)
    assert_type(agent.ask(Chat("x"), block=False), ReplyFuture[ChatReply])
    assert_type(agent.ask(IsIdle()), bool)
    assert_type(agent.ask(Cancel()), bool)
    assert_type(agent.ask(Send("x")), None)
    assert_type(agent.ask(GetHistory()), list[Step])
    assert_type(agent.ask(GetLastResponse()), str | None)
    assert_type(agent.ask(GetTotalUsage()), UsageMetadata)
    assert_type(agent.ask(AvailableTools()), list[ToolInfo])
    assert_type(agent.ask("anything else"), Any)
    text: str = agent.ask(Chat("x"), block=False).get().text
    assert text
