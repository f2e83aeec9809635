from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, assert_type

import pytest
from google.antigravity import LocalAgentConfig
from google.antigravity.hooks import policy
from google.antigravity.types import Step, Text, Thought, ToolCall, UsageMetadata
from pydantic import BaseModel

import agy_actors
from agy_actors import (
    AgentRef,
    AgentStatistics,
    AgyActorsError,
    AvailableTools,
    Cancel,
    Chat,
    ChatReply,
    ChatStream,
    ClearHistory,
    ConfirmationAsked,
    CreateAgent,
    CreatePool,
    Delete,
    Disconnect,
    GetActiveAgentCount,
    GetChildren,
    GetCompactionIndices,
    GetConversationId,
    GetHistory,
    GetLastResponse,
    GetLastTurnUsage,
    GetStatistics,
    GetTotalUsage,
    GetTurnCount,
    HumanReply,
    IsIdle,
    Message,
    PoolRef,
    ReplyFuture,
    Send,
    ShutdownAgent,
    SignalIdle,
    Supervisor,
    SupervisorRef,
    ToolInfo,
    WaitForIdle,
    WaitForWakeup,
    confirmations,
    questions,
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
    TurnStalled TurnTimeout PoolRef Routing CreatePool TurnDenied InvalidPrompt InvalidOutput
    confirmations questions ConfirmationAsked QuestionAsked HumanReply subscribe
"""
NAMES = set(_LISTED.split())


def test_every_public_name_is_exported() -> None:
    assert set(agy_actors.__all__) >= NAMES


def test_the_list_of_exports_is_complete() -> None:
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


def test_errors_have_one_base_class_and_an_attribute_retryable() -> None:
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


def check_types(  # Not called: for the type checkers.
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
    assert_type(agent.ask(WaitForIdle()), None)
    assert_type(agent.ask(WaitForWakeup()), bool)
    assert_type(agent.ask(SignalIdle()), None)
    assert_type(agent.ask(ClearHistory()), None)
    assert_type(agent.ask(GetTurnCount()), int)
    assert_type(agent.ask(GetLastTurnUsage()), UsageMetadata | None)
    assert_type(agent.ask(GetCompactionIndices()), list[int])
    assert_type(agent.ask(GetConversationId()), str)
    assert_type(agent.ask(GetStatistics()), AgentStatistics)
    assert_type(agent.ask(Disconnect()), None)
    assert_type(agent.ask(Delete()), None)
    each: bool = bool(agent)
    assert_type(agent.ask(IsIdle(), block=each), bool | ReplyFuture[bool])
    assert_type(agent.ask("x", block=each), ChatReply | ReplyFuture[ChatReply])
    assert_type(agent.ask("x"), ChatReply)
    assert_type(agent.ask("x", block=False), ReplyFuture[ChatReply])
    assert_type(agent.ask(object()), Any)
    text: str = agent.ask(Chat("x"), block=False).get().text
    assert text


class City(BaseModel):
    name: str


def check_types_of_messages_and_parsed_replies(agent: AgentRef, pool: PoolRef) -> None:
    city = Chat("The largest city of Japan", response_schema=City)
    assert_type(agent.ask(Chat("x")).parsed, BaseModel | None)
    assert_type(agent.ask(Chat("x")).metadata, Any)
    assert_type(agent.ask(city).parsed, City)
    assert_type(agent.ask(city, block=False).get().parsed.name, str)
    assert_type(agent.stream(city).result().parsed, City)
    assert_type(agent.stream("x").result().parsed, BaseModel | None)
    assert_type(pool.ask(city, key="k").parsed, City)
    assert_type(next(pool.map([city])).parsed, City)
    assert_type(next(pool.as_completed([city])).get().parsed, City)
    assert_type(pool.broadcast(city)[0].parsed, City)
    plain: ChatReply = agent.ask(city)  # A reply of a schema is a reply.
    assert plain

    assert_type(agent.ask(Chat("x"), block=False).message, Chat)
    assert_type(agent.ask("x", block=False).message, Chat)
    assert_type(agent.ask(city, block=False).message, Chat[City])
    assert_type(agent.stream("x").future.message, Chat)
    assert_type(next(pool.as_completed(["x"])).message, Chat)
    assert_type(next(pool.as_completed(["x"])).message.prompt, Any)
    assert_type(next(pool.as_completed(["x"])).metadata, Any)
    assert_type(agent.ask(IsIdle(), block=False).message, object)


def check_types_of_streams(agent: AgentRef, pool: PoolRef) -> None:  # Not called, either.
    stream = agent.stream(Chat("x"))
    assert_type(stream, ChatStream)
    assert_type(agent.stream("x"), ChatStream)
    assert_type(pool.stream(Chat("x"), key="k"), ChatStream)
    assert_type(next(iter(stream)), str)
    assert_type(next(stream.events()), Text | Thought | ToolCall)
    assert_type(next(stream.thoughts()), str)
    assert_type(next(stream.tool_calls()), ToolCall)
    assert_type(stream.result(timeout=5.0), ChatReply)
    assert_type(stream.future, ReplyFuture[ChatReply])
    assert_type(stream.cancel(), bool)
    with stream as entered:
        assert_type(entered, ChatStream)


def check_types_of_pools(supervisor: SupervisorRef, pool: PoolRef, config: AgentConfig) -> None:
    assert_type(supervisor.create_pool(config, 4), PoolRef)
    assert_type(supervisor.ask(CreatePool(config, 4)), PoolRef)
    assert_type(pool.ask(Chat("x")), ChatReply)
    assert_type(pool.ask(Chat("x"), block=False, key="k"), ReplyFuture[ChatReply])
    assert_type(pool.ask("x", key="k"), ChatReply)
    assert_type(pool.ask("x", block=False), ReplyFuture[ChatReply])
    assert_type(pool.broadcast(Chat("x")), list[ChatReply])
    assert_type(pool.broadcast("x"), list[ChatReply])
    assert_type(next(pool.map(["x"])), ChatReply)
    assert_type(next(pool.map(["x"], return_exceptions=False)), ChatReply)
    assert_type(next(pool.map(["x"], return_exceptions=True)), ChatReply | Exception)
    assert_type(next(pool.as_completed(["x"])), ReplyFuture[ChatReply])
    each: bool = bool(pool)
    assert_type(pool.ask(IsIdle(), block=each), bool | ReplyFuture[bool])
    assert_type(pool.ask("x", block=each), ChatReply | ReplyFuture[ChatReply])
    assert_type(next(pool.map(["x"], return_exceptions=each)), ChatReply | Exception)


async def check_types_in_an_event_loop(agent: AgentRef, config: AgentConfig) -> None:
    assert_type(await agent.ask(Chat("x"), block=False), ChatReply)
    assert_type(await agent.ask(IsIdle(), block=False), bool)
    assert_type([text async for text in agent.stream("x")], list[str])
    assert_type(await agent.stream("x"), ChatReply)
    async with Supervisor.start() as supervisor, agent.stream("x") as stream:
        assert_type(supervisor, SupervisorRef)
        assert_type(stream, ChatStream)
        assert_type(await supervisor.ask(CreateAgent(config), block=False), AgentRef)


def check_types_of_tools_and_handlers(agent: AgentRef, event: ConfirmationAsked) -> None:
    LocalAgentConfig(
        tools=[agent.as_tool("ask", "Asks another.")],
        policies=[policy.ask_user("pay", handler=confirmations(timeout=1.0))],
        hooks=[questions()],
    )
    assert_type(event.reply, HumanReply[bool])
