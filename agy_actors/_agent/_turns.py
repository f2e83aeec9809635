"""Turns, from when one is taken up to its answer.

Guarantees:

*   One turn at a time, first come first served (the kernel's turn lane).
*   An error belongs to the ask whose turn it ended: every turn has its own `Turn`, and no
    step is read outside one. A turn that did not end cleanly is halted before the next
    starts, whatever happens to its asker meanwhile; one that cannot be halted takes its
    incarnation with it.
*   A turn is given to the model again only if nothing that had effects was seen in it.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from agy_actors._agent import _messages as messages
from agy_actors._agent._answers import AnsweringActor
from agy_actors._agent._diagnosis import QUOTA_STATUS, diagnose, model_error
from agy_actors._agent._errors import (
    AgentDeadError,
    InvalidOutput,
    ModelError,
    TurnCancelled,
    TurnDenied,
    TurnError,
    TurnInterrupted,
    TurnStalled,
    TurnTimeout,
)
from agy_actors._agent._replies import ChatReply
from agy_actors._agent._session import PromptDenied, SessionBroken
from agy_actors._agent._settings import CANCEL_GRACE, chat_timeout, stall_timeout
from agy_actors._agent._turn import Turn
from agy_actors._events import TurnEnded, TurnRetried, TurnStarted
from agy_actors._kernel import Frame, Lane, MailboxFull, Message, current_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from google.antigravity import types as sdk

    from agy_actors._agent._answers import Reporter
    from agy_actors._agent._diagnosis import ModelFailure
    from agy_actors._agent._life import AgentSpec, Life, Trial
    from agy_actors._agent._session import Session
    from agy_actors._agent._stream import Tape
    from agy_actors._events import AgentEvent
    from agy_actors._kernel import ReplyFuture

__all__ = ["FollowTurn", "StreamChat", "TurnCaller", "TurnTakingActor", "running_turn"]


class StreamChat(Message[ChatReply]):
    """A `Chat` whose answer goes onto a `Tape` as it comes."""

    __slots__ = ("chat", "tape")

    lane = Lane.TURN

    def __init__(self, chat: messages.Chat, tape: Tape) -> None:
        self.chat = chat
        self.tape = tape


class FollowTurn(Message[None]):
    """Follow the turn that a trigger has begun."""

    __slots__ = ()

    lane = Lane.TURN


class TurnTakingActor(AnsweringActor):
    """Takes turns on the session that its subclass opens and replaces."""

    def __init__(self, spec: AgentSpec, life: Life, reporter: Reporter) -> None:
        super().__init__(spec, life, reporter)
        self._current: Turn | None = None
        self._cancelled = False
        self._cancelling: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._harness_gone = False
        self._turn_error: Exception | None = None
        self._adopted: dict[ReplyFuture[Any] | asyncio.Future[Any], None] = {}
        self._stall = 0.0
        self._stall_timer: asyncio.Timeout | None = None
        self._people_asked = 0
        self._last_arrival = 0.0
        """When something of a turn came last, on the host's clock."""
        self._last_break = -math.inf
        """When a turn was broken off last, on the host's clock."""

    @abc.abstractmethod
    def _crash(self, error: Exception) -> None:
        """End this incarnation, and have the supervisor decide on the next."""

    @abc.abstractmethod
    async def _be_woken(self) -> None:
        """Open the session that an idle agent closed."""

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

    def adopt(self, future: ReplyFuture[Any] | asyncio.Future[Any]) -> None:
        """Have the future cancelled when the running turn ends, if it is not done then."""
        self._adopted[future] = None
        if self.turn_envelope is None or self._cancelled:
            self._abandon_adopted()

    def announce(self, kind: type[AgentEvent], **facts: Any) -> bool:
        """Publish an event that wants an answer, and return whether anybody is told."""
        if not self.spec.hub.active:
            return False
        self._publish(kind, **facts)
        return True

    @contextlib.contextmanager
    def person_asked(self) -> Iterator[None]:
        """Count no silence as a stall meanwhile: the turn waits for somebody."""
        self._people_asked += 1
        self._renew_stall_timer()
        try:
            yield
        finally:
            self._people_asked -= 1
            self._renew_stall_timer()

    def _renew_stall_timer(self) -> None:
        timer, turn = self._stall_timer, self._current
        if timer is not None and turn is not None:
            with contextlib.suppress(RuntimeError):  # It is over just now.
                timer.reschedule(self._stall_deadline(turn))

    def _abandon_adopted(self) -> None:
        adopted, self._adopted = self._adopted, {}
        for future in adopted:
            future.cancel()

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
        except (TurnError, AgentDeadError) as error:
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
        except (TurnError, AgentDeadError) as error:
            self._log.warning("A sent turn ended: {}", type(error).__name__)

    async def _follow(self, _: FollowTurn) -> None:
        try:
            await self._have_turn(None, None, None, None)
        except (TurnError, AgentDeadError) as error:
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
                except TurnError as error:
                    self._note_break(error)
                    delay = self._delay_of_retry(error, turn, trial, tape)
                    if delay is None:
                        raise
                    self._note_retry(trial, error, delay)
                if self._broken:
                    # Stay unanswered: the end of this incarnation hands the message over.
                    handed_over = True
                    await self._loop.create_future()
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
        if self._session is None:
            await self._be_woken()
        wait = trial.not_before - self._host.monotonic()
        if wait > 0:
            await self._interruptibly(asyncio.sleep(wait), trial, turn)
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
        return await self._run_turn(turn, trial, prompt, stall, tape)

    def _delay_of_retry(
        self, error: TurnError, turn: Turn, trial: Trial, tape: Tape | None
    ) -> float | None:
        """Return the seconds after which the turn is to be tried again, if it is."""
        if trial.cancelled or trial.answered:
            return None
        if tape is not None and (turn.text or turn.thoughts):
            return None
        now = self._host.monotonic()
        try:
            delay = self.spec.retry.delay(error, trial.attempt, now - trial.started)
        except Exception as mistake:  # noqa: BLE001 (its policies are the user's own functions)
            self._log.error("The retry policy raised {}", type(mistake).__name__)
            return None
        return None if delay is None or now + delay >= trial.deadline else delay

    def _note_retry(self, trial: Trial, error: TurnError, delay: float) -> None:
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
        if failure is not None and not isinstance(failure, ModelError):
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
        self._doze_later()
        self._see_steps()
        self._loop.call_soon(self._tell_idle)

    async def _run_turn(
        self, turn: Turn, trial: Trial, prompt: Any, stall: float, tape: Tape | None
    ) -> ChatReply:
        session = self._session
        assert session is not None
        left = trial.deadline - self._host.monotonic()
        if trial.cancelled:
            raise self._cancelled_error(turn)
        if left <= 0:  # It went by while the agent was restarted.
            raise self._timeout_error(turn, trial.seconds, stalled=False)
        before = session.usage
        deadline = self._loop.time() + left
        try:
            async with asyncio.timeout(left):
                await self._start_turn(session, prompt)
                await self._read_steps(session, turn, stall, tape)
        except TimeoutError:
            stalled = self._loop.time() < deadline
            await self._halt_or_crash(session)
            raise self._timeout_error(
                turn, stall if stalled else trial.seconds, stalled=stalled
            ) from None
        except SessionBroken as broken:
            # Not as the cause: it holds what the service said, keys included.
            broken_error = (
                self._cancelled_error(turn)
                if self._cancelled
                else self._broken_error(turn, self.redact(str(broken)))
            )
            self._crash(broken_error)
            raise broken_error from None
        except asyncio.CancelledError:
            # The asker went away: the next turn must find a free agent.
            await self._halt_or_crash(session)
            raise
        except TurnError:
            await self._halt_or_crash(session)
            raise
        finally:
            if self._session is session:
                self._count_usage(session, before)
        if self._cancelled:
            raise self._cancelled_error(turn)
        return self._reply(turn, trial, session)

    async def _start_turn(self, session: Session, prompt: Any) -> None:
        if prompt is None:
            return  # A trigger has begun it.
        while session.busy:  # With a trigger's turn; the harness has one at a time.
            try:
                step = await session.next_step()
            except PromptDenied:
                continue
            except SessionBroken as broken:
                # What it was of is another turn's, and that has no asker.
                self._log.debug("A turn of a trigger broke: {}", self.redact(str(broken)))
                raise SessionBroken("a turn that a trigger began broke it") from None
            if step is not None:
                self.life.record(step)
        await session.send(prompt)

    async def _read_steps(
        self, session: Session, turn: Turn, stall: float, tape: Tape | None
    ) -> None:
        self._stall = stall
        early: list[sdk.Step] = []
        while True:
            try:
                async with asyncio.timeout_at(self._stall_deadline(turn)) as self._stall_timer:
                    step = await session.next_step()
            except PromptDenied as denied:
                words = self.redact(str(denied))
                raise TurnDenied(f"a hook denied the prompt of {self}: {words}") from None
            finally:
                self._stall_timer = None
            if step is None:
                break
            self.life.record(step)
            if session.begun:
                early.clear()
                self._take_step(step, turn, tape)
            else:
                early.append(step)
        # It never began as turns do: then there is no telling, and nothing is to be lost.
        for step in early:
            self._take_step(step, turn, tape)

    def _take_step(self, step: sdk.Step, turn: Turn, tape: Tape | None) -> None:
        before = turn.failure
        for event in turn.observe(step):
            self.spec.pace.accepted(self.spec.pace_key)
            if tape is not None:
                tape.push(event)
        if turn.failure is not before:
            self._note_refusal(turn.failure)
        self._check_valves(turn)

    def _stall_deadline(self, turn: Turn) -> float | None:
        if turn.tools_at_work or self._people_asked:
            return None
        return self._loop.time() + self._stall

    def _check_valves(self, turn: Turn) -> None:
        spec = self.spec
        failure = turn.failure
        if failure is not None and 0 < spec.max_model_errors <= turn.model_errors:
            words = f"{turn.model_errors} errors in a row; {failure.message}"
            raise self._model_error(turn, failure._replace(message=words))
        if 0 < spec.max_empty_steps <= turn.empty_steps:
            raise TurnStalled(
                f"a turn of {self} brought {turn.empty_steps} steps without text or tool call",
                text=turn.text,
                tool_calls=turn.tool_calls,
            )

    def _reply(self, turn: Turn, trial: Trial, session: Session) -> ChatReply:
        if turn.failure is not None:  # No output came after it: it is what ended the turn (F9).
            raise self._model_error(turn, turn.failure)
        parsed = None
        if self.spec.output is not None:
            try:
                parsed = self.spec.output.read(turn.structured_output)
            except ValueError as error:
                raise InvalidOutput(
                    f"the answer of {self} does not fit its response_schema: {error}",
                    text=turn.text,
                    tool_calls=turn.tool_calls,
                ) from None
        return ChatReply(
            text=turn.text,
            thoughts=turn.thoughts,
            tool_calls=turn.tool_calls,
            usage=self.life.last_turn_usage,
            structured_output=turn.structured_output,
            parsed=parsed,
            stop_reason=session.stop_reason,
            attempts=trial.attempt,
            conversation_id=self.spec.conversation_id,
        )

    def _count_usage(self, session: Session, before: sdk.UsageMetadata) -> None:
        usage = session.usage
        self.life.count_usage(usage)
        spent = usage - before
        self.life.last_turn_usage = spent if spent.total_token_count else None

    async def _halt_or_crash(self, session: Session) -> None:
        """Leave the session ready for the next turn, or replace it.

        Who abandons the turn meanwhile must not keep that from happening: only the
        incarnation's own end does.
        """
        self._abandon_adopted()
        halting = self._loop.create_task(session.halt(CANCEL_GRACE))
        abandoned = False
        while not halting.done():
            try:
                await asyncio.wait([halting])
            except asyncio.CancelledError:
                if self._closing or self._cut_off:
                    halting.cancel()
                    raise
                abandoned = True
        if not halting.result():
            self._crash(TurnInterrupted(f"a turn of {self} could not be ended"))
        if abandoned:
            raise asyncio.CancelledError

    # Errors.

    def _note_refusal(self, failure: ModelFailure | None) -> None:
        """Tell all agents of this one's key if the service refused it for its quota."""
        if failure is not None and failure.status == QUOTA_STATUS:
            self.spec.pace.refused(self.spec.pace_key, failure.retry_after)

    def _model_error(self, turn: Turn, failure: ModelFailure) -> TurnError:
        return model_error(failure, str(self), text=turn.text, tool_calls=turn.tool_calls)

    def _timeout_error(self, turn: Turn, seconds: float, *, stalled: bool) -> TurnError:
        failure = turn.failure or turn.suspicions.certain() or turn.suspicions.refusal()
        if failure is not None:
            self._note_refusal(failure)
            return self._model_error(turn, failure)
        kind = TurnStalled if stalled else TurnTimeout
        what = "was silent for" if stalled else "did not end within"
        tools = f" while it waited for {' and '.join(turn.tools_at_work)}"
        return kind(
            f"a turn of {self} {what} {seconds:g} seconds and was cancelled"
            f"{tools if turn.tools_at_work else ''}",
            text=turn.text,
            tool_calls=turn.tool_calls,
        )

    def _cancelled_error(self, turn: Turn) -> TurnError:
        return TurnCancelled(
            f"the turn of {self} was cancelled", text=turn.text, tool_calls=turn.tool_calls
        )

    def _broken_error(self, turn: Turn, reason: str) -> TurnError:
        said = diagnose(reason)
        self._note_refusal(said)
        failure = said or turn.failure or turn.suspicions.certain()
        if failure is not None:
            return self._model_error(turn, failure)
        return TurnInterrupted(
            f"a turn of {self} was cut off: its process ended or its connection broke"
            f" ({' '.join(reason.split())})",
            text=turn.text,
            tool_calls=turn.tool_calls,
        )

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        **AnsweringActor.HANDLERS,
        messages.Chat: _chat,
        StreamChat: _stream_chat,
        FollowTurn: _follow,
        messages.Send: _send,
        messages.Cancel: _cancel,
    }
    """What answers each type of message."""


class TurnCaller:
    """Names the running turn as the caller of what tools and hooks ask."""

    def __init__(self, actor: TurnTakingActor, thread_id: int) -> None:
        self.actor = actor
        self.thread_id = thread_id

    def frames(self) -> tuple[Frame, ...]:
        actor = self.actor
        turn = actor.turn_envelope
        frame = Frame(
            actor.actor_urn, actor.spec.name, in_turn=turn is not None, loop_blocked=False
        )
        return (frame,) if turn is None else (*turn.frames, frame)


def running_turn() -> TurnTakingActor | None:
    """Return the agent inside whose turn this code runs, if it is a tool's or a hook's."""
    caller = current_caller.get()
    return caller.actor if isinstance(caller, TurnCaller) else None
