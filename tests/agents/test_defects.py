"""Users of agents do not see the SDK's own defects, which `docs/sdk_facts.rst` lists."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from google.antigravity import ModelAPIRetryConfig, RetryConfig
from google.antigravity import types as sdk

from agy_actors import (
    Cancel,
    Chat,
    Disconnect,
    GetConversationId,
    GetHistory,
    GetLastTurnUsage,
    GetStatistics,
    GetTotalUsage,
    GetTurnCount,
    IsIdle,
    ModelError,
    QuotaExceeded,
    TurnCancelled,
    TurnStalled,
)
from agy_actors._actors.errors import AskTimeout
from agy_actors._agents import session_reports
from agy_actors._sdk.session import Session
from agy_actors.testing import (
    Reply,
    ScriptedModel,
    Usage,
    call_tool,
    drop,
    http_error,
    malformed,
    quota_error,
    say,
    silence,
)
from tests.agents.agents import RETRY_AT_ONCE, Configure
from tests.harnesses import PATIENCE, SOON, kill_harness, pid_of, suspend, until

if TYPE_CHECKING:
    from agy_actors import AgentRef, SupervisorRef


def answers(agent: AgentRef, *prompts: str) -> list[str]:
    return [agent.ask(Chat(prompt), timeout=PATIENCE).text for prompt in prompts]


# An error, then an empty answer, then a hang.


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_the_models_service_answers_with_an_error(
    model: ScriptedModel, either: AgentRef, status: int
) -> None:
    model.then(http_error(status, "MARK"))

    with pytest.raises(ModelError, match="MARK") as caught:
        either.ask(Chat("bad", timeout=3.0), timeout=PATIENCE)

    assert caught.value.status == status
    assert answers(either, "a", "b", "c") == ["echo: a", "echo: b", "echo: c"]


# An error that belongs to another ask.


def test_each_error_belongs_to_the_ask_that_caused_it(
    model: ScriptedModel, either: AgentRef
) -> None:
    model.then(http_error(401, "FIRST"), http_error(500, "SECOND"), say("third"))
    futures = [either.ask(Chat(prompt), block=False) for prompt in ("a", "b", "c", "d")]

    with pytest.raises(ModelError, match="FIRST") as first:
        futures[0].get(timeout=PATIENCE)
    with pytest.raises(ModelError, match="SECOND") as second:
        futures[1].get(timeout=PATIENCE)

    assert (first.value.status, second.value.status) == (401, 500)
    assert futures[2].get(timeout=PATIENCE).text == "third"
    assert futures[3].get(timeout=PATIENCE).text == "echo: d"


# The harness retries by itself, for minutes.


@pytest.mark.slow
def test_a_quota_error_says_when_to_retry(model: ScriptedModel, either: AgentRef) -> None:
    model.when("hi", quota_error(12.0))

    with pytest.raises(QuotaExceeded) as caught:
        either.ask(Chat("hi", timeout=5.0), timeout=PATIENCE)

    assert caught.value.retry_after == 12.0
    assert caught.value.retryable
    assert answers(either, "a") == ["echo: a"]


def test_silence_while_the_harness_waits_is_the_models_error(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.gemini_config())
    model.when("hi", http_error(503, "MARK"))

    for _ in range(2):  # The harness has the same goroutine for both turns.
        with pytest.raises(ModelError, match="MARK") as caught:
            agent.ask(Chat("hi", stall_timeout=1.5), timeout=PATIENCE)
        assert caught.value.status == 503

    assert answers(agent, "a") == ["echo: a"]


@pytest.mark.parametrize("reply", [quota_error(None), http_error(503), drop("half ")])
def test_the_harness_retries_by_itself(
    model: ScriptedModel, supervisor: SupervisorRef, reply: Reply
) -> None:
    agent = supervisor.create_agent(model.gemini_config(retry_config=RETRY_AT_ONCE))
    model.then(reply, reply)

    assert answers(agent, "a", "b") == ["echo: a", "echo: b"]


# A turn that never ends.


def test_the_model_goes_silent(model: ScriptedModel, either: AgentRef) -> None:
    model.then(silence("half "))

    with pytest.raises(TurnStalled) as caught:
        either.ask(Chat("hi", stall_timeout=1.5), timeout=PATIENCE)

    assert caught.value.text == "half "
    assert model.wait_for_disconnect().prompt == "hi"
    assert answers(either, "a", "b") == ["echo: a", "echo: b"]


@pytest.mark.parametrize("reply", [drop("half "), drop(), malformed("half ")])
def test_the_connection_to_the_model_breaks(
    model: ScriptedModel, either: AgentRef, reply: Reply
) -> None:
    model.when("hi", reply)  # The harness may try again by itself.

    with pytest.raises(ModelError):
        either.ask(Chat("hi", timeout=5.0), timeout=PATIENCE)

    assert answers(either, "a", "b") == ["echo: a", "echo: b"]


# An abandoned turn that holds up the next.


def test_the_asker_stops_waiting(model: ScriptedModel, either: AgentRef) -> None:
    model.then(silence("half "))

    with pytest.raises(AskTimeout):
        either.ask(Chat("slow"), timeout=0.5)

    assert model.wait_for_disconnect(SOON).prompt == "slow"
    started = time.monotonic()
    assert answers(either, "a") == ["echo: a"]
    assert time.monotonic() - started < SOON


# A process that stays dead.


def test_an_agents_process_dies(model: ScriptedModel, either: AgentRef) -> None:
    assert answers(either, "before") == ["echo: before"]
    model.then(silence("half "))
    future = either.ask(Chat("during"), block=False)
    model.wait_for_requests(2)

    killed = kill_harness(either)

    reply = future.get(timeout=PATIENCE)
    assert (reply.text, reply.attempts) == ("echo: during", 2)
    assert answers(either, "after") == ["echo: after"]
    assert pid_of(either) != killed
    assert either.ask(GetStatistics()).restarts == 1


def test_a_process_killed_while_idle_is_replaced_and_the_history_continues(
    model: ScriptedModel, either: AgentRef
) -> None:
    assert answers(either, "one", "two") == ["echo: one", "echo: two"]

    killed = kill_harness(either)
    until(lambda: either.ask(GetStatistics(), timeout=PATIENCE).harness_pid != killed)

    assert answers(either, "three") == ["echo: three"]
    assert model.requests[-1].messages == (
        ("user", "one"),
        ("assistant", "echo: one"),
        ("user", "two"),
        ("assistant", "echo: two"),
        ("user", "three"),
    )
    responses = [step.content for step in either.ask(GetHistory()) if step.is_complete_response]
    assert responses == ["echo: one", "echo: two", "echo: three"]


# A BaseException that stops every actor in the process.


class Bystander(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


def test_the_sdks_cancellation_never_propagates_and_stops_no_other_actor(
    model: ScriptedModel, supervisor: SupervisorRef, either: AgentRef
) -> None:
    other = supervisor.create_agent(model.openai_config(), name="other")
    bystander = Bystander.start()
    model.then(silence("half "))
    future = either.ask(Chat("hi"), block=False)
    model.wait_for_requests(1)

    assert either.ask(Cancel()) is True

    with pytest.raises(TurnCancelled) as caught:
        future.get(timeout=PATIENCE)
    assert not isinstance(caught.value, asyncio.CancelledError)
    assert bystander.ask("alive") == "alive"
    bystander.stop()
    assert answers(other, "a") == ["echo: a"]
    assert answers(either, "b") == ["echo: b"]


# One slow stop that delays all.


@pytest.mark.own_processes
def test_a_stuck_process_delays_no_other_agent_and_is_killed(
    model: ScriptedModel, supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_reports, "STOP_GRACE", 1.0)
    stuck = supervisor.create_agent(model.openai_config(), name="stuck")
    other = supervisor.create_agent(model.openai_config(), name="other")
    pid = pid_of(stuck)
    suspend(pid)

    ending = stuck.ask(Disconnect(), block=False)

    assert other.ask(Chat("a"), timeout=SOON).text == "echo: a"
    assert other.ask(IsIdle()) is True
    ending.get(timeout=SOON)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# Errors that are only steps.


def test_answers_without_content_are_an_error_and_not_an_empty_reply(
    model: ScriptedModel, either: AgentRef
) -> None:
    model.then(say(""), say(""), say(""))

    with pytest.raises(ModelError, match="3 errors in a row"):
        either.ask(Chat("hi"), timeout=PATIENCE)

    assert answers(either, "a") == ["echo: a"]


def test_a_failed_step_that_is_only_yielded_is_an_error(
    agent: AgentRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = sdk.Step(
        status=sdk.StepStatus.ERROR, source=sdk.StepSource.SYSTEM, error="Error 503, Message: MARK,"
    )
    steps = iter([failed, None])

    async def next_step(_: Session) -> sdk.Step | None:
        return next(steps)

    monkeypatch.setattr(Session, "next_step", next_step)

    with pytest.raises(ModelError, match="MARK"):
        agent.ask(Chat("hi"), timeout=PATIENCE)


def test_errors_that_the_harness_stops_retrying_are_not_an_empty_reply(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    once = ModelAPIRetryConfig(
        max_retries=1, initial_sleep_duration_ms=1, exponential_multiplier=1.0, jitter_range=0.0
    )
    agent = supervisor.create_agent(model.gemini_config(retry_config=RetryConfig(api_retry=once)))
    model.then(*[http_error(503, "MARK")] * 2)

    with pytest.raises(ModelError, match="MARK"):
        agent.ask(Chat("hi"), timeout=PATIENCE)

    assert answers(agent, "a") == ["echo: a"]


def test_a_tool_raises(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    def broken() -> str:
        """Do something."""
        raise RuntimeError("MARK")

    agent = supervisor.create_agent(configure(tools=[broken]))
    model.then(call_tool("broken"), say(lambda request: request.tool_results[-1].output))

    reply = agent.ask(Chat("hi"), timeout=PATIENCE)

    assert "MARK" in reply.text
    assert [call.name for call in reply.tool_calls] == ["broken"]
    assert answers(agent, "a") == ["echo: a"]


# No conversation id before the first turn.


def test_an_agent_that_dies_before_its_first_turn_keeps_its_conversation(
    model: ScriptedModel, either: AgentRef
) -> None:
    known = either.ask(GetConversationId())

    killed = kill_harness(either)
    until(lambda: either.ask(GetStatistics(), timeout=PATIENCE).harness_pid != killed)
    reply = either.ask(Chat("hi"), timeout=PATIENCE)

    assert len(known) >= 32
    assert reply.conversation_id == known == either.ask(GetConversationId())
    killed = kill_harness(either)
    until(lambda: either.ask(GetStatistics(), timeout=PATIENCE).harness_pid != killed)
    assert answers(either, "again") == ["echo: again"]
    assert model.requests[-1].messages == (
        ("user", "hi"),
        ("assistant", "echo: hi"),
        ("user", "again"),
    )


# What an incarnation forgets.


def test_turns_and_usage_are_counted_across_incarnations(
    model: ScriptedModel, either: AgentRef
) -> None:
    usage = Usage(prompt=10, completion=5)
    gate = threading.Event()
    model.then(say("one", usage=usage), say("two", usage=usage))
    assert answers(either, "a", "b") == ["one", "two"]

    killed = kill_harness(either)
    until(lambda: either.ask(GetStatistics(), timeout=PATIENCE).harness_pid != killed)
    assert either.ask(GetTotalUsage()).total_token_count == 30

    model.then(say("three", usage=usage, gate=gate, gate_after=0))
    future = either.ask(Chat("c"), block=False)
    model.wait_for_requests(3)
    model.then(say("three", usage=usage))
    kill_harness(either)  # During the turn: its second attempt is not another turn.
    gate.set()

    assert future.get(timeout=PATIENCE).attempts == 2
    assert either.ask(GetTurnCount()) == 3
    assert either.ask(GetTotalUsage()).total_token_count == 45
    last = either.ask(GetLastTurnUsage())
    assert last is not None
    assert last.total_token_count == 15
