"""How a pool's turn gets to a member, and the reply to the asker.

Guarantees:

*   A reply goes from the member's thread to the asker, and only then to the pool's thread, where
    it becomes an event. What a member answers is therefore answered also if the pool has ended
    meanwhile; a future takes one answer.
*   A turn that was told and is lost, because its member or its pool ends, is a dead letter.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pykka

from agy_actors._agent import AgentDeadError, Send, StreamChat, TurnCrashes, TurnError, WaitForIdle
from agy_actors._kernel import Envelope, MailboxFull, ReplyFuture, fail, resolve
from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision.pool_state import Turn

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from agy_actors._agent import AgentRef
    from agy_actors._kernel import Frame
    from agy_actors._supervision._pool_messages import Job

__all__ = ["Delivery"]


@dataclasses.dataclass(eq=False, slots=True)
class _Work:
    """What a turn is, and who waits for it."""

    message: Any
    reply_to: pykka.Future[Any] | None
    frames: tuple[Frame, ...]
    context: contextvars.Context | None
    crashes: dict[Turn, TurnCrashes] = dataclasses.field(default_factory=dict)
    """What the members that had it one after another count together, for each part."""

    @property
    def abandoned(self) -> bool:
        """Whether the asker does not wait any more."""
        return isinstance(self.reply_to, ReplyFuture) and self.reply_to.cancelled()


class Delivery:
    """Carries turns and replies between askers, a pool and its members.

    Args:
        decide: has an event happen to the pool; for the pool's thread.
        report: has a function called on the pool's thread; for any thread.
        reject: answers messages with the pool's end, or notes them as dead letters.
        lose: notes a message that was told, and the error that kept it from being carried out.
        now: reads the clock of the pool's loop.
    """

    def __init__(
        self,
        *,
        decide: Callable[[steps.Event], None],
        report: Callable[[Callable[[], object]], None],
        reject: Callable[[list[Any]], None],
        lose: Callable[[Any, BaseException], None],
        now: Callable[[], float],
    ) -> None:
        self._decide = decide
        self._report = report
        self._reject = reject
        self._lose = lose
        self._now = now
        self._running: dict[Turn, ReplyFuture[Any]] = {}
        """What the members reply to."""

    def accept(self, job: Job, envelope: Envelope, waiting: frozenset[str]) -> None:
        """Take a turn up.

        Args:
            job: the turn.
            envelope: who waits for it.
            waiting: the members that wait for it.
        """
        reply_to = envelope.reply_to
        work = _Work(job.message, reply_to, envelope.frames, envelope.context)
        turn = Turn(work, job.key, waiting)
        if isinstance(reply_to, ReplyFuture):
            reply_to.add_done_callback(lambda _: self._when_abandoned(turn))
        self._decide(steps.Accepted(turn))

    def _when_abandoned(self, turn: Turn) -> None:
        if turn.work.abandoned:
            self._report(lambda: self._decide(steps.Cancelled(turn)))

    # Actions.

    def carry_out(self, action: steps.Action, member: Callable[[str], AgentRef | None]) -> None:
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

    def _fail(self, work: _Work, error: BaseException) -> None:
        """Answer a turn with an error, on any thread."""
        if work.reply_to is not None:
            fail(work.reply_to, error)
        elif not isinstance(error, TurnError):  # A turn that ended in an error was carried out.
            self._lose(work.message, error)

    def _hand_over(self, turn: Turn, name: str, member: AgentRef | None) -> None:
        work: _Work = turn.work
        if member is None:
            self._decide(steps.Refused(turn, name))
            return
        if work.abandoned and not turn.is_part:
            self._decide(steps.Finished(turn, name, now=self._now()))
            return
        reply: ReplyFuture[Any] = ReplyFuture()
        crashes = work.crashes.setdefault(turn, TurnCrashes())
        envelope = Envelope(work.message, reply, work.frames, work.context, crashes)
        try:
            member.actor_inbox.put(envelope)
        except pykka.ActorDeadError:
            self._decide(steps.Refused(turn, name))
            return
        except MailboxFull as error:  # Others ask the member, too.
            reply.fail(error)
        self._running[turn] = reply
        reply.add_done_callback(lambda _: self._replied(turn, name, member, reply))
        if isinstance(work.reply_to, ReplyFuture) and not turn.is_part:
            work.reply_to.add_done_callback(lambda _: work.abandoned and reply.cancel())

    # Replies.

    def _replied(self, turn: Turn, name: str, member: AgentRef, reply: ReplyFuture[Any]) -> None:
        """Take a member's reply, on its thread."""
        work: _Work = turn.work
        error: BaseException | None = None
        value: Any = None
        try:
            value = reply.get(timeout=0)
        except BaseException as raised:  # noqa: BLE001 (it belongs to the asker)
            error = raised
        event: steps.Finished | steps.Lost
        if isinstance(error, AgentDeadError):
            # A thread that hung is replaced behind the same mailbox; else that is closed.
            closed = member.actor_inbox.closed
            event = steps.Lost(turn, name, error, for_good=closed, movable=_is_movable(work))
            self._report(lambda: self._settle(event, member, runs_on=False))
            return
        if not turn.is_part and not reply.cancelled():
            if error is None:
                resolve(work.reply_to, value)
            else:
                self._fail(work, error)
        # A turn that was abandoned, or only sent, may run on: the member is not free yet.
        runs_on = reply.cancelled() or (isinstance(work.message, Send) and error is None)
        event = steps.Finished(turn, name, value, error, runs_on)
        self._report(lambda: self._settle(event, member, runs_on=runs_on))

    def _settle(
        self, event: steps.Finished | steps.Lost, member: AgentRef, *, runs_on: bool
    ) -> None:
        """Tell the pool of a reply, on its thread."""
        self._running.pop(event.turn, None)
        name = event.member
        if isinstance(event, steps.Finished):
            event = dataclasses.replace(event, now=self._now())
        self._decide(event)
        if runs_on:
            # Answered, if with an error, also by a member that has ended.
            idle = member.ask(WaitForIdle(), block=False)
            idle.add_done_callback(
                lambda _: self._report(lambda: self._decide(steps.Freed(name, self._now())))
            )


def _is_movable(work: _Work) -> bool:
    """Return whether another member may take a turn: not if its reader has read of it."""
    return not (isinstance(work.message, StreamChat) and work.message.tape.begun)
