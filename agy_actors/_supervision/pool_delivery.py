"""Delivers a pool's turns to members, and the replies to the askers.

Guarantees:

*   A reply goes from the member's thread to the asker, and only then to the pool's thread, where
    it becomes an event. So the asker gets a member's reply even if the pool has ended meanwhile. A
    future accepts one reply.
*   A turn that was told and is lost, because its member or its pool ends, is a dead letter.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pykka

from agy_actors._actors.deadlock import CAN_COME, AllOf, check_again, need_of
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.errors import MailboxFull
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import fail, resolve, set_about, set_needs
from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision.pool_state import Turn

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.call_chain import Frame
    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.message import Message
    from agy_actors._supervision.pool_messages import Job
    from agy_actors._supervision.work_kind import WorkKind

__all__ = ["Delivery"]


@dataclasses.dataclass(eq=False, slots=True)
class _Work:
    """A turn's message, and its asker's envelope."""

    message: Any
    reply_to: pykka.Future[Any] | None
    frames: tuple[Frame, ...]
    context: contextvars.Context | None
    sent_at: float | None
    histories: dict[Turn, Any] = dataclasses.field(default_factory=dict)
    """The notes of each part, which the members that had it added to."""

    @property
    def abandoned(self) -> bool:
        """Whether the asker has stopped waiting."""
        return isinstance(self.reply_to, ReplyFuture) and self.reply_to.cancelled()


class Delivery:
    """Passes turns and replies between askers, a pool and its members.

    Args:
        kind: the properties of the members and their work.
        decide: passes an event to the pool; for the pool's thread.
        report: schedules a function on the pool's thread; for any thread.
        reject: answers messages with the error of the pool's end, or notes dead letters.
        lose: notes a dead letter: a told message, and the error that prevented its handling.
        now: reads the clock of the pool's loop.
        find_need: returns the need of a turn that waits for a member, on any thread.
    """

    def __init__(
        self,
        kind: WorkKind,
        *,
        decide: Callable[[steps.Event], None],
        report: Callable[[Callable[[], object]], None],
        reject: Callable[[list[Any]], None],
        lose: Callable[[Any, BaseException], None],
        now: Callable[[], float],
        find_need: Callable[[Turn], Need] = lambda _: CAN_COME,
    ) -> None:
        self._kind = kind
        self._decide = decide
        self._report = report
        self._reject = reject
        self._lose = lose
        self._now = now
        self._find_need = find_need
        self._running: dict[Turn, ReplyFuture[Any]] = {}
        """The turns that members are working on."""

    def accept(self, job: Job, envelope: Envelope, waiting: frozenset[str]) -> None:
        """Take a turn up.

        Args:
            job: the turn.
            envelope: the asker's envelope.
            waiting: the members that wait for it.
        """
        reply_to = envelope.reply_to
        work = _Work(job.message, reply_to, envelope.frames, envelope.context, envelope.sent_at)
        turn = Turn(work, job.key, waiting)
        if isinstance(reply_to, ReplyFuture):
            reply_to.add_done_callback(lambda _: self._when_abandoned(turn))
            set_needs(reply_to, lambda: self._need_of(turn))
        self._decide(steps.Accepted(turn))
        if isinstance(reply_to, ReplyFuture):
            check_again(reply_to)

    def _when_abandoned(self, turn: Turn) -> None:
        if turn.work.abandoned:
            self._report(lambda: self._decide(steps.Cancelled(turn)))

    def _need_of(self, turn: Turn) -> Need:
        """Return the need of a turn: see `need_of_turn`. Callable from any thread."""
        reply = self._running.get(turn)
        if reply is not None:
            return need_of(reply)
        if turn.broadcast is not None and not turn.is_part:
            return AllOf(tuple(self._need_of(part) for part in list(turn.broadcast.parts)))
        return self._find_need(turn)

    # Actions.

    def carry_out(
        self, action: steps.Action, member: Callable[[str], AsyncioActorRef | None]
    ) -> None:
        """Carry out an action that concerns a turn."""
        match action:
            case steps.HandOver(turn, name):
                self._hand_over(turn, name, member(name))
            case steps.Answer(turn, replies):
                resolve(turn.work.reply_to, replies)
            case steps.FailTurn(turn, error):
                self._fail(turn.work, error)
            case steps.RejectTurn(turn):
                self.reject(turn)
            case steps.CancelTurn(turn):
                reply = self._running.get(turn)
                if reply is not None:
                    reply.cancel()
            case _:
                raise TypeError(f"{type(action).__name__} concerns no turn")

    def reject(self, turn: Turn) -> None:
        """Answer a turn with the pool's end."""
        self._reject([Envelope(turn.work.message, turn.work.reply_to)])

    def refuse(self, turn: Turn, error: BaseException) -> None:
        """Answer a turn that no member gets with an error."""
        work: _Work = turn.work
        if work.reply_to is None:
            self._lose(work.message, error)
        else:
            fail(work.reply_to, error)

    def _fail(self, work: _Work, error: BaseException) -> None:
        """Answer a turn with an error, on any thread."""
        if work.reply_to is not None:
            fail(work.reply_to, error)
        elif not self._kind.was_handled(error):
            self._lose(work.message, error)

    def _hand_over(self, turn: Turn, name: str, member: AsyncioActorRef | None) -> None:
        work: _Work = turn.work
        if member is None:
            self._decide(steps.Refused(turn, name))
            return
        if work.abandoned and not turn.is_part:
            self._decide(steps.Finished(turn, name, now=self._now()))
            return
        reply: ReplyFuture[Any] = ReplyFuture()
        set_about(reply, work.message, member)
        if turn not in work.histories:
            work.histories[turn] = self._kind.new_history()
        history = work.histories[turn]
        envelope = Envelope(work.message, reply, work.frames, work.context, history)
        envelope.sent_at = work.sent_at
        try:
            member.actor_inbox.put(envelope)
        except pykka.ActorDeadError:
            reply.cancel()  # No asker waits for it.
            self._decide(steps.Refused(turn, name))
            return
        except MailboxFull as error:  # Other askers may ask the member directly, too.
            fail(reply, error)
        self._running[turn] = reply
        reply.add_done_callback(lambda _: self._replied(turn, name, member, reply))
        if isinstance(work.reply_to, ReplyFuture):
            if not turn.is_part:
                work.reply_to.add_done_callback(lambda _: work.abandoned and reply.cancel())
            check_again(work.reply_to)

    # Replies.

    def _replied(
        self, turn: Turn, name: str, member: AsyncioActorRef, reply: ReplyFuture[Any]
    ) -> None:
        """Take a member's reply, on its thread."""
        work: _Work = turn.work
        error: BaseException | None = None
        value: Any = None
        try:
            value = reply.get(timeout=0)
        except BaseException as raised:  # noqa: BLE001 (it belongs to the asker)
            error = raised
        event: steps.Finished | steps.Lost
        if isinstance(error, self._kind.dead_error):
            # If a thread hung, it is replaced behind the same mailbox; otherwise the mailbox is
            # closed.
            closed = member.actor_inbox.closed
            event = steps.Lost(
                turn, name, error, for_good=closed, movable=self._kind.is_movable(work.message)
            )
            self._report(lambda: self._report_reply(event, member, None))
            return
        if not turn.is_part and not reply.cancelled():
            if error is None:
                resolve(work.reply_to, value)
            else:
                self._fail(work, error)
        # For example, an abandoned turn may still run: the member is not free yet.
        request = self._kind.idle_request(work.message, error, cancelled=reply.cancelled())
        event = steps.Finished(turn, name, value, error, request is not None)
        self._report(lambda: self._report_reply(event, member, request))

    def _report_reply(
        self,
        event: steps.Finished | steps.Lost,
        member: AsyncioActorRef,
        idle_request: Message[Any] | None,
    ) -> None:
        """Report a reply to the pool, on the pool's thread."""
        self._running.pop(event.turn, None)
        name = event.member
        if isinstance(event, steps.Finished):
            event = dataclasses.replace(event, now=self._now())
        self._decide(event)
        if idle_request is not None:
            # Answered, if with an error, also by a member that has ended.
            idle = member.ask(idle_request, block=False)
            idle.add_done_callback(
                lambda _: self._report(lambda: self._decide(steps.Freed(name, self._now())))
            )
