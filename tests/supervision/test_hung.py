"""Agents whose thread is blocked by a tool, a hook or a handler."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import tenacity

from agy_actors import (
    AgentDeadError,
    AgentGivenUp,
    AgentHung,
    Backoff,
    Chat,
    DeathReason,
    GetHistory,
    GetStatistics,
    RetryPolicy,
    Supervisor,
    TurnEnded,
    TurnInterrupted,
    watch,
)
from agy_actors._actors.actor import AsyncioActor
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE, pid_of, until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any

    from agy_actors import Event

    Tool = Callable[[], Coroutine[Any, Any, str]]

HANG = 0.6
"""Seconds: long for a loop, short for a test."""


class Blocker:
    """A tool that blocks the loop of its agent, a number of times, until it is released."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.calls = 0

    @property
    def tool(self) -> Tool:
        async def block() -> str:
            """Block."""
            self.calls += 1
            self.let_go.wait(60)
            return "let go"

        return block


def ends_of_turns(events: list[Event]) -> list[str | None]:
    return [event.error for event in events if isinstance(event, TurnEnded)]


@pytest.fixture
def blocker() -> Iterator[Blocker]:
    blocker = Blocker()
    yield blocker
    blocker.let_go.set()


@pytest.mark.own_processes
def test_a_tool_blocks_its_agents_thread(model: ScriptedModel, blocker: Blocker) -> None:
    events: list[Event] = []
    model.when("block", call_tool("block"))
    with Supervisor.start(hang_timeout=HANG) as supervisor:
        supervisor.subscribe(events.append)
        agent = supervisor.create_agent(model.openai_config(tools=[blocker.tool]), "poet")
        agent.ask(Chat("before"), timeout=PATIENCE)
        hung = psutil.Process(pid_of(agent))
        turn = agent.ask(Chat("block"), block=False)
        waiting = agent.ask(Chat("after"), block=False)

        with pytest.raises(TurnInterrupted, match="held up the agent's thread") as caught:
            turn.get(timeout=PATIENCE)

        assert [call.name for call in caught.value.tool_calls] == ["block"]
        assert waiting.get(timeout=PATIENCE).text == "echo: after"
        assert blocker.calls == 1
        assert agent.ask(GetStatistics()).restarts == 1
        assert "echo: before" in [step.content for step in agent.ask(GetHistory())]
        assert not hung.is_running()
        blocker.let_go.set()
    told = [event for event in events if isinstance(event, AgentHung)]
    assert [event.agent for event in told] == ["poet"]
    assert told[0].seconds >= HANG
    assert "block (test_hung.py" in told[0].where


@pytest.mark.own_processes
def test_a_turn_that_hangs_its_agent_twice_is_ended_and_counts_once(
    model: ScriptedModel, blocker: Blocker
) -> None:
    events: list[Event] = []
    model.when("block", call_tool("block"))
    stubborn = RetryPolicy(attempts=10, retry=tenacity.retry_always, after_tool_calls=True)
    at_once = Backoff(wait=tenacity.wait_none())
    with Supervisor.start(hang_timeout=HANG, max_restarts=2, backoff=at_once) as supervisor:
        supervisor.subscribe(events.append)
        agent = supervisor.create_agent(
            model.openai_config(tools=[blocker.tool]), "poet", retry=stubborn
        )

        for turn in (1, 2):
            with pytest.raises(TurnInterrupted, match="crashed its agent 2 times") as caught:
                agent.ask(Chat("block"), timeout=PATIENCE)
            assert not caught.value.retryable
            assert blocker.calls == 2 * turn

        assert agent.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
        assert agent.ask(GetStatistics()).restarts == 4
        blocker.let_go.set()  # Four abandoned threads end.
    assert sum(isinstance(event, AgentHung) for event in events) == 4
    assert not any(isinstance(event, AgentGivenUp) for event in events)


def test_the_agent_answers_again_within_its_hang_timeout_and_a_second(
    model: ScriptedModel, blocker: Blocker
) -> None:
    model.when("block", call_tool("block"))
    with Supervisor.start(hang_timeout=1.0) as supervisor:
        agent = supervisor.create_agent(model.openai_config(tools=[blocker.tool]))
        turn = agent.ask(Chat("block"), block=False)
        until(lambda: blocker.calls == 1)
        began = time.monotonic()

        with pytest.raises(TurnInterrupted):
            turn.get(timeout=PATIENCE)
        agent.ask(Chat("hi"), timeout=PATIENCE)

        # The guarantee is the timeout plus a second. The rest is for a busy machine.
        assert time.monotonic() - began < 1.0 + 1.0 + 3.0
        blocker.let_go.set()


def test_a_turn_that_hangs_is_retried_if_the_policy_allows_it(
    model: ScriptedModel, blocker: Blocker
) -> None:
    model.when("block", call_tool("block"), say("the second time"))
    with Supervisor.start(hang_timeout=HANG) as supervisor:
        agent = supervisor.create_agent(
            model.openai_config(tools=[blocker.tool]), retry=RetryPolicy(after_tool_calls=True)
        )

        reply = agent.ask(Chat("block"), timeout=PATIENCE)

        assert (reply.text, reply.attempts) == ("the second time", 2)
        blocker.let_go.set()


def test_an_agent_that_hangs_does_not_affect_others(model: ScriptedModel, blocker: Blocker) -> None:
    model.when("block", call_tool("block"))
    with Supervisor.start(hang_timeout=None) as supervisor:
        agent = supervisor.create_agent(model.openai_config(tools=[blocker.tool]), stop_timeout=0.2)
        other = supervisor.create_agent(model.openai_config())
        turn = agent.ask(Chat("block"), block=False)
        until(lambda: blocker.calls == 1)

        answers = [other.ask(Chat(str(n)), timeout=PATIENCE).text for n in range(5)]

        assert answers == [f"echo: {n}" for n in range(5)]
        assert not turn.done()
        blocker.let_go.set()
        turn.cancel()


def test_an_agent_that_hangs_repeatedly_is_given_up(model: ScriptedModel, blocker: Blocker) -> None:
    model.when("block", call_tool("block"))
    with Supervisor.start(hang_timeout=HANG, max_restarts=1) as supervisor:
        agent = supervisor.create_agent(model.openai_config(tools=[blocker.tool]), "poet")
        death = watch(agent)
        turns = [agent.ask(Chat("block"), block=False) for _ in range(3)]

        assert death.get(timeout=PATIENCE).reason is DeathReason.GIVEN_UP

        for turn in turns[:2]:
            with pytest.raises(TurnInterrupted):
                turn.get(timeout=PATIENCE)
        with pytest.raises(AgentDeadError, match=r"it failed 2 times .* hung: its thread was held"):
            turns[2].get(timeout=PATIENCE)
        blocker.let_go.set()


def test_actions_of_an_abandoned_thread_do_not_affect_the_agent(
    model: ScriptedModel, blocker: Blocker
) -> None:
    model.when("block", call_tool("block"), say("too late"))
    with Supervisor.start(hang_timeout=HANG) as supervisor:
        agent = supervisor.create_agent(model.openai_config(tools=[blocker.tool]))
        with pytest.raises(TurnInterrupted):
            agent.ask(Chat("block"), timeout=PATIENCE)
        agent.ask(Chat("hi"), timeout=PATIENCE)
        before = agent.ask(GetStatistics())

        blocker.let_go.set()
        until(lambda: sum(t.name.startswith("AgentActor-") for t in threading.enumerate()) == 1)

        assert agent.ask(GetStatistics()) == before
        assert agent.ask(Chat("again"), timeout=PATIENCE).text == "echo: again"


def test_the_end_of_a_turn_that_hangs_is_published_once(
    model: ScriptedModel, blocker: Blocker
) -> None:
    events: list[Event] = []
    model.when("block", call_tool("block"), say("too late"))
    with Supervisor.start(hang_timeout=HANG) as supervisor:
        supervisor.subscribe(events.append)
        agent = supervisor.create_agent(model.openai_config(tools=[blocker.tool]))

        agent.tell(Chat("block"))

        until(lambda: ends_of_turns(events) == ["TurnInterrupted"])
        blocker.let_go.set()
        until(lambda: sum(t.name.startswith("AgentActor-") for t in threading.enumerate()) == 1)
        agent.ask(Chat("hi"), timeout=PATIENCE)
    assert ends_of_turns(events) == ["TurnInterrupted", None]


def test_a_turn_continues_once_if_its_thread_runs_again_while_it_is_replaced(
    model: ScriptedModel, blocker: Blocker
) -> None:
    events: list[Event] = []
    model.when("block", call_tool("block"), say("done"))
    again = RetryPolicy(attempts=2, retry=tenacity.retry_always, after_tool_calls=True)
    with Supervisor.start(hang_timeout=HANG) as supervisor:
        supervisor.subscribe(events.append)
        agent = supervisor.create_agent(model.openai_config(tools=[blocker.tool]), retry=again)

        turn = agent.ask(Chat("block"), block=False)
        until(lambda: any(isinstance(event, AgentHung) for event in events))
        blocker.let_go.set()

        assert turn.get(timeout=PATIENCE).text == "done"
        until(lambda: sum(t.name.startswith("AgentActor-") for t in threading.enumerate()) == 1)
    assert ends_of_turns(events) == [None]


def test_a_loop_that_sleeps_or_turns_is_well_and_one_that_is_held_up_is_not() -> None:
    gate, held = threading.Event(), threading.Event()

    class Idle(AsyncioActor):
        def on_receive(self, message: object) -> None:
            held.set()
            gate.wait(PATIENCE)

    actor = Idle()
    actor._begin()
    assert [actor._is_responsive() for _ in range(3)] == [True] * 3

    actor.actor_ref.tell("hold")
    assert held.wait(PATIENCE)

    assert [actor._is_responsive() for _ in range(3)] == [True, False, False]
    assert "on_receive (test_hung.py" in actor._where()
    gate.set()
    until(actor._is_responsive)
    actor.actor_ref.stop()
