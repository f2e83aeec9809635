"""The event of a turn's end has the turn's tokens and the id of its conversation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from pydantic import BaseModel, field_validator

from agy_actors import (
    Cancel,
    Chat,
    GetConversationId,
    GetLastTurnUsage,
    InvalidOutput,
    RetryPolicy,
    Supervisor,
    TurnEnded,
)
from agy_actors.testing import (
    ScriptedModel,
    SimulatedAgent,
    Simulation,
    Usage,
    call_tool,
    crash,
    http_error,
    reply,
    say,
    silence,
)
from tests.harnesses import PATIENCE, kill_harness, until

if TYPE_CHECKING:
    from agy_actors import Event


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
def test_the_event_of_a_turns_end_has_its_tokens_and_its_conversation(
    model: ScriptedModel, protocol: str
) -> None:
    ended: list[TurnEnded] = []
    model.then(say("one", usage=Usage(prompt=10, completion=5)))
    model.then(say("two", usage=Usage(prompt=20, completion=7)))
    with Supervisor.start() as supervisor:
        supervisor.subscribe(lambda event: _note(event, ended))
        config = model.openai_config() if protocol == "openai" else model.gemini_config()
        agent = supervisor.create_agent(config)
        replies = [agent.ask(Chat(word), timeout=PATIENCE) for word in ("one", "two")]
        conversation = agent.ask(GetConversationId())
        until(lambda: len(ended) == 2)

    assert [event.usage for event in ended] == [answer.usage for answer in replies]
    assert [_total(event) for event in ended] == [15, 27]
    assert [event.conversation_id for event in ended] == [conversation] * 2
    assert [event.error for event in ended] == [None, None]


def test_the_event_of_a_failed_turns_end_has_its_conversation(model: ScriptedModel) -> None:
    ended: list[TurnEnded] = []
    model.then(http_error(400), silence())
    with Supervisor.start() as supervisor:
        supervisor.subscribe(lambda event: _note(event, ended))
        agent = supervisor.create_agent(model.openai_config())
        failed = agent.ask("hello", block=False)
        until(lambda: len(ended) == 1)
        stopped = agent.ask("hello", block=False)
        model.wait_for_requests(2)
        agent.ask(Cancel())
        until(lambda: len(ended) == 2)
        conversation = agent.ask(GetConversationId())
        failed.cancel()
        stopped.cancel()

    assert [event.conversation_id for event in ended] == [conversation] * 2
    assert [event.usage for event in ended] == [None, None]
    assert [event.error for event in ended] == ["ModelError", "TurnCancelled"]


def test_the_event_of_a_turns_end_in_a_pool_has_the_turns_own_conversation(
    model: ScriptedModel,
) -> None:
    ended: list[TurnEnded] = []
    with Supervisor.start() as supervisor:
        supervisor.subscribe(lambda event: _note(event, ended))
        pool = supervisor.create_pool(model.openai_config(), 1)
        replies = list(pool.map(["one", "two", "three"]))
        until(lambda: len(ended) == 3)

    ids = [event.conversation_id for event in ended]
    assert ids == [answer.conversation_id for answer in replies]
    assert len(set(ids)) == 3


def test_the_event_of_a_retried_turns_end_has_the_tokens_of_all_attempts() -> None:
    def scenario(_: Simulation) -> list[Any]:
        ended: list[TurnEnded] = []
        with Supervisor.start() as supervisor:
            supervisor.subscribe(lambda event: _note(event, ended))
            config = SimulatedAgent([crash(after=1.0), reply(after=1.0)])
            agent = supervisor.create_agent(config)
            answer = agent.ask("hello")
            conversation = agent.ask(GetConversationId())
        assert answer.attempts == 2
        return [(event.usage, event.conversation_id == conversation) for event in ended]

    [(usage, own)] = Simulation().run(scenario)

    assert own
    assert usage is not None
    assert usage.total_token_count == 10


def test_the_reply_of_a_retried_turn_has_the_tokens_of_all_its_attempts(
    model: ScriptedModel,
) -> None:
    ended: list[TurnEnded] = []
    for name, used in (("Atlantis", 10), ("Tokyo", 20)):
        finish = call_tool("finish", {"name": name})
        model.then(dataclasses.replace(finish, usage=Usage(prompt=used, completion=5)))
    policy = RetryPolicy(
        attempts=2,
        retry=tenacity.retry_if_exception_type(InvalidOutput),
        wait=tenacity.wait_none(),
        after_tool_calls=True,
    )
    with Supervisor.start() as supervisor:
        supervisor.subscribe(lambda event: _note(event, ended))
        config = model.openai_config(response_schema=City)
        agent = supervisor.create_agent(config, retry=policy)
        answer = agent.ask("the largest city", timeout=PATIENCE)
        last = agent.ask(GetLastTurnUsage())
        until(lambda: len(ended) == 1)

    assert answer.attempts == 2
    assert _total(ended[0]) == 40
    assert answer.usage == last == ended[0].usage


class City(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name == "Atlantis":  # A JSON schema does not express it, so the harness accepts it.
            raise ValueError("there is no such city")
        return name


def test_the_event_of_the_end_of_a_turn_whose_process_died_has_its_conversation(
    model: ScriptedModel,
) -> None:
    ended: list[TurnEnded] = []
    model.then(silence())
    with Supervisor.start() as supervisor:
        supervisor.subscribe(lambda event: _note(event, ended))
        agent = supervisor.create_agent(model.openai_config())
        turn = agent.ask("hello", block=False)
        model.wait_for_requests(1)
        kill_harness(agent)
        answer = turn.get(timeout=PATIENCE)
        until(lambda: len(ended) == 1)

    assert ended[0].conversation_id == answer.conversation_id
    assert ended[0].usage is not None


def _note(event: Event, ended: list[TurnEnded]) -> None:
    if isinstance(event, TurnEnded):
        ended.append(event)


def _total(event: TurnEnded) -> int | None:
    return None if event.usage is None else event.usage.total_token_count
