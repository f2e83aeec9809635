"""The counts of asks: each ask is counted once, with the outcome that its asker gets."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from agy_actors import (
    AgentDeadError,
    AskTimeout,
    Chat,
    GetHistory,
    MailboxFull,
    ModelError,
    ReplyCancelled,
    Routing,
)
from agy_actors._supervision.counts import What
from agy_actors.testing import http_error, say
from tests.harnesses import SOON, until

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel


def asks(supervisor: SupervisorRef) -> Counter[str]:
    actor = supervisor._actor_weakref()
    assert actor is not None
    counts = actor.lifecycle.hub.counts.read()
    return Counter({c.detail: n for c, n in counts.items() if c.what is What.ASKS})


def test_asks_of_every_kind_are_counted_once(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    config = model.openai_config()
    agent = supervisor.create_agent(config)
    pool = supervisor.create_pool(config, 1)
    sessions = supervisor.create_sessions(config)
    below = supervisor.create_supervisor().create_agent(config)

    agent.ask("one")
    agent.ask("two", block=False).get()
    agent.stream("three").result()
    pool.ask("four")
    list(pool.map(["five", "six"]))
    pool.stream("seven").result()
    sessions["ada"].ask("eight")
    sessions["ada"].stream("nine").result()
    below.ask("ten")

    until(lambda: asks(supervisor) == Counter(answered=10))


def test_a_broadcast_is_one_ask(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2, routing=Routing.BROADCAST)

    pool.broadcast("one")

    assert asks(supervisor) == Counter(answered=1)


def test_prompts_that_wait_for_room_are_asked_once(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 1, capacity=1)

    list(pool.map([f"prompt {number}" for number in range(10)], in_flight=8))

    assert asks(supervisor) == Counter(answered=10)


def test_queries_and_tells_are_no_asks(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    agent = supervisor.create_agent(model.openai_config())
    sessions = supervisor.create_sessions(model.openai_config())
    agent.tell("one")
    agent.ask(GetHistory())
    sessions["ada"].ask(GetHistory())
    supervisor.statistics()

    assert asks(supervisor) == Counter()


def test_an_ask_is_counted_with_the_error_of_its_asker(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    gate = threading.Event()
    model.when("bad", http_error(400))
    model.when("slow", say("slowly", gate=gate, gate_after=0))
    agent = supervisor.create_agent(model.openai_config())
    with pytest.raises(ModelError):
        agent.ask("bad")
    with pytest.raises(AskTimeout):
        agent.ask("slow", timeout=0.05)
    given_up = agent.ask("slow", block=False)
    given_up.cancel()
    with pytest.raises(ReplyCancelled):
        given_up.get()
    gate.set()
    agent.stop()
    with pytest.raises(AgentDeadError):
        agent.ask("too late")

    expected = Counter(ModelError=1, AskTimeout=1, CancelledError=1, AgentDeadError=1)
    until(lambda: asks(supervisor) == expected)


def test_turns_that_never_start_are_counted(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    gate = threading.Event()
    model.when("slow", say("slowly", gate=gate, gate_after=0))
    with supervisor.create_pool(model.openai_config(), 1, capacity=1) as pool:
        running = pool.ask("slow", block=False)
        model.wait_for_requests(1, timeout=SOON)
        waiting = pool.ask(Chat("later"), block=False)
        with pytest.raises(MailboxFull):
            pool.ask(Chat("refused"))
        with pytest.raises(MailboxFull):
            pool.stream("refused")
        pool.stop(now=True)
        gate.set()

    assert running.done()
    assert waiting.done()
    until(lambda: asks(supervisor) == Counter(MailboxFull=2, AgentDeadError=2))
