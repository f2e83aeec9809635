"""The error for an unknown message says what to send, and to which actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    Chat,
    CreateAgent,
    CreatePool,
    DeadLetter,
    GetMembers,
    GetStatistics,
    IsIdle,
    Routing,
    Send,
    UnknownMessage,
)
from agy_actors._supervision.supervisor_messages import ReturnChild
from agy_actors.testing import SimulatedAgent
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    from agy_actors import PoolRef, SupervisorRef


@pytest.fixture
def pool(supervisor: SupervisorRef) -> PoolRef:
    return supervisor.create_pool(SimulatedAgent(), 1, "workers")


@pytest.mark.parametrize("message", ["hello", Chat("hello"), Send("hello"), IsIdle()], ids=str)
def test_a_supervisor_names_agents_for_a_message_that_agents_answer(
    supervisor: SupervisorRef, message: Any
) -> None:
    with pytest.raises(UnknownMessage, match="an agent answers it: ask one of its agents or pools"):
        supervisor.ask(message)


@pytest.mark.parametrize("message", [IsIdle(), GetStatistics()], ids=str)
def test_a_pool_names_its_members_for_a_message_that_agents_answer(
    pool: PoolRef, message: Any
) -> None:
    with pytest.raises(UnknownMessage, match="an agent answers it: ask one of its members"):
        pool.ask(message)


def test_a_pool_lists_the_messages_that_it_answers(pool: PoolRef) -> None:
    with pytest.raises(UnknownMessage, match="does not answer int; it answers Chat, Get") as caught:
        pool.ask(5)

    assert "Send," in str(caught.value)
    assert "Job" not in str(caught.value)
    assert "Create" not in str(caught.value)
    assert "ask one of" not in str(caught.value)


def test_a_supervisor_lists_the_messages_that_it_answers(supervisor: SupervisorRef) -> None:
    said = "does not answer int; it answers CreateActor"
    with pytest.raises(UnknownMessage, match=said) as caught:
        supervisor.ask(5)

    assert "GetSupervisorStatistics" in str(caught.value)
    assert ReturnChild.__name__ not in str(caught.value)
    assert "Chat" not in str(caught.value)


@pytest.mark.parametrize("create", [CreateAgent, CreatePool])
def test_a_pool_creates_nothing(pool: PoolRef, create: Any) -> None:
    with pytest.raises(UnknownMessage, match=f"does not answer {create.__name__}"):
        pool.ask(create(SimulatedAgent()))

    assert len(pool.ask(GetMembers())) == 1


def test_text_is_a_prompt_for_every_method_of_a_pool(
    supervisor: SupervisorRef, pool: PoolRef
) -> None:
    by_key = supervisor.create_pool(SimulatedAgent(), 2, routing=Routing.CONSISTENT_HASH)
    everybody = supervisor.create_pool(SimulatedAgent(), 2, routing=Routing.BROADCAST)

    replies = [
        pool.ask("hi"),
        pool.ask("hi", block=False).get(timeout=PATIENCE),
        *pool.map(["hi", Chat("hi")]),
        *(future.get() for future in pool.as_completed(["hi"])),
        pool.stream("hi").result(),
        by_key.ask("hi", key="ada"),
        by_key.stream("hi", key="ada").result(),
        *everybody.broadcast("hi"),
    ]

    assert [reply.text for reply in replies] == ["hi"] * 10
    config = SimulatedAgent()
    supervisor.create_pool(config, 1).tell("told")
    until(lambda: [request.prompt for request in config.requests] == ["told"])


def test_text_that_is_told_to_a_supervisor_is_a_dead_letter(supervisor: SupervisorRef) -> None:
    events: list[object] = []
    supervisor.subscribe(events.append)

    supervisor.tell("hello")

    until(lambda: any(isinstance(event, DeadLetter) for event in events))
    assert supervisor.create_agent(SimulatedAgent()).ask("hello", timeout=PATIENCE).text == "hello"
