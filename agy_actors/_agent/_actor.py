"""`AgentActor`: exactly one SDK agent, on its own thread and loop.

States: starting → idle ⇄ busy → ended. An incarnation whose SDK conversation became
unusable reports that to its supervisor and ends; the next one has the same mailbox, ref,
conversation and `Life`.

Guarantees:

*   One turn at a time, first come first served (the kernel's turn lane).
*   An error belongs to the ask whose turn it ended: every turn has its own `Turn`, and no
    step is read outside one. A turn that did not end cleanly is halted before the next
    starts; one that cannot be halted takes its incarnation with it.
*   A turn is given to the model again only if nothing that had effects was seen in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pykka
from google.antigravity import types as sdk
from google.antigravity.connections.connection import resolve_active_tools
from loguru import logger

from agy_actors._agent import _messages as messages
from agy_actors._agent._diagnosis import diagnose, model_error, redact
from agy_actors._agent._errors import (
    AgentDeadError,
    ModelError,
    TurnCancelled,
    TurnError,
    TurnInterrupted,
    TurnStalled,
    TurnTimeout,
)
from agy_actors._agent._replies import AgentStatistics, ChatReply, ToolInfo
from agy_actors._agent._session import Session, SessionBroken
from agy_actors._agent._settings import (
    CANCEL_GRACE,
    START_TIMEOUT,
    STOP_GRACE,
    chat_timeout,
    stall_timeout,
)
from agy_actors._agent._turn import Turn
from agy_actors._kernel import AsyncioActor, Frame, Lane, Message, current_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors._agent._life import AgentSpec, Life
    from agy_actors._agent._stream import ChatStream
    from agy_actors._kernel import Envelope

__all__ = ["AgentActor", "Outcome", "Reporter", "StreamChat"]


class StreamChat(Message[ChatReply]):
    """A `Chat` whose answer goes to a `ChatStream` as it comes."""

    __slots__ = ("chat", "stream")

    lane = Lane.TURN

    def __init__(self, chat: messages.Chat, stream: ChatStream) -> None:
        self.chat = chat
        self.stream = stream


class Reporter(Protocol):
    """Where an agent's incarnation reports to, from its own thread: its supervisor."""

    def ready(self, actor: AgentActor) -> None:
        """Take note that the agent is up."""

    def gone(self, actor: AgentActor) -> None:
        """Take note that the incarnation has ended, its loop too. See its `outcome`."""


class Outcome(enum.Enum):
    """Why an incarnation ended."""

    ENDED = "ended"
    """It was asked to."""

    FAILED = "failed"
    """It did not come up."""

    CRASHED = "crashed"
    """Its process died, or its turn could not be ended."""

    RENEWED = "renewed"
    """The model's service answered with an error that the SDK's conversation did not
    survive. The agent did nothing wrong: a fresh one takes over, and it is no crash."""


class _TurnCaller:
    """Names the running turn as the caller of what tools and hooks ask."""

    def __init__(self, actor: AgentActor, thread_id: int) -> None:
        self._actor = actor
        self.thread_id = thread_id

    def frames(self) -> tuple[Frame, ...]:
        actor = self._actor
        waiting = () if actor.turn_envelope is None else actor.turn_envelope.frames
        return (*waiting, Frame(actor.actor_urn, actor.spec.name, in_turn=True, loop_blocked=False))


class AgentActor(AsyncioActor):
    """One incarnation of an agent."""

    use_daemon_thread: ClassVar[bool] = True  # The supervisors' exit hook ends it in order.

    def __init__(self, spec: AgentSpec, life: Life, reporter: Reporter) -> None:
        super().__init__()
        self.spec = spec
        self.life = life
        self.actor_inbox.owner = f"agent {spec.name!r}"
        self.turn_envelope: Envelope | None = None
        self._reporter = reporter
        self._session: Session | None = None
        self.outcome = Outcome.ENDED
        self.error: Exception | None = None
        self._background: asyncio.Task[None] | None = None
        self._cancelled = False
        self._closing = False
        self._broken = False
        self._current: Turn | None = None
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._wakeups: list[asyncio.Future[None]] = []
        self._log = logger.bind(agent=spec.name, supervisor=spec.supervisor)

    def __str__(self) -> str:
        return f"agent {self.spec.name!r}" if hasattr(self, "spec") else super().__str__()

    # What the kernel asks.

    def dead_error(self) -> Exception:
        error = AgentDeadError(f"agent {self.spec.name!r} has ended")
        error.__cause__ = self._cause
        return error

    def caller_name(self) -> str:
        return f"agent {self.spec.name!r}"

    def on_taken(self, envelope: Any) -> None:
        self.turn_envelope = envelope

    def on_start(self) -> None:
        current_caller.set(_TurnCaller(self, self._thread_id))
        self.open_turns(open=False)
        self._background = self._loop.create_task(self._open())

    async def on_stop(self) -> None:
        await self._close()

    def _after_loop(self) -> None:
        # First, so that whoever learns of the end finds it known to the supervisor too.
        self._reporter.gone(self)
        super()._after_loop()

    # Opening and ending.

    async def _open(self) -> None:
        self._log.debug("Agent starts")
        session = Session(
            self.spec.config,
            start_timeout=START_TIMEOUT,
            stop_grace=STOP_GRACE,
            on_line=self._from_thread(self._hear_harness),
            on_death=self._from_thread(self._harness_died),
        )
        try:
            await session.open()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever the SDK raises: it goes to the starter)
            self._broken = True
            self.outcome, self.error = Outcome.FAILED, error
            self.retire()
            return
        self._session = session
        self.life.resume(session.history, session.usage)
        self._log.debug("Agent is ready")
        self._reporter.ready(self)
        self.open_turns(open=True)

    def _from_thread(self, callback: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody is left to tell.
                self._loop.call_soon_threadsafe(callback, *args)

        return call

    def _hear_harness(self, line: str) -> None:
        # What the harness means to retry by itself it tells here at once, and as a step
        # only when its wait is over: minutes later, or never, if the turn ends before.
        turn = self._current
        if turn is not None and "ncountered retryable" in line:
            failure = diagnose(line)
            if failure is not None:
                self._log.debug("The harness retries: {}", self.redact(failure.message))
                turn.suspect(failure)

    def _harness_died(self) -> None:
        if self._session is None or self._broken or self._ended or self._ending is not None:
            return
        if self.turn_envelope is None:  # A turn finds out for itself, and has an asker to tell.
            self._crash(TurnInterrupted(f"the process of agent {self.spec.name!r} died"))

    def _crash(self, error: Exception) -> None:
        """End this incarnation, and have the supervisor decide on the next."""
        if self._broken or self._ended:
            return
        self._broken = True
        self.outcome = Outcome.RENEWED if isinstance(error, ModelError) else Outcome.CRASHED
        self.error = error
        self.open_turns(open=False)
        self.life.last_error = f"{type(error).__name__}: {error}"
        self._log.debug("Agent crashed: {}", type(error).__name__)
        self._background = self._loop.create_task(self._finish_crash())

    async def _finish_crash(self) -> None:
        if self._session is not None:
            await self._session.close(at_once=True)
            self._session = None
        self.retire()

    async def _close(self) -> None:
        if self._background is not None and not self._background.done():
            self._background.cancel()
            await asyncio.wait([self._background])
        if self._session is not None:
            await self._session.close()
            self._session = None

    def kill(self) -> None:
        """End the agent's process at once. Callable from any thread."""
        session = self._session
        if session is not None:
            session.kill()

    # Messages.

    def on_receive(self, message: Any) -> Any:
        handler = self._HANDLERS.get(type(message))
        if handler is None:
            raise TypeError(
                f"agent {self.spec.name!r} answers no {type(message).__name__}; it answers "
                + ", ".join(sorted(kind.__name__ for kind in self._HANDLERS if kind is not StreamChat))
            )
        return handler(self, message)

    async def _chat(self, chat: messages.Chat) -> ChatReply:
        return await self._have_turn(chat.prompt, chat.timeout, chat.stall_timeout, None)

    async def _stream_chat(self, message: StreamChat) -> ChatReply:
        chat = message.chat
        return await self._have_turn(chat.prompt, chat.timeout, chat.stall_timeout, message.stream)

    async def _send(self, send: messages.Send) -> None:
        envelope = self.turn_envelope
        if envelope is not None and envelope.reply_to is not None:
            envelope.reply_to.set(None)  # It has started; its end is nobody's to wait for.
        try:
            await self._have_turn(send.prompt, None, None, None)
        except TurnError as error:
            self._log.warning("A sent turn ended: {}", type(error).__name__)

    async def _have_turn(
        self, prompt: Any, timeout: float | None, stall: float | None, stream: ChatStream | None
    ) -> ChatReply:
        envelope = self.turn_envelope
        assert envelope is not None
        life, host = self.life, self._host
        attempt = life.attempts[envelope] = life.attempts.get(envelope, 0) + 1
        if attempt == 1:
            life.turns += 1
            life.deadlines[envelope] = host.monotonic() + (timeout or chat_timeout())
        left = life.deadlines[envelope] - host.monotonic()
        log = self._log.bind(turn=life.turns)
        log.debug("Turn starts, attempt {}", attempt)
        self._wake()
        retry = False
        turn = self._current = Turn()
        self._cancelled = False
        try:
            reply = await self._run_turn(turn, prompt, left, stall or stall_timeout(), stream)
        except TurnError as error:
            retry = (
                self._broken
                and (stream is None or not turn.text)
                and self.spec.retry.allows(error, attempt)
                and (envelope.reply_to is None or not envelope.reply_to.done())
            )
            log.debug("Turn ended: {}{}", type(error).__name__, ", to be retried" if retry else "")
            if retry:
                # Stay unanswered: the end of this incarnation hands the message over.
                await self._loop.create_future()
            raise
        else:
            log.debug("Turn ended")
            return reply
        finally:
            self._current = None
            self.turn_envelope = None
            if not (retry and self._ended):
                life.attempts.pop(envelope, None)
                life.deadlines.pop(envelope, None)
            self._loop.call_soon(self._tell_idle)

    async def _run_turn(
        self, turn: Turn, prompt: Any, timeout: float, stall: float, stream: ChatStream | None
    ) -> ChatReply:
        session = self._session
        assert session is not None
        before = session.usage
        deadline = self._loop.time() + timeout
        try:
            async with asyncio.timeout(timeout):
                await session.send(prompt)
                await self._read_steps(session, turn, stall, stream)
        except TimeoutError:
            seconds = stall if self._loop.time() < deadline else timeout
            error = self._timeout_error(turn, seconds, stalled=self._loop.time() < deadline)
            await self._halt_or_crash(session)
            raise error from None
        except SessionBroken as broken:
            if self._cancelled:
                self._crash(broken)
                raise self._cancelled_error(turn) from broken
            broken_error = self._broken_error(turn, broken, session)
            self._crash(broken_error)
            raise broken_error from broken
        except asyncio.CancelledError:
            if self._closing:
                raise self.dead_error() from None
            if not self._ended:  # The asker went away: the next turn must find a free agent.
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
        return self._reply(turn, session)

    async def _read_steps(
        self, session: Session, turn: Turn, stall: float, stream: ChatStream | None
    ) -> None:
        while True:
            async with asyncio.timeout(None if turn.waits_for_tool else stall):
                step = await session.next_step()
            if step is None:
                return
            self.life.record(step)
            for event in turn.observe(step):
                if stream is not None:
                    stream.push(event)
            self._check_valves(turn)

    def _check_valves(self, turn: Turn) -> None:
        spec = self.spec
        if 0 < spec.max_model_errors <= turn.model_errors and turn.failure is not None:
            raise model_error(
                turn.failure._replace(
                    message=f"{turn.model_errors} errors in a row; {turn.failure.message}"
                ),
                str(self),
                text=turn.text,
                tool_calls=turn.tool_calls,
            )
        if 0 < spec.max_empty_steps <= turn.empty_steps:
            raise TurnStalled(
                f"a turn of {self} brought {turn.empty_steps} steps without text or tool call",
                text=turn.text,
                tool_calls=turn.tool_calls,
            )

    def _reply(self, turn: Turn, session: Session) -> ChatReply:
        if turn.failure is not None:  # No output came after it: it is what ended the turn (F9).
            raise self._model_error(turn)
        envelope = self.turn_envelope
        assert envelope is not None
        return ChatReply(
            text=turn.text,
            thoughts=turn.thoughts,
            tool_calls=turn.tool_calls,
            usage=self.life.last_turn_usage,
            structured_output=turn.structured_output,
            stop_reason=session.stop_reason,
            attempts=self.life.attempts[envelope],
            conversation_id=self.spec.conversation_id,
        )

    def _count_usage(self, session: Session, before: sdk.UsageMetadata) -> None:
        usage = session.usage
        self.life.count_usage(usage)
        spent = usage - before
        self.life.last_turn_usage = spent if spent.total_token_count else None

    async def _halt_or_crash(self, session: Session) -> None:
        if not await session.halt(CANCEL_GRACE):
            self._crash(TurnInterrupted(f"a turn of {self} could not be ended"))

    # Errors.

    def redact(self, text: str) -> str:
        """Return the text without the agent's secrets."""
        return redact(text, self.spec.secrets)

    def _model_error(self, turn: Turn) -> TurnError:
        assert turn.failure is not None
        failure = turn.failure._replace(message=self.redact(turn.failure.message))
        return model_error(failure, str(self), text=turn.text, tool_calls=turn.tool_calls)

    def _timeout_error(self, turn: Turn, seconds: float, *, stalled: bool) -> TurnError:
        if turn.failure is not None:
            return self._model_error(turn)
        kind = TurnStalled if stalled else TurnTimeout
        what = "was silent for" if stalled else "did not end within"
        return kind(
            f"a turn of {self} {what} {seconds:g} seconds and was cancelled",
            text=turn.text,
            tool_calls=turn.tool_calls,
        )

    def _cancelled_error(self, turn: Turn) -> TurnError:
        return TurnCancelled(
            f"the turn of {self} was cancelled", text=turn.text, tool_calls=turn.tool_calls
        )

    def _broken_error(self, turn: Turn, broken: SessionBroken, session: Session) -> TurnError:
        failure = diagnose(str(broken))
        if failure is not None:
            turn.suspect(failure)
        if turn.failure is not None:
            return self._model_error(turn)
        return TurnInterrupted(
            f"a turn of {self} was cut off: its process ended or its connection broke"
            f" ({self.redact(str(broken).splitlines()[0])})",
            text=turn.text,
            tool_calls=turn.tool_calls,
        )

    # Queries and control.

    def _is_idle(self, _: messages.IsIdle) -> bool:
        return (
            self._session is not None
            and self.turn_envelope is None
            and not self.actor_inbox.turns_waiting
        )

    async def _wait_for_idle(self, message: messages.WaitForIdle) -> None:
        while not self._is_idle(messages.IsIdle()):
            waiter = self._loop.create_future()
            self._idle_waiters.append(waiter)
            self._loop.call_soon(self._tell_idle)
            await waiter

    def _tell_idle(self) -> None:
        if self._is_idle(messages.IsIdle()):
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def _wait_for_wakeup(self, message: messages.WaitForWakeup) -> bool:
        waiter = self._loop.create_future()
        self._wakeups.append(waiter)
        try:
            async with asyncio.timeout(message.timeout):
                await waiter
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        waiters, self._wakeups = self._wakeups, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _signal_idle(self, _: messages.SignalIdle) -> None:
        self._wake()

    def _cancel(self, _: messages.Cancel) -> bool:
        if self.turn_envelope is None or self._session is None:
            return False
        if not self._cancelled:
            self._cancelled = True
            self._background = self._loop.create_task(self._cancel_turn(self._session))
        return True

    async def _cancel_turn(self, session: Session) -> None:
        envelope = self.turn_envelope
        with contextlib.suppress(SessionBroken):  # The turn sees that for itself.
            await session.cancel()
        await asyncio.sleep(CANCEL_GRACE)
        if self.turn_envelope is envelope and self._session is session:
            session.kill()

    def refuse(self) -> None:
        """Take up nothing more, and tell those who wait."""
        if not self.actor_stopped.is_set():
            pykka.ActorRegistry.unregister(self.actor_ref)
            self.actor_stopped.set()
        self._reject(self.actor_inbox.close(self.dead_error))

    def _get_history(self, _: messages.GetHistory) -> list[sdk.Step]:
        return list(self.life.steps)

    def _clear_history(self, _: messages.ClearHistory) -> None:
        self.life.steps.clear()

    def _get_turn_count(self, _: messages.GetTurnCount) -> int:
        return self.life.turns

    def _get_total_usage(self, _: messages.GetTotalUsage) -> sdk.UsageMetadata:
        if self._session is not None:
            self.life.count_usage(self._session.usage)
        return self.life.usage

    def _get_last_turn_usage(self, _: messages.GetLastTurnUsage) -> sdk.UsageMetadata | None:
        return self.life.last_turn_usage

    def _get_last_response(self, _: messages.GetLastResponse) -> str | None:
        return self.life.last_response()

    def _get_compaction_indices(self, _: messages.GetCompactionIndices) -> list[int]:
        return self.life.compaction_indices()

    def _get_conversation_id(self, _: messages.GetConversationId) -> str:
        return self.spec.conversation_id

    def _get_statistics(self, _: messages.GetStatistics) -> AgentStatistics:
        if self._session is None:
            state = "starting"
        else:
            state = "idle" if self.turn_envelope is None else "busy"
        return AgentStatistics(
            name=self.spec.name,
            state=state,
            turns=self.life.turns,
            turns_waiting=self.actor_inbox.turns_waiting,
            restarts=self.life.restarts,
            total_usage=self._get_total_usage(messages.GetTotalUsage()),
            conversation_id=self.spec.conversation_id,
            harness_pid=None if self._session is None else self._session.pid,
            last_error=self.life.last_error,
        )

    def _available_tools(self, _: messages.AvailableTools) -> list[ToolInfo]:
        config = self.spec.config
        custom = [
            ToolInfo(
                name=getattr(tool, "__name__", type(tool).__name__),
                description=(getattr(tool, "__doc__", None) or "").strip(),
                source="custom",
            )
            for tool in config.tools
            if callable(tool)
        ]
        builtin = [
            ToolInfo(name=tool.value, description="", source="builtin")
            for tool in sorted(resolve_active_tools(config.capabilities), key=lambda t: t.value)
        ]
        return [*custom, *builtin]

    def _disconnect(self, _: messages.Disconnect) -> Coroutine[Any, Any, None]:
        return self._end_now()

    async def _delete(self, _: messages.Delete) -> None:
        await self._end_now()
        for suffix in (".db", ".db-wal", ".db-shm"):  # SQLite's files of one database.
            path = self.spec.save_dir / f"{self.spec.conversation_id}{suffix}"
            path.unlink(missing_ok=True)

    async def _end_now(self) -> None:
        """End the agent without waiting for turns; whoever waits is told."""
        self._closing = True
        self.refuse()
        turn = self._in_flight.get(self.turn_envelope) if self.turn_envelope is not None else None
        if turn is not None:
            turn.cancel()
        await self._close()
        self._loop.call_soon(self._end)  # After the reply.

    _HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        messages.Chat: _chat,
        StreamChat: _stream_chat,
        messages.Send: _send,
        messages.Cancel: _cancel,
        messages.IsIdle: _is_idle,
        messages.WaitForIdle: _wait_for_idle,
        messages.WaitForWakeup: _wait_for_wakeup,
        messages.SignalIdle: _signal_idle,
        messages.GetHistory: _get_history,
        messages.ClearHistory: _clear_history,
        messages.GetTurnCount: _get_turn_count,
        messages.GetTotalUsage: _get_total_usage,
        messages.GetLastTurnUsage: _get_last_turn_usage,
        messages.GetLastResponse: _get_last_response,
        messages.GetCompactionIndices: _get_compaction_indices,
        messages.GetConversationId: _get_conversation_id,
        messages.GetStatistics: _get_statistics,
        messages.AvailableTools: _available_tools,
        messages.Disconnect: _disconnect,
        messages.Delete: _delete,
    }
