"""The members of pools have no memory, unless their conversations are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agy_actors import Chat, GetConversationId, Routing
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

WITHOUT_KEYS = [Routing.SHORTEST_QUEUE, Routing.ROUND_ROBIN, Routing.RANDOM]


def users(model: ScriptedModel) -> list[list[str]]:
    """Return the texts of users in each request to the model."""
    return [[text for role, text in r.messages if role == "user"] for r in model.requests]


@pytest.mark.parametrize("routing", WITHOUT_KEYS)
def test_each_turn_of_a_pool_is_asked_in_a_new_conversation(
    supervisor: SupervisorRef, model: ScriptedModel, routing: Routing
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2, routing=routing)
    prompts = [f"prompt {number}" for number in range(12)]

    replies = list(pool.map(prompts, timeout=PATIENCE))

    assert [reply.text for reply in replies] == [f"echo: {prompt}" for prompt in prompts]
    assert sorted(users(model)) == sorted([prompt] for prompt in prompts)
    assert len({reply.conversation_id for reply in replies}) == len(prompts)


def test_each_turn_of_a_broadcast_is_asked_in_a_new_conversation(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2, routing=Routing.BROADCAST)

    for number in range(3):
        pool.broadcast(Chat(f"prompt {number}"), timeout=PATIENCE)

    assert users(model) == [[f"prompt {number}"] for number in range(3) for _ in range(2)]


def test_a_pool_keeps_the_conversations_of_its_members_on_request(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 1, keep_conversation=True)
    expected = pool.members()[0].ask(GetConversationId())

    replies = list(pool.map(["a", "b", "c"], timeout=PATIENCE))

    assert {reply.conversation_id for reply in replies} == {expected}
    assert users(model)[-1] == ["a", "b", "c"]


def test_a_pool_that_routes_by_key_keeps_the_conversations(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2, routing=Routing.CONSISTENT_HASH)

    for prompt in ("a", "b"):
        pool.ask(Chat(prompt), key="ada", timeout=PATIENCE)

    assert users(model) == [["a"], ["a", "b"]]
