"""When a pool considers a member free again, with members that the test controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pykka
import pytest

from agy_actors import AgentDeadError, Chat, CreatePool, MailboxFull, ModelError, Send
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.future import ReplyFuture
from agy_actors._agents.agent_members import AgentMembers
from agy_actors._supervision import pool_messages
from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision.pool_delivery import Delivery
from agy_actors.testing import SimulatedAgent

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef
    from agy_actors._supervision.pool_state import Turn


class Member:
    """A member that answers as the test says."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.actor_inbox = self
        self.closed = False
        self.refusal = refusal
        self.taken: list[Envelope] = []
        self.refused: list[ReplyFuture[Any]] = []
        self.idle: ReplyFuture[bool] = ReplyFuture()

    def put(self, envelope: Envelope) -> None:
        if self.refusal is not None:
            assert isinstance(envelope.reply_to, ReplyFuture)
            self.refused.append(envelope.reply_to)
            raise self.refusal
        self.taken.append(envelope)

    def ask(self, message: object, *, block: bool) -> ReplyFuture[bool]:
        assert not block
        return self.idle

    @property
    def reply(self) -> ReplyFuture[Any]:
        (envelope,) = self.taken
        reply = envelope.reply_to
        assert isinstance(reply, ReplyFuture)
        return reply


def call(function: Callable[[], object]) -> None:
    function()


class World:
    """A delivery, and its reports to the pool."""

    def __init__(self, message: Any) -> None:
        self.events: list[steps.Event] = []
        self.lost: list[tuple[object, BaseException]] = []
        self.asked: ReplyFuture[Any] = ReplyFuture()
        self.delivery = Delivery(
            AgentMembers(CreatePool(SimulatedAgent())),
            decide=self.events.append,
            report=call,
            reject=lambda _: None,
            lose=lambda message, error: self.lost.append((message, error)),
            now=lambda: 7.0,
        )
        self.delivery.accept(
            pool_messages.Job(message, None), Envelope(message, self.asked), frozenset()
        )
        (accepted,) = self.events
        assert isinstance(accepted, steps.Accepted)
        self.turn: Turn = accepted.turn
        self.events.clear()

    def hand_over(self, member: Member | None) -> None:
        ref = cast("AgentRef | None", member)
        self.delivery.carry_out(steps.HandOver(self.turn, "p-1"), lambda _: ref)


def test_a_member_is_free_as_soon_as_it_has_answered() -> None:
    world, member = World(Chat("hello")), Member()
    world.hand_over(member)

    member.reply.set("done")

    assert world.asked.get(timeout=0) == "done"
    assert world.events == [steps.Finished(world.turn, "p-1", "done", None, runs_on=False, now=7.0)]
    member.idle.cancel()


def test_a_member_that_began_a_sent_message_is_not_free_before_it_is_idle() -> None:
    world, member = World(Send("hello")), Member()
    world.hand_over(member)

    member.reply.set(None)

    (finished,) = world.events
    assert isinstance(finished, steps.Finished)
    assert finished.runs_on
    member.idle.set(True)
    assert world.events[1:] == [steps.Freed("p-1", 7.0)]


def test_a_member_that_refused_a_sent_message_is_free_at_once() -> None:
    world, member = World(Send("hello")), Member()
    world.hand_over(member)

    member.reply._fail(error := ModelError("refused"))

    assert world.events == [steps.Finished(world.turn, "p-1", None, error, False, 7.0)]
    with pytest.raises(ModelError):
        world.asked.get(timeout=0)
    member.idle.cancel()


def test_a_member_whose_turn_was_abandoned_is_not_free_before_it_is_idle() -> None:
    world, member = World(Chat("hello")), Member()
    world.hand_over(member)

    world.asked.cancel()

    assert member.reply.cancelled()
    cancelled, finished = world.events
    assert cancelled == steps.Cancelled(world.turn)
    assert isinstance(finished, steps.Finished)
    assert finished.runs_on
    member.idle._fail(AgentDeadError("it ended"))
    assert world.events[2:] == [steps.Freed("p-1", 7.0)]


def test_a_turn_that_was_abandoned_before_is_sent_to_no_member() -> None:
    world, member = World(Chat("hello")), Member()
    world.asked.cancel()
    world.events.clear()

    world.hand_over(member)

    assert not member.taken
    assert world.events == [steps.Finished(world.turn, "p-1", now=7.0)]
    member.idle.cancel()


@pytest.mark.parametrize("closed", [True, False])
def test_a_member_that_died_with_a_turn_has_lost_it(*, closed: bool) -> None:
    world, member = World(Chat("hello")), Member()
    world.hand_over(member)
    member.closed = closed

    member.reply._fail(error := AgentDeadError("it died"))

    assert world.events == [steps.Lost(world.turn, "p-1", error, for_good=closed, movable=True)]
    assert not world.asked.done()  # The pool decides which member answers it.
    world.asked.cancel()
    member.idle.cancel()


def test_a_member_that_has_ended_refuses_a_turn() -> None:
    world = World(Chat("hello"))
    dead = Member(refusal=pykka.ActorDeadError("it ended"))

    for member in (None, dead):
        world.hand_over(member)

    assert world.events == [steps.Refused(world.turn, "p-1")] * 2
    assert dead.refused[0].done()  # No asker waits for it.
    world.asked.cancel()
    dead.idle.cancel()


def test_a_member_whose_mailbox_is_full_answers_with_mailbox_full() -> None:
    world, member = World(Chat("hello")), Member(refusal=MailboxFull("full"))

    world.hand_over(member)

    with pytest.raises(MailboxFull):
        world.asked.get(timeout=0)
    (finished,) = world.events
    assert isinstance(finished, steps.Finished)
    assert not finished.runs_on
    member.idle.cancel()
