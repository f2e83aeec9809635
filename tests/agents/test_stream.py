"""Streamed answers."""

from __future__ import annotations

import asyncio
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
from agy_actors._actors.errors import AskTimeout
from agy_actors._agents.stream_buffer import StreamBuffer
from agy_actors.testing import ScriptedModel, call_tool, malformed, say, silence
from tests.harnesses import PATIENCE, SOON, kill_harness, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef, SupervisorRef
    from tests.agents.agents import Configure

VERBATIM = "  größe 🌧 日本\n\n\ttab \u2028 end  "


@pytest.fixture(params=["openai", "gemini"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Both protocols, also in a quick run: these tests are about turns themselves."""
    return str(request.param)


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


def test_each_reader_gets_all_events_from_the_beginning(
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


def test_thoughts_are_streamed_separately_from_the_text(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.gemini_config())
    model.then(say("forty-two", thought="six times seven"))

    stream = agent.stream("hi")

    assert "".join(stream.thoughts()) == "six times seven"
    assert "".join(stream) == "forty-two"
    assert stream.result().thoughts == "six times seven"
    assert Thought in [type(event) for event in stream.events()]


def test_an_error_is_raised_after_the_events_before_it(
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


def test_a_reader_may_stop_waiting_for_an_event_and_the_turn_continues(
    model: ScriptedModel, agent: AgentRef
) -> None:
    gate = threading.Event()
    model.then(say("one two", gate=gate))
    stream = agent.stream("hi")
    patient = stream.events()
    first = next(patient)
    events = stream.events(timeout=0.05)

    assert next(events) == first
    with pytest.raises(AskTimeout):
        next(events)
    with pytest.raises(AskTimeout):
        stream.result(timeout=0.01)
    gate.set()

    assert isinstance(first, Text)
    assert stream.result(timeout=PATIENCE).text == "one two"


def test_a_turn_that_was_partly_read_is_not_retried(model: ScriptedModel, agent: AgentRef) -> None:
    model.then(silence("half "))
    stream = agent.stream("hi")
    pieces = iter(stream)
    first = next(pieces)

    kill_harness(agent)

    with pytest.raises(TurnInterrupted) as caught:
        next(pieces)
    assert first == caught.value.text == "half "
    assert "".join(agent.stream("a")) == "echo: a"


def test_an_unread_turn_is_retried(model: ScriptedModel, agent: AgentRef) -> None:
    model.then(silence())
    stream = agent.stream("hi")
    model.wait_for_requests(1)

    kill_harness(agent)

    assert "".join(stream) == "echo: hi"
    assert stream.result().attempts == 2


def test_the_stream_of_an_ended_agent_raises_its_error(
    model: ScriptedModel, agent: AgentRef
) -> None:
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


# Several readers, and slow ones.


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch, model: ScriptedModel) -> list[str]:
    """An answer of more events than are kept for a reader that is behind.

    The harness joins the pieces that it has no time to send, so there are many.
    """
    monkeypatch.setattr(StreamBuffer, "AHEAD", 4)
    words = [f"w{number} " for number in range(50)]
    model.then(say("".join(words), chunks=words, delay=0.01))
    return words


def test_a_reader_that_is_behind_gets_all_the_text_in_fewer_pieces(
    agent: AgentRef, words: list[str]
) -> None:
    stream = agent.stream("hi")
    slow = iter(stream)
    first = next(slow)
    until(stream.done)

    rest = list(slow)

    assert "".join([first, *rest]) == "".join(words)
    assert len(rest) <= StreamBuffer.AHEAD


def test_a_fast_reader_gets_every_piece_although_another_is_behind(
    agent: AgentRef, words: list[str]
) -> None:
    stream = agent.stream("hi")
    slow, quick = iter(stream), list(stream)

    assert "".join(quick) == "".join(words)
    assert len(quick) > 2 * StreamBuffer.AHEAD
    assert list(slow) == quick


def test_a_reader_that_comes_late_gets_all_the_text_in_fewer_pieces(
    agent: AgentRef, words: list[str]
) -> None:
    stream = agent.stream("hi")

    pieces = list(stream)
    again = list(stream)

    assert "".join(again) == "".join(pieces) == "".join(words)
    assert len(again) < len(pieces)


@pytest.mark.parametrize("how", ["close", "break", "throw away", "with"])
def test_the_turn_is_cancelled_when_no_reader_is_left(
    model: ScriptedModel, agent: AgentRef, how: str
) -> None:
    model.then(silence("one two three "))
    stream = agent.stream("slow")
    if how == "throw away":
        model.wait_for_requests(1)
        del stream
    elif how == "break":
        for _ in stream:
            break
    elif how == "close":
        with stream.events() as events:
            next(events)
    else:
        with stream:
            next(iter(stream))

    assert model.wait_for_disconnect(SOON).prompt == "slow"
    assert agent.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"


def test_a_stream_that_was_left_in_the_middle_can_be_read_on(
    model: ScriptedModel, agent: AgentRef
) -> None:
    gate = threading.Event()
    model.then(say("one two three", gate=gate))
    stream = agent.stream("hi")

    first = next(iter(stream))
    result = stream.future
    gate.set()

    assert first == "one "
    assert result.get(timeout=PATIENCE).text == "".join(stream) == "one two three"


def test_a_turn_continues_while_it_has_a_reader(model: ScriptedModel, agent: AgentRef) -> None:
    gate = threading.Event()
    model.then(say("one two three", gate=gate))
    stream = agent.stream("hi")
    texts = iter(stream)
    first = next(texts)

    stream.events().close()
    del stream
    gate.set()

    assert first + "".join(texts) == "one two three"


# In an event loop.


def test_async_readers_get_all_events_while_their_loop_keeps_running(
    model: ScriptedModel, agent: AgentRef
) -> None:
    gate = threading.Event()
    model.then(say("one two three", gate=gate))

    async def main() -> None:
        stream = agent.stream("hi")
        pieces: list[str] = []

        async def read() -> None:
            async for text in stream:
                pieces.append(text)  # noqa: PERF401 # each is looked at as it comes

        reading = asyncio.create_task(read())
        await _until_async(lambda: bool(pieces))  # The loop runs while the reader waits.
        gate.set()
        await reading
        reply = await stream

        assert "".join(pieces) == reply.text == "one two three"
        assert "".join([text async for text in stream]) == reply.text

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


async def _until_async(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 # what it waits for is another thread's
        await asyncio.sleep(0.001)


def test_an_async_reader_gets_the_turns_error_after_the_events_before_it(
    model: ScriptedModel, either: AgentRef
) -> None:
    model.then(malformed("half "))

    async def main() -> None:
        pieces = aiter(either.stream("hi"))

        assert await anext(pieces) == "half "
        with pytest.raises(ModelError):
            await anext(pieces)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_leaving_an_async_stream_cancels_the_turn(model: ScriptedModel, agent: AgentRef) -> None:
    model.then(silence("half "))

    async def main() -> None:
        async with agent.stream("slow") as stream:
            async for _ in stream:
                break

    asyncio.run(asyncio.wait_for(main(), PATIENCE))

    assert model.wait_for_disconnect(SOON).prompt == "slow"


def test_an_async_reader_may_stop_waiting_for_an_event(
    model: ScriptedModel, agent: AgentRef
) -> None:
    gate = threading.Event()
    model.then(say("one two", gate=gate))

    async def main() -> None:
        stream = agent.stream("hi")
        patient = aiter(stream)
        first = await anext(patient)
        events = stream.events(timeout=0.05)

        assert isinstance(await anext(events), Text)
        with pytest.raises(AskTimeout):
            await anext(events)
        gate.set()
        assert first + "".join([text async for text in patient]) == "one two"

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_closing_a_cursor_ends_the_loop_of_another_thread(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    gate = threading.Event()
    model.then(say("one two", gate=gate))
    agent = supervisor.create_agent(model.openai_config())
    stream = agent.stream("hi")
    cursor, other = iter(stream), iter(stream)
    pieces: list[str] = []
    reader = threading.Thread(target=lambda: pieces.extend(cursor))
    reader.start()
    assert next(other) == "one "
    until(lambda: bool(stream._buffer._changed._gates))  # It waits for the next piece.

    cursor.close()

    reader.join(PATIENCE)
    assert not reader.is_alive()
    assert pieces == ["one "]
    gate.set()
    assert "".join(other) == "two"
