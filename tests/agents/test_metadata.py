"""The metadata of a message comes back with its reply, and with no other reply."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import Chat, ModelError, RetryPolicy, Routing, Supervisor
from agy_actors.testing import SimulatedAgent, Simulation, crash, http_error, reply, silence
from tests.harnesses import PATIENCE, kill_harness
from tests.slow import quick

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel


ROW = {"id": 7, "tags": ["rain"]}  # Its type is not hashable.


def test_metadata_comes_back_with_the_reply_and_on_the_future(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.openai_config())
    chat = Chat("hello", metadata=ROW)

    future = agent.ask(chat, block=False)

    assert future.metadata is ROW
    assert future.message is chat
    assert future.get(timeout=PATIENCE).metadata is ROW
    assert agent.ask("hello", timeout=PATIENCE).metadata is None
    assert agent.ask("hello", block=False).metadata is None
    assert "id" not in str(model.requests)


def test_metadata_comes_back_from_a_stream(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    stream = supervisor.create_agent(model.openai_config()).stream(Chat("hello", metadata=ROW))

    assert stream.future.metadata is ROW
    assert stream.result(PATIENCE).metadata is ROW


@pytest.mark.parametrize(
    "routing", quick([Routing.SHORTEST_QUEUE, Routing.ROUND_ROBIN, Routing.RANDOM], 0)
)
def test_results_of_a_pool_are_matched_with_their_inputs(
    model: ScriptedModel, supervisor: SupervisorRef, routing: Routing
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 3, routing=routing)
    chats = [Chat(f"prompt {number}", metadata=number) for number in range(12)]

    done = {future.metadata: future for future in pool.as_completed(chats)}

    assert sorted(done) == list(range(12))
    for number, future in done.items():
        assert future.message is chats[number]
        assert future.get().metadata == number
        assert future.get().text == f"echo: prompt {number}"
    assert [answer.metadata for answer in pool.map(chats)] == list(range(12))


def test_each_reply_to_a_broadcast_has_the_metadata(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2, routing=Routing.BROADCAST)

    replies = pool.broadcast(Chat("hello", metadata=ROW), timeout=PATIENCE)

    assert [answer.metadata for answer in replies] == [ROW, ROW]


def test_the_future_of_a_failed_turn_has_the_metadata(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    model.then(http_error(400))
    agent = supervisor.create_agent(model.openai_config())

    future = agent.ask(Chat("hello", metadata=ROW), block=False)

    with pytest.raises(ModelError):
        future.get(timeout=PATIENCE)
    assert future.metadata is ROW


def test_metadata_survives_the_death_of_the_agents_process(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    model.then(silence())
    agent = supervisor.create_agent(model.openai_config())
    future = agent.ask(Chat("hello", metadata=ROW), block=False)
    model.wait_for_requests(1)

    kill_harness(agent)

    answer = future.get(timeout=PATIENCE)
    assert (answer.attempts, answer.metadata) == (2, ROW)


def test_metadata_stays_with_a_turn_that_moves_to_another_member() -> None:
    def scenario(_: Simulation) -> list[Any]:
        with Supervisor.start() as supervisor:
            config = SimulatedAgent([crash(after=1.0), *[reply(after=1.0)] * 8])
            pool = supervisor.create_pool(config, 2, max_restarts=0, retry=RetryPolicy(attempts=5))
            chats = [Chat(f"prompt {number}", metadata=number) for number in range(6)]
            return [answer.metadata for answer in pool.map(chats)]

    assert Simulation().run(scenario) == list(range(6))


def test_chats_with_metadata_can_be_hashed_pickled_and_compared() -> None:
    chat = Chat("hello", metadata=ROW)

    assert hash(chat) == hash(Chat("hello"))
    assert pickle.loads(pickle.dumps(chat)) == chat
    assert chat != Chat("hello")
