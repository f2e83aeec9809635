"""What an agent's actor knows, and the questions that it answers during a turn too."""

from __future__ import annotations

import abc
import asyncio
import enum
import logging
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from loguru import logger

from agy_actors._agent import _messages as messages
from agy_actors._agent._diagnosis import redact
from agy_actors._agent._errors import AgentDeadError
from agy_actors._agent._replies import AgentStatistics
from agy_actors._agent._settings import handler_timeout
from agy_actors._agent._tools import available_tools
from agy_actors._events import DeadLetter
from agy_actors._kernel import (
    AgyActorsError,
    AsyncioActor,
    DeadlockError,
    UnknownMessage,
    check_optional_seconds,
    current_caller,
    find_handler,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.antigravity import types as sdk
    from pykka._envelope import Envelope as AnyEnvelope

    from agy_actors._agent._life import AgentSpec, Life
    from agy_actors._agent._replies import ToolInfo
    from agy_actors._agent._session import Session
    from agy_actors._agent.sessions import Sessions
    from agy_actors._agent.turn_crashes import TurnCrashes
    from agy_actors._events import AgentEvent
    from agy_actors._kernel import Envelope

__all__ = ["AnsweringActor", "Outcome", "Reporter", "unknown_message"]

_logger = logging.getLogger("pykka")  # As the kernel's actors.


class Reporter(Protocol):
    """Where an agent's incarnation reports to, from its own thread: its supervisor."""

    def ready(self, actor: Any) -> None:
        """Take note that the agent is up."""

    def gone(self, actor: Any) -> None:
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


class AnsweringActor(AsyncioActor):
    """The state of an agent's incarnation, and its answers to queries."""

    use_daemon_thread: ClassVar[bool] = True  # The supervisors' exit hook ends it in order.

    _sessions: Sessions

    def __init__(self, spec: AgentSpec, life: Life, reporter: Reporter) -> None:
        super().__init__()
        self.spec = spec
        self.life = life
        self.actor_inbox.owner = f"agent {spec.name!r}"
        self.turn_envelope: Envelope | None = None
        """The turn that runs, from when it is taken up to its end."""
        self.outcome = Outcome.ENDED
        self.error: Exception | None = None
        self.crashed_turn: TurnCrashes | None = None
        """Which turn crashed this incarnation, if one did."""
        self._reporter = reporter
        self._session: Session | None = None
        self._broken = False
        self._closing = False
        self._forsaken = False
        """Whether a successor has taken over since the loop hangs. What the thread does when it
        is let go is no part of the agent's life."""
        self._up = False
        """Whether a session was open before: if there is none now, the next one is opened."""
        self._asleep = False
        """Whether its session was closed because it was idle."""
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._wakeups: list[asyncio.Future[None]] = []
        self._log = logger.bind(agent=spec.name, supervisor=spec.supervisor)

    def __str__(self) -> str:
        return f"agent {self.spec.name!r}" if hasattr(self, "spec") else super().__str__()

    def dead_error(self) -> Exception:
        error = AgentDeadError(f"agent {self.spec.name!r} has ended")
        error.__cause__ = self._cause
        return error

    def caller_name(self) -> str:
        return f"agent {self.spec.name!r}"

    def on_taken(self, envelope: Any) -> None:
        self.turn_envelope = envelope

    def redact(self, text: str) -> str:
        """Return the text without the agent's secrets."""
        return redact(text, self.spec.secrets)

    def on_dead_letter(self, message: Any) -> None:
        self._log.warning("Agent ended before it handled a {}", type(message).__name__)
        self._count_dead_letter(message)

    def _count_dead_letter(self, message: Any) -> None:
        self.life.dead_letters += 1
        if self.spec.hub.active:
            self._publish(DeadLetter, message=type(message).__name__)

    # Handling messages, and what goes wrong in that.

    def on_receive(self, message: Any) -> Any:
        handler = find_handler(self.HANDLERS, message)
        if handler is None:
            if self.turn_envelope is self._handling:
                self.turn_envelope = None  # It is no turn, though it takes the turn lane.
            raise unknown_message(self, message, messages.__all__)
        return handler(self, message)

    @abc.abstractmethod
    def _crash(self, error: Exception) -> None:
        """End this incarnation, and have the supervisor decide on the next."""

    def _answer_error(self, envelope: AnyEnvelope[Any], error: BaseException) -> None:
        """Answer a message that failed. One that was told and not asked never ends the agent.

        If the message is the cause, it is a dead letter. Anything else is a mistake in the
        agent's own code: the incarnation crashes, and its supervisor restarts it.
        """
        if envelope.reply_to is not None:
            super()._answer_error(envelope, error)
        elif isinstance(error, AgyActorsError) or isinstance(envelope.message, tuple):
            kind = type(envelope.message).__name__
            words = self.redact(f"{type(error).__name__}: {error}")
            self._log.warning("A {} that was told to the agent is dropped: {}", kind, words)
            self._count_dead_letter(envelope.message)
        else:
            self._crash_by_mistake(error)

    def _fail(self) -> None:
        error = sys.exc_info()[1]
        assert error is not None
        self._crash_by_mistake(error)

    def _crash_by_mistake(self, error: BaseException) -> None:
        said = f"{type(error).__name__}: {error}"
        words = self.redact(said)
        exc_info = (type(error), error, error.__traceback__) if words == said else None
        _logger.error("Unhandled exception in %s: %s", self, words, exc_info=exc_info)
        if words != said or not isinstance(error, Exception):
            error = RuntimeError(words)  # Not the error itself: `SystemExit` must end nothing.
        self._crash(error)

    def _publish(self, kind: type[AgentEvent], **what: Any) -> None:
        """Tell the supervisor's subscribers. Callable from any thread."""
        if not self._forsaken:
            self._publish_last(kind, **what)

    def _publish_last(self, kind: type[AgentEvent], **what: Any) -> None:
        """Tell the supervisor's subscribers, also of an incarnation whose loop hangs."""
        spec = self.spec
        spec.hub.publish(kind(supervisor=spec.supervisor, agent=spec.name, **what))

    # Waiting for turns.

    def _is_idle(self, _: messages.IsIdle) -> bool:
        return (
            self._up
            and not (self._broken or self._closing)
            and self.turn_envelope is None
            and not self.actor_inbox.turns_waiting
        )

    async def _wait_for_idle(self, _: messages.WaitForIdle) -> None:
        caller = current_caller.get()
        for frame in () if caller is None else caller.frames():
            if frame.urn == self.actor_urn and frame.in_turn:
                raise DeadlockError(f"{self} cannot become idle: its turn waits for this very code")
        while not self._is_idle(messages.IsIdle()):
            waiter = self._loop.create_future()
            self._idle_waiters.append(waiter)
            self._loop.call_soon(self._tell_idle)
            await waiter

    def _tell_idle(self) -> None:
        if not self._idle_waiters or self._ended:
            return
        if self._is_idle(messages.IsIdle()):
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        elif self._turns_open and self.turn_envelope is None:
            # What waits is about to be taken up. If all of it was abandoned, no turn
            # will end that could tell.
            self._loop.call_soon(self._tell_idle)

    async def _wait_for_wakeup(self, message: messages.WaitForWakeup) -> bool:
        seconds = check_optional_seconds("timeout", message.timeout, zero=True)
        if seconds is None:
            seconds = handler_timeout()
        waiter = self._loop.create_future()
        self._wakeups.append(waiter)
        try:
            async with asyncio.timeout(seconds):
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

    # Facts.

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
        return self._conversation_id

    @property
    def _conversation_id(self) -> str:
        session = self._session
        return self.spec.conversation_id if session is None else session.conversation_id

    def _get_statistics(self, _: messages.GetStatistics) -> AgentStatistics:
        if self._asleep or not self._up:
            state = "asleep" if self._asleep else "starting"
        else:
            state = "idle" if self.turn_envelope is None else "busy"
        return AgentStatistics(
            name=self.spec.name,
            state=state,
            turns=self.life.turns,
            turns_waiting=self.actor_inbox.turns_waiting,
            restarts=self.life.restarts,
            total_usage=self._get_total_usage(messages.GetTotalUsage()),
            conversation_id=self._conversation_id,
            harness_pid=self._pid(),
            sandbox=None if self._session is None else self._session.sandbox,
            last_error=self.life.last_error,
            dead_letters=self.life.dead_letters,
        )

    def _pid(self) -> int | None:
        """Return the id of the process that its turn runs on, or that its next turn will."""
        if self._session is not None:
            return self._session.pid
        # Between the sessions of two turns, another is open.
        return None if self._asleep else self._sessions.pid

    async def _available_tools(self, _: messages.AvailableTools) -> list[ToolInfo]:
        return await asyncio.to_thread(available_tools, self.spec.config, self._conversation_id)

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
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
    }
    """What answers each type of message."""


def unknown_message(actor: object, message: object, answered: Iterable[str]) -> UnknownMessage:
    """Make the error for a message that an actor does not answer.

    Args:
        actor: the actor, as it is to be named.
        message: the message.
        answered: the names of the public messages that it answers.
    """
    kinds = ", ".join(sorted(answered))
    return UnknownMessage(f"{actor} answers no {type(message).__name__}; it answers {kinds}")
