"""Subscribers get events, and cannot disturb others."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.hooks import policy

from agy_actors import (
    AgentCrashed,
    AgentEvent,
    AgentReady,
    AgentRestarting,
    AgentStarted,
    AgentStopped,
    Chat,
    ClearHistory,
    DeadLetter,
    GetStatistics,
    HarnessDied,
    HarnessStarted,
    InvalidConfig,
    ModelError,
    RetryPolicy,
    Send,
    Supervisor,
    TurnEnded,
    TurnRetried,
    TurnStarted,
    confirmations,
)
from agy_actors._supervision.event_hub import EventHub
from agy_actors.testing import ScriptedModel, call_tool, http_error, say, silence
from tests.harnesses import PATIENCE, kill_harness, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import Event, SupervisorRef


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


def test_the_events_of_an_agent_come_in_order(model: ScriptedModel) -> None:
    events: list[Event] = []
    with Supervisor.start() as supervisor:
        supervisor.subscribe(events.append)
        agent = supervisor.create_agent(model.openai_config(), "poet")
        agent.ask(Chat("hi"), timeout=PATIENCE)
        model.then(silence())
        turn = agent.ask(Chat("again"), block=False)
        model.wait_for_requests(2)
        kill_harness(agent)
        turn.get(timeout=PATIENCE)

    assert kinds(events) == [
        *[AgentStarted, HarnessStarted, AgentReady],
        *[TurnStarted, TurnEnded],
        TurnStarted,
        *[kind for kind in kinds(events) if kind in (HarnessDied, AgentCrashed, TurnRetried)],
        *[AgentRestarting, AgentStarted, HarnessStarted, AgentReady],
        *[TurnStarted, TurnEnded],
        AgentStopped,
    ]
    assert {AgentCrashed, TurnRetried} <= set(kinds(events))
    assert all(isinstance(event, AgentEvent) and event.agent == "poet" for event in events)
    assert [(e.turn, e.attempt) for e in events if isinstance(e, TurnStarted)] == [
        (1, 1),
        (2, 1),
        (2, 2),
    ]


def test_the_event_of_a_failed_turn_names_its_error(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    events: list[Any] = []
    agent = supervisor.create_agent(model.openai_config())
    supervisor.subscribe(events.append)
    model.then(http_error(400))

    with pytest.raises(ModelError):
        agent.ask(Chat("hi"), timeout=PATIENCE)

    until(lambda: TurnEnded in kinds(events))
    assert [event.error for event in events if isinstance(event, TurnEnded)] == ["ModelError"]


def test_a_supervisor_gets_the_events_of_all_below_and_none_from_above(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    above: list[Event] = []
    below: list[Event] = []
    team = supervisor.create_supervisor("team")
    supervisor.subscribe(above.append)
    team.subscribe(below.append)

    supervisor.create_agent(model.openai_config(), "upper")
    team.create_agent(model.openai_config(), "lower")

    until(lambda: len(above) == 6 and len(below) == 3)
    assert {
        (event.supervisor, event.agent) for event in below if isinstance(event, AgentEvent)
    } == {("team", "lower")}


@pytest.mark.parametrize("mistake", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_a_subscriber_raises(
    supervisor: SupervisorRef, model: ScriptedModel, mistake: type[BaseException]
) -> None:
    events: list[Event] = []

    def fail(_: Event) -> None:
        raise mistake

    supervisor.subscribe(fail)
    supervisor.subscribe(events.append)

    agent = supervisor.create_agent(model.openai_config())

    assert agent.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    until(lambda: TurnEnded in kinds(events))


def test_a_slow_subscriber_delays_no_agent_and_loses_only_its_own_events(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    gate = threading.Event()
    events: list[Event] = []

    def dawdle(_: Event) -> None:
        gate.wait(PATIENCE)

    slow = supervisor.subscribe(dawdle, capacity=2)
    supervisor.subscribe(events.append)

    agent = supervisor.create_agent(model.openai_config())
    agent.ask(Chat("hi"), timeout=PATIENCE)

    until(lambda: len(events) == 5)
    assert slow.dropped == 5 - 1 - 2
    gate.set()


def test_a_cancelled_subscription_gets_no_further_events(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    events: list[Event] = []
    subscription = supervisor.subscribe(events.append)
    agent = supervisor.create_agent(model.openai_config())
    until(lambda: len(events) == 3)

    subscription.cancel()
    agent.ask(Chat("hi"), timeout=PATIENCE)

    assert len(events) == 3


@pytest.mark.parametrize("level", ["same", "above"])
def test_a_cancelled_subscription_is_not_kept_and_no_event_is_made_for_it(
    supervisor: SupervisorRef,
    model: ScriptedModel,
    monkeypatch: pytest.MonkeyPatch,
    level: str,
) -> None:
    events: list[Event] = []
    team = supervisor.create_supervisor("team")
    listened = team if level == "same" else supervisor
    agent = team.create_agent(model.openai_config())
    subscriptions = [listened.subscribe(events.append) for _ in range(3)]
    agent.ask(Chat("hi"), timeout=PATIENCE)
    until(lambda: kinds(events).count(TurnEnded) == 3)
    made: list[Event] = []

    kept = [weakref.ref(subscription) for subscription in subscriptions]
    while subscriptions:
        subscriptions.pop().cancel()
    monkeypatch.setattr(EventHub, "publish", lambda _, event: made.append(event))
    agent.ask(Chat("hi"), timeout=PATIENCE)
    agent.tell(ClearHistory())
    kill_harness(agent)
    agent.ask(Chat("hi"), timeout=PATIENCE)

    assert made == []
    until(lambda: gc.collect() >= 0 and not any(ref() for ref in kept))


def test_after_all_subscriptions_are_cancelled_no_turn_waits_for_a_person(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    def pay() -> str:
        """Pay."""
        return "paid"

    model.then(call_tool("pay", {}), say("refused"))
    handler = confirmations(default=False)
    agent = supervisor.create_agent(
        model.openai_config(tools=[pay], policies=[policy.ask_user("pay", handler=handler)])
    )
    supervisor.subscribe(lambda _: None).cancel()

    assert agent.ask(Chat("pay"), timeout=PATIENCE).text == "refused"


@pytest.mark.parametrize("mistake", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_a_subscriber_that_raises_gets_later_events(
    supervisor: SupervisorRef, model: ScriptedModel, mistake: type[BaseException]
) -> None:
    events: list[Event] = []

    def fail_once(event: Event) -> None:
        events.append(event)
        if len(events) == 1:
            raise mistake

    supervisor.subscribe(fail_once)
    agent = supervisor.create_agent(model.openai_config())
    agent.ask(Chat("hi"), timeout=PATIENCE)

    until(lambda: TurnEnded in kinds(events))


def test_a_message_is_told_to_an_agent_that_ends(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    events: list[Event] = []
    supervisor.subscribe(events.append)
    gate = threading.Event()
    model.when("held", say("never", gate=gate))
    agent = supervisor.create_agent(model.openai_config(), "poet")
    agent.tell(Send("held"))
    model.wait_for_requests(1)
    agent.tell(Send("too late"))

    supervisor.shutdown_agent(agent)

    until(lambda: DeadLetter in kinds(events))
    letters = [event for event in events if isinstance(event, DeadLetter)]
    assert {letter.message for letter in letters} == {"Send"}
    gate.set()


@pytest.mark.parametrize(
    ("subscribe", "match"),
    [
        (lambda supervisor: supervisor.subscribe(5), "a subscriber must be a function"),
        (lambda supervisor: supervisor.subscribe(print, capacity=0), "capacity must be an integer"),
    ],
)
def test_an_invalid_subscription_is_refused(
    supervisor: SupervisorRef, subscribe: Callable[[Any], Any], match: str
) -> None:
    with pytest.raises(InvalidConfig, match=match):
        subscribe(supervisor)


def test_without_a_subscriber_no_event_is_made(
    supervisor: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr("agy_actors._supervision.event_hub.EventHub.publish", made.append)

    agent = supervisor.create_agent(model.openai_config(), retry=RetryPolicy(attempts=1))
    agent.ask(Chat("hi"), timeout=PATIENCE)
    agent.tell(ClearHistory())

    assert agent.ask(GetStatistics()).turns == 1
    assert made == []
