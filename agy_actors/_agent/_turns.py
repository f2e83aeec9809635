"""Turns, from when one is taken up to its answer.

Guarantees:

*   One turn at a time, first come first served (the kernel's turn lane). One that did not
    end cleanly is halted before the next starts (`_running`).
*   A turn is given to the model again only if nothing that had effects was seen in it.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import copy
import math
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from agy_actors._agent import _messages as messages
from agy_actors._agent._errors import (
    RENEWING,
    ConversationInUse,
    TurnError,
    TurnInterrupted,
)
from agy_actors._agent._running import TurnRunningActor
from agy_actors._agent._session import SessionBroken
from agy_actors._agent._settings import CANCEL_GRACE, chat_timeout, stall_timeout
from agy_actors._agent._turn import Turn
from agy_actors._agent.turn_messages import FollowTurn, StreamChat
from agy_actors._events import TurnEnded, TurnRetried, TurnStarted
from agy_actors._kernel import (
    AgyActorsError,
    Envelope,
    MailboxFull,
    current_caller,
    fail,
)

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine

    from agy_actors._agent._answers import Reporter
    from agy_actors._agent._life import AgentSpec, Life, Trial
    from agy_actors._agent._replies import ChatReply
    from agy_actors._agent._session import Session
    from agy_actors._agent._stream import Tape
    from agy_actors._events import AgentEvent

__all__ = ["FollowTurn", "StreamChat", "TurnTakingActor"]


class TurnTakingActor(TurnRunningActor):
    """Takes turns on the session that its subclass opens and replaces."""

    def __init__(self, spec: AgentSpec, life: Life, reporter: Reporter) -> None:
        super().__init__(spec, life, reporter)
        self._cancelling: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._harness_gone = False
        self._turn_error: Exception | None = None
        self._last_arrival = 0.0
        """When something of a turn came last, on the host's clock."""
        self._last_break = -math.inf
        """When a turn was broken off last, on the host's clock."""

    @abc.abstractmethod
    async def _be_woken(self) -> None:
        """Open the session that an idle agent closed."""

    @abc.abstractmethod
    def _prepare_conversation(self) -> None:
        """Begin to open the next conversation, where each turn has one of its own."""

    @abc.abstractmethod
    def _renew_conversation(self) -> None:
        """Leave a conversation that was used, where each turn has one of its own."""

    @abc.abstractmethod
    def _doze_later(self) -> None:
        """Have the session closed when the agent was idle for long."""

    # For what runs inside a turn, on its loop: tools, hooks and handlers.

    def fail_turn(self, error: Exception) -> None:
        """End the running turn with an error."""
        task = None if self.turn_envelope is None else self._in_flight.get(self.turn_envelope)
        if task is not None and self._turn_error is None:
            self._turn_error = error
            task.cancel()

    def announce(self, kind: type[AgentEvent], **facts: Any) -> bool:
        """Publish an event that wants an answer, and return whether anybody is told."""
        if not self.spec.hub.active:
            return False
        self._publish(kind, **facts)
        return True

    def _variables_of_turn(self) -> list[tuple[contextvars.ContextVar[Any], Any]]:
        """Return the context variables of who asked for the turn that runs."""
        envelope = self.turn_envelope
        if not isinstance(envelope, Envelope) or envelope.context is None:
            return []
        # Who waits for whom is told by the turn itself.
        return [item for item in envelope.context.items() if item[0] is not current_caller]

    # Messages.

    async def _chat(self, chat: messages.Chat) -> ChatReply | None:
        return await self._have_chat(chat, None)

    async def _stream_chat(self, message: StreamChat) -> ChatReply | None:
        return await self._have_chat(message.chat, message.tape)

    async def _have_chat(self, chat: messages.Chat, tape: Tape | None) -> ChatReply | None:
        envelope = self.turn_envelope
        assert envelope is not None
        try:
            return await self._have_turn(chat.prompt, chat.timeout, chat.stall_timeout, tape)
        except AgyActorsError as error:
            if envelope.reply_to is not None:
                raise
            # Told and not asked: nobody waits for it, and the agent is not to die of it.
            self._log.warning("A turn that nobody waits for ended: {}", type(error).__name__)
            return None

    async def _send(self, send: messages.Send) -> None:
        envelope = self.turn_envelope
        assert envelope is not None
        reply_to = envelope.reply_to
        if reply_to is not None and not self.life.knows(envelope):
            reply_to.set(None)  # It has started; its end is nobody's to wait for.
        try:
            await self._have_turn(send.prompt, None, None, None)
        except AgyActorsError as error:
            self._log.warning("A sent turn ended: {}", type(error).__name__)

    async def _follow(self, _: FollowTurn) -> None:
        try:
            await self._have_turn(None, None, None, None)
        except AgyActorsError as error:
            self._log.warning("A turn of a trigger ended: {}", type(error).__name__)

    def _see_steps(self) -> None:
        """Follow what the harness does unasked, so that it is seen, counted and bounded."""
        session = self._session
        self._last_arrival = self._host.monotonic()
        if self.turn_envelope is not None or session is None or not session.busy:
            return
        if self._broken or self._closing or self._ended or self.actor_inbox.turns_waiting:
            return  # A turn that waits reads it before its own.
        with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
            self.actor_ref.tell(FollowTurn())

    def _cancel(self, _: messages.Cancel) -> bool:
        trial = self.life.trial
        if self._session is None or self._broken:
            # A turn that a crash broke waits for its next attempt: it will not have it.
            if trial is None or trial.answered:
                return False
            trial.cancelled = True
            if self._waiting is not None:
                self._waiting.cancel()
            return True
        if self.turn_envelope is None:
            return False
        if self._waiting is not None and trial is not None:
            trial.cancelled = True
            self._waiting.cancel()
            return True
        if not self._cancelled:
            self._cancelled = True
            self._abandon_adopted()
            self._cancelling = self._loop.create_task(self._cancel_turn(self._session))
        return True

    async def _cancel_turn(self, session: Session) -> None:
        with contextlib.suppress(SessionBroken):  # The turn sees that for itself.
            await session.cancel()
        await asyncio.sleep(CANCEL_GRACE)  # The turn's end ends this task.
        session.kill()

    # A turn.

    async def _have_turn(
        self, prompt: Any, timeout: float | None, stall: float | None, tape: Tape | None
    ) -> ChatReply:
        envelope = self.turn_envelope
        assert envelope is not None
        started = self._host.monotonic()
        trial = self.life.take_up(envelope, timeout or chat_timeout(), started)
        self._wake()
        self._cancelled = False
        self._turn_error = None
        handed_over = False
        failure: BaseException | None = None
        try:
            while True:
                turn = self._current = Turn(self.redact, self._host.monotonic)
                try:
                    await self._wait_to_try(trial, turn)
                    return await self._try(turn, trial, prompt, stall or stall_timeout(), tape)
                except (TurnError, ConversationInUse) as error:
                    if self._forsaken:  # The turn is the successor's, or was answered.
                        handed_over = True
                        await self._loop.create_future()
                    self._note_break(error)
                    delay = self._delay_or_raise(error, turn, trial, tape)
                    self._note_retry(trial, error, delay)
                if self._broken:
                    # Stay unanswered: the end of this incarnation hands the message over.
                    handed_over = True
                    await self._loop.create_future()
                self._renew_conversation()
        except asyncio.CancelledError as error:
            failure = error
            if self._closing:
                raise self.dead_error() from None
            if self._turn_error is not None:
                failure = self._turn_error
                raise self._turn_error from None
            raise
        except BaseException as error:
            failure = error
            raise
        finally:
            handed_over = handed_over and self._ended
            self._note_break(failure)
            if not handed_over:
                self._note_end(started, failure)
            self._end_turn(handed_over=handed_over)

    async def _wait_to_try(self, trial: Trial, turn: Turn) -> None:
        """Wait until the turn may be given to the model."""
        if trial.cancelled:
            raise self._cancelled_error(turn)
        wait = trial.not_before - self._host.monotonic()
        if wait > 0:
            await self._interruptibly(asyncio.sleep(wait), trial, turn)
        if self._session is None:
            try:
                await self._be_woken()
            except ConversationInUse:
                trial.refusals += 1
                if trial.cancelled:
                    raise self._cancelled_error(turn) from None
                raise
        spec = self.spec
        asked = not isinstance(trial.envelope.message, FollowTurn)
        if asked and spec.pace.restricts(spec.pace_key):
            first = trial.attempt == 0
            patience = trial.seconds if first else trial.deadline - self._host.monotonic()
            start = spec.pace.wait_for_start(spec.pace_key, patience)
            await self._interruptibly(start, trial, turn)
            if first:  # Its time begins with its start.
                trial.deadline = self._host.monotonic() + trial.seconds

    async def _interruptibly(
        self, wait: Coroutine[Any, Any, None], trial: Trial, turn: Turn
    ) -> None:
        """Wait for what `Cancel` interrupts."""
        waiting = self._waiting = self._loop.create_task(wait)
        try:
            await waiting
        except asyncio.CancelledError:
            if trial.cancelled:
                raise self._cancelled_error(turn) from None
            raise
        finally:
            self._waiting = None

    async def _try(
        self, turn: Turn, trial: Trial, prompt: Any, stall: float, tape: Tape | None
    ) -> ChatReply:
        trial.attempt += 1
        self._log.bind(turn=self.life.turns).debug("Turn starts, attempt {}", trial.attempt)
        if self.spec.hub.active:
            self._publish(TurnStarted, turn=self.life.turns, attempt=trial.attempt)
        self._prepare_conversation()
        return await self._run_turn(turn, trial, prompt, stall, tape)

    def _delay_or_raise(
        self, error: TurnError | ConversationInUse, turn: Turn, trial: Trial, tape: Tape | None
    ) -> float:
        """Return the seconds after which the turn is to be tried again.

        Raises:
            TurnError: it is not: this is what it ends with.
            ConversationInUse: likewise.
        """
        last = trial.crashes.final_error(error, str(self))
        if last is not error:
            raise last from error
        delay = self._delay_of_retry(error, turn, trial, tape)
        if delay is None:
            raise error
        return delay

    def _delay_of_retry(
        self, error: TurnError | ConversationInUse, turn: Turn, trial: Trial, tape: Tape | None
    ) -> float | None:
        """Return the seconds after which the turn is to be tried again, if it is."""
        if trial.cancelled or trial.answered:
            return None
        if tape is not None and (turn.text or turn.thoughts):
            return None
        now = self._host.monotonic()
        try:
            delay = self.spec.retry.delay(
                error, trial.attempt + trial.refusals, now - trial.started
            )
        except Exception as mistake:  # noqa: BLE001 (its policies are the user's own functions)
            self._log.error("The retry policy raised {}", type(mistake).__name__)
            return None
        return None if delay is None or now + delay >= trial.deadline else delay

    def _leave_turn(self) -> None:
        """Leave the turn of a loop that hangs to the successor, or answer it where that is unsafe.

        Callable from any thread.
        """
        life, envelope, turn, trial = self.life, self.turn_envelope, self._current, self.life.trial
        self.life = copy.copy(life)  # What comes of this thread yet is no part of the life.
        if envelope is not None and turn is not None and trial is not None:
            error = TurnInterrupted(
                f"a turn of {self} was cut off: a tool, a hook or a handler held up the"
                " agent's thread",
                text=turn.text,
                tool_calls=turn.tool_calls,
            )
            tape = envelope.message.tape if isinstance(envelope.message, StreamChat) else None
            self._count_crash(trial)
            last = trial.crashes.final_error(error, str(self))
            delay = self._delay_of_retry(error, turn, trial, tape) if last is error else None
            if delay is None:
                life.trial = None
                self._in_flight.pop(envelope, None)
                if self.spec.hub.active:  # Nobody waits for a turn that was told.
                    seconds = self._host.monotonic() - trial.started
                    self._publish_last(
                        TurnEnded, turn=life.turns, seconds=seconds, error=type(last).__name__
                    )
                fail(envelope.reply_to, last)
            else:
                trial.not_before = self._host.monotonic() + delay

    def _note_retry(self, trial: Trial, error: Exception, delay: float) -> None:
        trial.not_before = self._host.monotonic() + delay
        kind = type(error).__name__
        self._log.bind(turn=self.life.turns).debug("Turn ended: {}, to be retried", kind)
        if self.spec.hub.active:
            self._publish(
                TurnRetried,
                turn=self.life.turns,
                attempt=trial.attempt,
                delay=delay,
                error=self.redact(str(error)),
            )

    def _note_break(self, failure: BaseException | None) -> None:
        """Note that a turn was broken off, if the harness may not have had its last word."""
        if failure is not None and not isinstance(failure, RENEWING):
            self._last_break = self._host.monotonic()

    def _note_end(self, started: float, failure: BaseException | None) -> None:
        kind = None if failure is None else type(failure).__name__
        self._log.bind(turn=self.life.turns).debug("Turn ended: {}", kind or "well")
        if self.spec.hub.active:
            seconds = self._host.monotonic() - started
            self._publish(TurnEnded, turn=self.life.turns, seconds=seconds, error=kind)

    def _end_turn(self, *, handed_over: bool) -> None:
        self._current = None
        self.turn_envelope = None
        self._abandon_adopted()
        if self._cancelling is not None:
            self._cancelling.cancel()
            self._cancelling = None
        if not handed_over:
            self.life.trial = None
        if self._harness_gone:  # Its death came too late for the turn to see it.
            self._crash(TurnInterrupted(f"the process of {self} died"))
        self._renew_conversation()
        self._doze_later()
        self._see_steps()
        self._loop.call_soon(self._tell_idle)

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        **TurnRunningActor.HANDLERS,
        messages.Chat: _chat,
        StreamChat: _stream_chat,
        FollowTurn: _follow,
        messages.Send: _send,
        messages.Cancel: _cancel,
    }
    """What answers each type of message."""
