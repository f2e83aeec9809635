"""`AgentActor`: exactly one SDK agent, on its own thread and loop.

States: starting → idle ⇄ busy → ended. An incarnation whose SDK conversation became
unusable reports that to its supervisor and ends; the next one has the same mailbox, ref,
conversation and `Life`.

Guarantees:

*   However an incarnation ends, its session is closed before its loop is.
*   An incarnation that was asked to end has no successor, whatever befell it meanwhile.
*   A stop lets the turns end that were asked before it; `Disconnect` and `Delete` do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from agy_actors._agent import _messages as messages
from agy_actors._agent._answers import Outcome, Reporter
from agy_actors._agent._diagnosis import diagnose
from agy_actors._agent._errors import RENEWING, ConversationInUse, TurnInterrupted
from agy_actors._agent._session import Session
from agy_actors._agent._settings import STOP_GRACE, start_timeout
from agy_actors._agent._suspicion import read_rumour
from agy_actors._agent._turns import StreamChat, TurnTakingActor
from agy_actors._agent.ownership import ConversationLock
from agy_actors._agent.saving import SaveWatch
from agy_actors._agent.sessions import Sessions
from agy_actors._agent.start_errors import without_secrets
from agy_actors._agent.turn_caller import TurnCaller
from agy_actors._events import (
    AgentCrashed,
    AgentFellAsleep,
    AgentReady,
    AgentStarted,
    HarnessDied,
    HarnessStarted,
)
from agy_actors._kernel import current_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from google.antigravity import AgentConfig

    from agy_actors._agent._life import AgentSpec, Life
    from agy_actors._agent._suspicion import Rumour
    from agy_actors._agent._turn import Turn

__all__ = ["AgentActor", "Outcome", "Reporter", "StreamChat"]

_FELL_BEHIND = "subscriber fell behind"
_LAG = 0.2  # Seconds that a loop which turns takes at most to hear of something; arbitrary.
_AFTERMATH = 1.0
"""Seconds for which the harness may still speak of a turn that was broken off. It takes
milliseconds; arbitrary: enough for a machine that is busy."""
_SILENCE = 4.0  # Seconds; the harness gives an agent up that has not read for 5.


class AgentActor(TurnTakingActor):
    """One incarnation of an agent."""

    unabandonable: ClassVar[tuple[type, ...]] = (messages.Disconnect, messages.Delete)

    def __init__(self, spec: AgentSpec, life: Life, reporter: Reporter) -> None:
        super().__init__(spec, life, reporter)
        self._context = contextvars.copy_context()
        self._opening: asyncio.Task[None] | None = None
        self._dozing: asyncio.Task[None] | None = None
        self._doze_timer: asyncio.TimerHandle | None = None
        self._crashing: asyncio.Task[None] | None = None
        self._sessions = self._make_sessions()
        self._harness_pid: int | None = None
        """The process that was announced last."""
        self._in_use: ConversationInUse | None = None  # Why the agent could not wake up.
        self._recalled = False

    # What the kernel asks.

    def on_start(self) -> None:
        self.open_turns(open=False)
        # The SDK's tasks, in which tools run, keep the context that opened the session.
        self._context = contextvars.copy_context()
        self._context.run(current_caller.set, TurnCaller(self, self._thread_id))
        self._sessions = self._make_sessions()
        if self.spec.hub.active:
            self._publish(AgentStarted, restarts=self.life.restarts)
        self._opening = self._loop.create_task(self._open(), context=self._context)
        if self._recalled:  # Before there was a loop to be told on.
            self._be_recalled()

    async def on_stop(self) -> None:  # type: ignore[override] # pykka: or async
        await self._close()

    async def _drain_and_stop(self) -> None:
        if self._opening is not None and self.actor_inbox.turns_waiting:
            await asyncio.wait([self._opening])  # They wait for this, and came before the stop.
        await super()._drain_and_stop()

    async def _wind_up(self) -> None:
        try:
            await super()._wind_up()
        finally:
            await self._close()  # The kernel calls no `on_stop` for an actor that failed.

    def _after_loop(self) -> None:
        if self.actor_inbox.closed:
            self.outcome = Outcome.ENDED
        # First, so that whoever learns of the end finds it known to the supervisor too.
        self._reporter.gone(self)
        super()._after_loop()

    # Opening and ending.

    async def _open(self) -> None:
        self._log.debug("Agent starts")
        try:
            await self._open_session()
        except Exception as error:  # noqa: BLE001 (whatever the SDK raises: it goes to the starter)
            self._broken = True
            self.outcome, self.error = Outcome.FAILED, without_secrets(error, self.redact)
            self.retire()
            return
        self._log.debug("Agent is ready")
        self._reporter.ready(self)
        self.open_turns(open=True)
        self._doze_later()
        self._loop.call_soon(self._tell_idle)

    async def _open_session(self) -> None:
        session = await self._sessions.open()
        self._session = session
        first, self._up = not self._up or self._asleep, True
        self._asleep = self._harness_gone = False
        self.life.resume(session.history, session.usage)
        if self.spec.hub.active:
            if first or session.pid != self._harness_pid:
                self._publish(HarnessStarted, pid=session.pid)
            if first:
                self._publish(AgentReady)
        self._harness_pid = session.pid

    def _make_sessions(self) -> Sessions:
        return Sessions(self.spec, self._make_session, self._host.new_id, self._context)

    def _make_session(self, config: AgentConfig) -> Session:
        # A configuration may bring a session of its own, as the testing kit's does.
        session_type: type[Session] = getattr(config, "session_type", Session)
        session = session_type(
            config,
            start_timeout=start_timeout(),
            stop_grace=STOP_GRACE,
            host=self.spec.host,
            key=self.spec.pace_key,
            on_line=lambda line, alone: self._hear_line(session, line, alone),
            has_turn=lambda: self._has_turn(session),
            on_death=lambda: self._from_thread(self._harness_died)(session),
            on_step=self._see_steps,
            saving=SaveWatch(self.spec, config, self.life.saving, self._log),
            lock=ConversationLock(self.spec.save_dir, config.conversation_id or "", str(self)),
            variables=self._variables_of_turn,
            on_hook_failure=self._note_hook_failure,
        )
        return session

    # A new conversation for each turn.

    def _prepare_conversation(self) -> None:
        if self.spec.new_conversation_each_turn:
            self.life.steps.clear()  # They are of the conversation before.
            self._sessions.prepare()

    def _renew_conversation(self) -> None:
        used = self._session
        if used is None or self._broken or self._closing or self._ended:
            return
        if self.spec.new_conversation_each_turn:
            self._session = None
            self._sessions.retire(used)
            self._opening = self._loop.create_task(self._reopen(), context=self._context)

    # Sleeping: an idle agent gives its process back, and keeps all else.

    def _doze_later(self) -> None:
        if self._doze_timer is not None:
            self._doze_timer.cancel()
            self._doze_timer = None
        seconds = self.spec.idle_timeout
        if seconds is not None and self._session is not None and not self._broken:
            self._doze_timer = self._loop.call_later(seconds, self._fall_asleep)

    def _fall_asleep(self) -> None:
        session = self._session
        if session is None or self._broken or self._closing or self._ended:
            return
        if self.turn_envelope is not None or self.actor_inbox.turns_waiting:
            return  # The end of the turn comes back to this.
        self._log.debug("Agent falls asleep")
        self.life.count_usage(session.usage)
        self._session = None
        self._dozing = self._sessions.retire(session)
        self._dozing.add_done_callback(self._note_sleep)

    def _note_sleep(self, _: object) -> None:
        """Note that the session is closed: only now others can open the conversation."""
        self._asleep = True
        if self.spec.hub.active and not (self._closing or self._ended):
            self._publish(AgentFellAsleep)

    async def _be_woken(self) -> None:
        if self._opening is None or self._opening.done():
            # A task of its own: a turn that is abandoned meanwhile leaves the agent awake.
            self._opening = self._loop.create_task(self._reopen(), context=self._context)
        await asyncio.wait([self._opening])
        if self._session is None:
            in_use, self._in_use = self._in_use, None
            raise in_use or TurnInterrupted(f"{self} did not wake up: {self.life.last_error}")

    async def _reopen(self) -> None:
        if self._dozing is not None:
            await asyncio.wait([self._dozing])
        if self._asleep:
            self._log.debug("Agent wakes up")
        try:
            await self._open_session()
        except ConversationInUse as error:  # The turn gets it, and the agent sleeps on.
            self._in_use = error
            return
        except Exception as error:  # noqa: BLE001 (whatever the SDK raises: a failed start)
            self._crash(without_secrets(error, self.redact))
            return
        if self.turn_envelope is None:
            self._doze_later()
            self._see_steps()

    def _from_thread(self, callback: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody is left to tell.
                self._loop.call_soon_threadsafe(functools.partial(callback, *args, **kwargs))

        return call

    def _hear_line(self, session: Session, line: str, alone: bool) -> None:
        """Hear a line of a session's harness, on any thread, and whether it is nobody else's."""
        if self._session not in (None, session):
            return  # The present session has the same process, or the line is not about the turn.
        # Sorted out here: where many share a process, each would be woken for each line.
        rumour = read_rumour(line)
        if rumour is not None:
            # The turn as of now: when the loop comes to it, there may be the next.
            self._from_thread(self._hear_rumour)(rumour, self._current, alone=alone)
        elif _FELL_BEHIND in line:
            self._from_thread(self._hear_of_held_up)(self._host.monotonic(), alone=alone)

    def _has_turn(self, session: Session) -> bool:
        """Tell, on any thread, whether the harness may speak of a turn of this session."""
        lately = self._host.monotonic() - self._last_break <= _AFTERMATH
        present = self._current is not None and self._session in (None, session)
        return present or lately or session.busy

    def _hear_rumour(self, rumour: Rumour, turn: Turn | None, *, alone: bool) -> None:
        if turn is None:
            return
        failure = diagnose(self.redact(rumour.words))
        turn.suspicions.hear(rumour, failure, alone=alone)
        if failure is not None:
            self._log.debug("The harness retries: {}", failure.message)
            self._note_refusal(failure)  # Whoever it is about has the same key.

    def _hear_of_held_up(self, told_at: float, *, alone: bool) -> None:
        """Hear that the harness gave a conversation up whose agent did not read."""
        now = self._host.monotonic()
        held_up = now - told_at > _LAG and self._last_arrival < told_at - _SILENCE
        if self._current is not None and (held_up or alone):
            # What is missing now is missing for good, and the turn would end as if it were not.
            self.fail_turn(
                TurnInterrupted(
                    f"a turn of {self} was given up by the harness, since something held up"
                    " the agent's thread for 5 seconds",
                    text=self._current.text,
                    tool_calls=self._current.tool_calls,
                )
            )

    def _harness_died(self, session: Session) -> None:
        self._sessions.lose(session)
        if session is not self._session or self._broken or self._ended or self._ending is not None:
            return  # The end of one that is not used any more, or not yet, is no crash.
        self._harness_gone = True
        if self.spec.hub.active:
            self._publish(HarnessDied, pid=session.pid)
        if self.turn_envelope is None:  # A turn finds out for itself, and has an asker to tell.
            self._crash(TurnInterrupted(f"the process of agent {self.spec.name!r} died"))

    def _crash(self, error: Exception) -> None:
        if self._broken or self._ended or self._closing:
            return
        self._broken = True
        self.outcome = Outcome.RENEWED if isinstance(error, RENEWING) else Outcome.CRASHED
        self.error = error
        if self.spec.hub.active:
            self._publish(AgentCrashed, error=f"{type(error).__name__}: {error}")
        self.open_turns(open=False)
        self.life.last_error = f"{type(error).__name__}: {error}"
        self._log.debug("Agent crashed: {}", type(error).__name__)
        self._crashing = self._loop.create_task(self._finish_crash())

    def recall(self) -> None:
        """End this incarnation, to be followed by another. Callable from any thread."""
        self._recalled = True
        with contextlib.suppress(RuntimeError, AttributeError):
            # The loop is closed: it has ended. Or there is none yet: its start will see to it.
            self._loop.call_soon_threadsafe(self._be_recalled)

    def _be_recalled(self) -> None:
        self._crash(TurnInterrupted(f"{self} was restarted together with its siblings"))

    def forsake(self) -> None:
        """Leave ref and mailbox to a successor: this incarnation's loop hangs.

        Its turn is answered, or left to the successor where that is safe.
        """
        # First: the loop may be back, and is to see no crash in what follows.
        self._forsaken = self._ended = self._cut_off = True
        self._leave_turn()
        self._sessions.reap()
        super().forsake()

    async def _finish_crash(self) -> None:
        opening = self._opening
        if opening is not None and not opening.done() and opening is not asyncio.current_task():
            opening.cancel()
            await asyncio.wait([opening])
        if self._session is not None:
            await self._sessions.close(self._session, at_once=True)
            self._session = None
        await self._sessions.close_others()
        if not self._closing:  # Else `_end_now` goes on, answers, and ends the actor.
            self.retire()

    async def _close(self) -> None:
        if self._doze_timer is not None:
            self._doze_timer.cancel()
        for task in (self._opening, self._crashing, self._cancelling):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task])
        if self._dozing is not None:
            await asyncio.wait([self._dozing])  # Bounded by the session's own grace.
        if self._session is not None:
            await self._sessions.close(self._session)
            self._session = None
        await self._sessions.close_others()

    def kill(self) -> None:
        """End the agent's process at once. Callable from any thread."""
        self._sessions.kill()

    def refuse(self) -> None:
        """Take up nothing more, and tell those who wait."""
        if not self.actor_stopped.is_set():
            pykka.ActorRegistry.unregister(self.actor_ref)
            self.actor_stopped.set()
        self._reject(self.actor_inbox.close(self.dead_error, take_stops=True))

    def _disconnect(self, _: messages.Disconnect) -> Coroutine[Any, Any, None]:
        return self._end_now()

    def _delete(self, _: messages.Delete) -> Coroutine[Any, Any, None]:
        return self._end_now(delete=True)

    async def _end_now(self, *, delete: bool = False) -> None:
        """End the agent without waiting for turns; whoever waits is told."""
        if self._ended:  # Just now. The successor gets this message, or the end answers it.
            await self._loop.create_future()
        self._closing = True
        self.refuse()
        turn = self._in_flight.get(self.turn_envelope) if self.turn_envelope is not None else None
        if turn is not None:
            turn.cancel()
        try:
            await self._close()
            if delete:
                await self._sessions.delete(self.spec.conversation_id)
        finally:
            self._loop.call_soon(self._end)  # After the reply, or the error.

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        **TurnTakingActor.HANDLERS,
        messages.Disconnect: _disconnect,
        messages.Delete: _delete,
    }
    """What answers each type of message."""
