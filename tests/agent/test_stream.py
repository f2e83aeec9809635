"""Answers as they come."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from google.antigravity.types import Text, Thought, ToolCall

from agy_actors import (
    AgentDeadError,
    Cancel,
    Chat,
    Disconnect,
    ModelError,
    TurnCancelled,
    TurnInterrupted,
    TurnStalled,
)
from agy_actors._kernel import AskTimeout
from agy_actors.testing import ScriptedModel, call_tool, malformed, say, silence
from tests.harnesses import PATIENCE, SOON, kill_harness

if TYPE_CHECKING:
    from agy_actors import AgentRef, SupervisorRef
    from tests.agent.agents import Configure

VERBATIM = "  größe 🌧 日本\n\n\ttab \u2028 end  "


@pytest.mark.parametrize("chunks", [None, 1, 3])
def test_the_pieces_put_together_are_the_text(
    model: ScriptedModel, either: AgentRef, chunks: int | None
) -> None:
    model.then(say(VERBATIM, chunks=chunks))

    stream = either.stream(Chat("hi"))

    assert "".join(stream) == VERBATIM
    assert stream.result().text == VERBATIM
    assert stream.done()


def test_a_piece_comes_before_the_turn_ends(model: ScriptedModel, either: AgentRef) -> None:
    gate = threading.Event()
    model.then(say("one two", gate=gate))
    stream = either.stream("hi")

    pieces = iter(stream)
    first = next(pieces)
    done_before = stream.done()
    gate.set()

    assert (first, done_before) == ("one ", False)
    assert "".join(pieces) == "two"


def test_each_reader_gets_all_from_the_beginning(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    def look() -> str:
        """Look."""
        return "seen"

    agent = supervisor.create_agent(configure(tools=[look]))
    model.then(call_tool("look", text="I look. "), say("I saw."))

    with agent.stream("hi") as stream:
        reply = stream.result(timeout=PATIENCE)

        assert "".join(stream) == reply.text == "I look. I saw."
        assert [call.name for call in stream.tool_calls()] == ["look"]
        kinds = [type(event) for event in stream.events()]
        assert kinds.index(ToolCall) > kinds.index(Text)
        assert list(stream.thoughts()) == []


def test_thoughts_are_streamed_apart_from_the_text(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.gemini_config())
    model.then(say("forty-two", thought="six times seven"))

    stream = agent.stream("hi")

    assert "".join(stream.thoughts()) == "six times seven"
    assert "".join(stream) == "forty-two"
    assert stream.result().thoughts == "six times seven"
    assert Thought in [type(event) for event in stream.events()]


def test_an_error_is_raised_after_what_was_streamed_before_it(
    model: ScriptedModel, either: AgentRef
) -> None:
    model.then(malformed("half "))
    stream = either.stream("hi")
    pieces = iter(stream)

    assert next(pieces) == "half "
    with pytest.raises(ModelError) as caught:
        next(pieces)
    with pytest.raises(ModelError):
        stream.result()
    with pytest.raises(ModelError):
        list(stream.tool_calls())
    assert caught.value.text == "half "
    assert "".join(either.stream("a")) == "echo: a"


def test_a_stall_is_raised_to_the_reader(model: ScriptedModel, either: AgentRef) -> None:
    model.then(silence("half "))

    with pytest.raises(TurnStalled):
        "".join(either.stream(Chat("hi", stall_timeout=0.5)))


def test_leaving_early_cancels_the_turn_at_the_model(
    model: ScriptedModel, either: AgentRef
) -> None:
    model.then(silence("half "))

    with either.stream("slow") as stream:
        for _ in stream:
            break

    assert model.wait_for_disconnect(SOON).prompt == "slow"
    assert either.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"


def test_leaving_after_the_end_changes_nothing(either: AgentRef) -> None:
    with either.stream("hi") as stream:
        text = "".join(stream)

    assert stream.result().text == text == "echo: hi"
    assert stream.cancel() is False


def test_a_reader_may_stop_waiting_for_an_event_and_the_turn_goes_on(
    model: ScriptedModel, agent: AgentRef
) -> None:
    gate = threading.Event()
    model.then(say("one two", gate=gate))
    stream = agent.stream("hi")
    first = next(stream.events())
    events = stream.events(timeout=0.05)

    assert next(events) == first
    with pytest.raises(AskTimeout):
        next(events)
    with pytest.raises(AskTimeout):
        stream.result(timeout=0.01)
    gate.set()

    assert isinstance(first, Text)
    assert stream.result(timeout=PATIENCE).text == "one two"


def test_a_turn_that_was_read_from_is_not_asked_again(
    model: ScriptedModel, agent: AgentRef
) -> None:
    model.then(silence("half "))
    stream = agent.stream("hi")
    pieces = iter(stream)
    first = next(pieces)

    kill_harness(agent)

    with pytest.raises(TurnInterrupted) as caught:
        next(pieces)
    assert first == caught.value.text == "half "
    assert "".join(agent.stream("a")) == "echo: a"


def test_a_turn_that_nothing_was_read_of_is_asked_again(
    model: ScriptedModel, agent: AgentRef
) -> None:
    model.then(silence())
    stream = agent.stream("hi")
    model.wait_for_requests(1)

    kill_harness(agent)

    assert "".join(stream) == "echo: hi"
    assert stream.result().attempts == 2


def test_an_agent_that_has_ended_shows_in_the_stream(model: ScriptedModel, agent: AgentRef) -> None:
    model.then(silence("half "))
    running = agent.stream("hi")
    pieces = iter(running)
    next(pieces)

    agent.ask(Disconnect())

    with pytest.raises(AgentDeadError):
        next(pieces)
    with pytest.raises(AgentDeadError):
        "".join(agent.stream("hi"))


def test_a_cancelled_turn_is_raised_to_the_reader(model: ScriptedModel, agent: AgentRef) -> None:
    model.then(silence("half "))
    pieces = iter(agent.stream("hi"))
    next(pieces)

    agent.ask(Cancel())

    with pytest.raises(TurnCancelled):
        next(pieces)
