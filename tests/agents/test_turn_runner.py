"""The turn runner alone, without actors, threads and processes, in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from google.antigravity import types as sdk

from agy_actors import (
    Chat,
    ModelError,
    RetryPolicy,
    Send,
    TurnCancelled,
    TurnDenied,
    TurnInterrupted,
    TurnStalled,
    TurnTimeout,
)
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.future import ReplyFuture
from agy_actors._agents.agent_incarnation import next_state
from agy_actors._agents.agent_statistics import AgentState
from agy_actors._agents.turn_messages import FollowTurn
from agy_actors._sdk.hook_calls import PromptDenied
from agy_actors._sdk.session_errors import SessionBroken
from tests.agents.runner_world import World, run_in_virtual_time, said

if TYPE_CHECKING:
    from agy_actors import ChatReply


def now() -> float:
    return asyncio.get_running_loop().time()


def text_of(reply: ChatReply | None) -> str:
    assert reply is not None
    return reply.text


def test_a_prompt_is_sent_and_its_steps_become_the_reply() -> None:
    async def main() -> None:
        world = World([said("Hello, "), said("Ada.")])
        await world.start()

        reply = await world.begin(Chat("hi", metadata=7))

        assert world.session.prompts == ["hi"]
        assert text_of(reply) == "Hello, Ada."
        assert reply is not None
        assert (reply.attempts, reply.metadata) == (1, 7)
        assert world.agent.state is AgentState.IDLE
        assert world.agent.record.turns == 1
        assert world.agent.record.pending is None

    run_in_virtual_time(main)


def test_the_state_shows_that_a_turn_runs() -> None:
    async def main() -> None:
        world = World([1.0, said("late")])
        await world.start()
        states = [world.agent.state]

        turn = world.begin(Chat("hi"))
        await asyncio.sleep(0.5)
        states.append(world.agent.state)
        await turn

        assert states == [AgentState.IDLE, AgentState.BUSY]
        assert world.agent.state is AgentState.IDLE

    run_in_virtual_time(main)


def test_a_turn_ends_at_its_timeout_and_is_halted() -> None:
    async def main() -> None:
        world = World([said("a"), *[1.0, said("b")] * 100])
        await world.start()

        with pytest.raises(TurnTimeout, match="did not end within 5 seconds"):
            await world.begin(Chat("hi", timeout=5.0))

        assert now() == 5.0
        assert world.session.calls == ["open", "halt"]
        assert not world.crashes

    run_in_virtual_time(main)


def test_silence_is_a_stall_before_the_time_is_over() -> None:
    async def main() -> None:
        world = World([said("a"), 100.0])
        await world.start()

        with pytest.raises(TurnStalled, match="silent for 2 seconds") as caught:
            await world.begin(Chat("hi", timeout=50.0, stall_timeout=2.0))

        assert (now(), caught.value.text) == (2.0, "a")

    run_in_virtual_time(main)


def test_silence_is_not_a_stall_while_a_person_is_asked() -> None:
    async def main() -> None:
        world = World([said("a"), 10.0, said("b")])
        await world.start()
        turn = world.begin(Chat("hi", timeout=50.0, stall_timeout=2.0))
        await asyncio.sleep(1.0)

        running = world.turns.running
        assert running is not None
        with running.person_asked():
            await asyncio.sleep(9.0)

        assert text_of(await turn) == "ab"

    run_in_virtual_time(main)


def test_a_turn_that_cannot_be_halted_crashes_the_incarnation() -> None:
    async def main() -> None:
        world = World([100.0], halts=False)
        await world.start()

        with pytest.raises(TurnStalled):
            await world.begin(Chat("hi", stall_timeout=1.0))

        assert [type(error) for error in world.crashes] == [TurnInterrupted]
        assert world.agent.state is AgentState.CRASHED
        assert world.turns.attempts.crashed_turn is not None
        assert world.turns.attempts.crashed_turn.count == 1

    run_in_virtual_time(main)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (SessionBroken("the process is gone"), TurnInterrupted),
        (SessionBroken("HTTP request failed with status 500: oops"), ModelError),
        (PromptDenied("not now"), TurnDenied),
    ],
)
def test_the_error_of_an_attempt_becomes_the_error_of_its_turn(
    part: Exception, kind: type[Exception]
) -> None:
    async def main() -> None:
        world = World([part])
        await world.start()

        with pytest.raises(kind):
            await world.begin(Chat("hi"))

        assert world.agent.record.pending is None

    run_in_virtual_time(main)


def test_a_retried_turn_waits_for_the_next_incarnation_without_an_answer() -> None:
    async def main() -> None:
        world = World([SessionBroken("gone")], retry=RetryPolicy(attempts=2))
        await world.start()
        envelope = Envelope(Chat("hi"), ReplyFuture())

        turn = world.resume(envelope)
        await asyncio.sleep(1.0)

        assert not turn.done()
        assert world.agent.state is AgentState.CRASHED
        turn.cancel()  # As the incarnation's end does.
        await asyncio.wait([turn])
        successor = World([said("again")], record=world.agent.record)
        await successor.start()
        reply = await successor.resume(envelope)
        assert reply is not None
        assert (reply.text, reply.attempts) == ("again", 2)
        assert successor.agent.record.turns == 1

    run_in_virtual_time(main)


def test_the_next_attempt_waits_for_the_delay_of_the_policy() -> None:
    async def main() -> None:
        policy = RetryPolicy(
            attempts=2, retry=tenacity.retry_if_exception_type(), wait=tenacity.wait_fixed(3)
        )
        world = World([PromptDenied("later")], [said("now")], retry=policy)
        await world.start()

        reply = await world.begin(Chat("hi"))

        assert (text_of(reply), now()) == ("now", 3.0)

    run_in_virtual_time(main)


def test_a_turn_that_called_a_tool_is_not_retried() -> None:
    async def main() -> None:
        call = sdk.ToolCall(name="pay", args={}, id="1")
        world = World(
            [said("", tool_calls=[call]), SessionBroken("gone")], retry=RetryPolicy(attempts=3)
        )
        await world.start()

        with pytest.raises(TurnInterrupted) as caught:
            await world.begin(Chat("hi"))

        assert [call.name for call in caught.value.tool_calls] == ["pay"]

    run_in_virtual_time(main)


def test_a_retry_policy_that_raises_ends_the_turn_with_its_own_error() -> None:
    def retry(_: object) -> bool:
        raise ZeroDivisionError

    async def main() -> None:
        world = World([PromptDenied("no")], retry=RetryPolicy(attempts=2, retry=retry))
        await world.start()

        with pytest.raises(TurnDenied):
            await world.begin(Chat("hi"))

    run_in_virtual_time(main)


def test_a_cancelled_turn_ends_and_the_next_one_is_answered() -> None:
    async def main() -> None:
        world = World([100.0, said("never")], [20.0, said("next")])
        await world.start()
        turn = world.begin(Chat("hi"))
        await asyncio.sleep(1.0)

        assert world.turns.cancel() is True

        with pytest.raises(TurnCancelled):
            await turn
        assert now() == 1.0
        assert world.turns.cancel() is False
        assert text_of(await world.begin(Chat("again"))) == "next"
        assert "kill" not in world.session.calls

    run_in_virtual_time(main)


def test_a_turn_that_is_cancelled_before_its_handler_starts_is_not_sent_to_the_model() -> None:
    async def main() -> None:
        world = World([said("never")])
        await world.start()
        turn = world.begin(Chat("hi"))

        assert world.turns.cancel() is True

        with pytest.raises(TurnCancelled):
            await turn
        assert world.session.prompts == []

    run_in_virtual_time(main)


def test_a_turn_that_waits_for_its_next_attempt_is_cancelled_at_once() -> None:
    async def main() -> None:
        policy = RetryPolicy(
            attempts=2, retry=tenacity.retry_if_exception_type(), wait=tenacity.wait_fixed(60)
        )
        world = World([PromptDenied("later")], retry=policy)
        await world.start()
        turn = world.begin(Chat("hi"))
        await asyncio.sleep(1.0)

        assert world.turns.cancel() is True

        with pytest.raises(TurnCancelled):
            await turn
        assert now() == 1.0

    run_in_virtual_time(main)


def test_the_futures_of_a_turn_are_cancelled_at_its_end() -> None:
    async def main() -> None:
        world = World([1.0, said("done")])
        await world.start()
        turn = world.begin(Chat("hi"))
        await asyncio.sleep(0.5)
        running = world.turns.running
        assert running is not None
        during: ReplyFuture[Any] = ReplyFuture()
        after: ReplyFuture[Any] = ReplyFuture()

        running.adopt(during)
        await turn
        running.adopt(after)

        assert during.cancelled()
        assert after.cancelled()

    run_in_virtual_time(main)


def test_a_tool_can_end_its_turn_with_an_error() -> None:
    async def main() -> None:
        world = World([10.0])
        await world.start()
        turn = world.begin(Chat("hi"))
        await asyncio.sleep(0.5)

        assert world.turns.running is not None
        world.turns.running.fail(TurnInterrupted("by a tool"))

        with pytest.raises(TurnInterrupted, match="by a tool"):
            await turn
        assert world.session.calls == ["open", "halt"]

    run_in_virtual_time(main)


def test_a_sent_turn_is_answered_when_it_starts() -> None:
    async def main() -> None:
        world = World([5.0, said("done")])
        await world.start()
        envelope = Envelope(Send("hi"), ReplyFuture())

        turn = world.resume(envelope)
        await asyncio.sleep(1.0)

        assert envelope.reply_to is not None
        assert envelope.reply_to.get(timeout=0) is None
        assert await turn is None
        assert world.session.prompts == ["hi"]

    run_in_virtual_time(main)


def test_the_error_of_a_turn_without_a_waiting_asker_is_not_raised() -> None:
    async def main() -> None:
        world = World([SessionBroken("gone")])
        await world.start()

        assert await world.resume(Envelope(Chat("hi"))) is None

    run_in_virtual_time(main)


def test_a_turn_that_the_harness_begins_is_read_without_a_prompt() -> None:
    async def main() -> None:
        world = World()
        await world.start()
        world.session._left.append(said("unasked"))

        assert await world.resume(Envelope(FollowTurn())) is not None

        assert world.session.prompts == []
        assert [step.content_delta for step in world.agent.record.steps] == ["unasked"]

    run_in_virtual_time(main)


def test_too_many_empty_steps_end_a_turn() -> None:
    async def main() -> None:
        world = World([said("", index) for index in range(5)], max_empty_steps=3)
        await world.start()

        with pytest.raises(TurnStalled, match="had 3 steps"):
            await world.begin(Chat("hi"))

    run_in_virtual_time(main)


def test_a_turn_of_a_hanging_loop_is_left_to_the_next_incarnation_if_a_retry_is_safe() -> None:
    async def main() -> None:
        world = World([100.0], retry=RetryPolicy(attempts=2))
        await world.start()
        reply_to = ReplyFuture[Any]()
        turn = world.resume(Envelope(Chat("hi"), reply_to))
        await asyncio.sleep(1.0)
        record = world.agent.record
        world.agent.move(AgentState.ENDED)

        assert world.turns.abandon() is None

        assert record.pending is not None
        assert world.agent.record is not record
        turn.cancel()
        await asyncio.wait([turn])
        assert record.pending is not None  # The end of the abandoned thread changes nothing.
        assert not record.pending.answered
        reply_to.cancel()

    run_in_virtual_time(main)


def test_a_turn_of_a_hanging_loop_is_answered_if_a_retry_is_not_safe() -> None:
    async def main() -> None:
        world = World([100.0])
        await world.start()
        reply_to = ReplyFuture[Any]()
        turn = world.resume(Envelope(Chat("hi"), reply_to))
        await asyncio.sleep(1.0)
        record = world.agent.record
        world.agent.move(AgentState.ENDED)

        assert isinstance(world.turns.abandon(), TurnInterrupted)

        assert record.pending is None
        reply_to.cancel()
        turn.cancel()
        await asyncio.wait([turn])

    run_in_virtual_time(main)


def test_an_idle_agent_falls_asleep_and_a_turn_wakes_it() -> None:
    async def main() -> None:
        world = World([said("awake")], idle_timeout=30.0)
        await world.start()
        world.sessions.schedule_idle_close()

        await asyncio.sleep(31.0)

        states = [world.agent.state]
        assert text_of(await world.begin(Chat("hi"))) == "awake"
        states.append(world.agent.state)
        assert world.session.calls == ["open", "close", "open"]
        assert states == [AgentState.ASLEEP, AgentState.IDLE]
        await world.sessions.close()

    run_in_virtual_time(main)


@pytest.mark.parametrize(
    ("state", "wanted", "after"),
    [
        (AgentState.STARTING, AgentState.IDLE, AgentState.IDLE),
        (AgentState.BUSY, AgentState.CRASHED, AgentState.CRASHED),
        (AgentState.CRASHED, AgentState.IDLE, AgentState.CRASHED),
        (AgentState.CRASHED, AgentState.CLOSING, AgentState.CLOSING),
        (AgentState.CLOSING, AgentState.CRASHED, AgentState.CLOSING),
        (AgentState.ENDED, AgentState.CLOSING, AgentState.ENDED),
        (AgentState.CLOSING, AgentState.ENDED, AgentState.ENDED),
    ],
)
def test_an_incarnation_that_ends_does_not_recover(
    state: AgentState, wanted: AgentState, after: AgentState
) -> None:
    assert next_state(state, wanted) is after
