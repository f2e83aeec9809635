"""`SessionKeeper`: opens, replaces and closes the session that an incarnation's turns run on.

*   An agent that is idle for its `idle_timeout` closes its session; the next turn reopens it.
*   If each turn has its own conversation, the session is replaced after each turn.

All methods are for the agent's loop, unless stated otherwise.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING

from agy_actors._agents.agent_statistics import AgentState
from agy_actors._agents.events import AgentFellAsleep
from agy_actors._agents.open_sessions import OpenSessions
from agy_actors._sdk.errors import ConversationInUse, TurnInterrupted
from agy_actors._sdk.harness_events import HarnessDied, HarnessStarted
from agy_actors._sdk.start_errors import without_secrets
from agy_actors._supervision.events import AgentReady

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from google.antigravity import AgentConfig

    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._sdk.session import Session

__all__ = ["SessionKeeper"]


class SessionKeeper:
    """Manages the session that turns run on.

    Args:
        agent: the incarnation's state.
        make: makes a session from a configuration.
        new_id: returns the id of a new conversation.
        crash: ends the incarnation because of an error.
        turns_wait: returns whether turns wait in the agent's mailbox.
        is_stopping: returns whether the incarnation was told to stop, or has ended.
        on_idle: called when the session was reopened and no turn runs.
    """

    def __init__(
        self,
        agent: AgentIncarnation,
        make: Callable[[AgentConfig], Session],
        new_id: Callable[[], str],
        *,
        crash: Callable[[Exception], object],
        turns_wait: Callable[[], bool],
        is_stopping: Callable[[], bool],
        on_idle: Callable[[], None],
    ) -> None:
        self._agent = agent
        self._crash = crash
        self._turns_wait = turns_wait
        self._is_stopping = is_stopping
        self._on_idle = on_idle
        self._open = OpenSessions(agent.spec, make, new_id)
        self._context = contextvars.Context()
        self.session: Session | None = None
        """The session for turns; `None` while no session is open."""
        self._opening: asyncio.Task[None] | None = None
        """The task that opens the first session, or another one."""
        self._falling_asleep: asyncio.Task[None] | None = None
        """The timer that closes the session of an idle agent."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._is_up = False
        """Whether a session was opened since the start, or since the agent fell asleep."""
        self._announced_pid: int | None = None
        self._refusal: ConversationInUse | None = None
        """The error that prevented the session from being reopened."""
        self.lost_process = False
        """Whether the process of the session for turns has died."""

    def __repr__(self) -> str:
        return f"<SessionKeeper of {self._agent}: {self.session}, up: {self._is_up}>"

    @property
    def pid(self) -> int | None:
        """The process that a turn runs on, or that the next one will. Callable from any thread."""
        if self.session is not None:
            return self.session.pid
        # Between the sessions of two turns, another is open.
        closed = not self._is_up and self._agent.state is not AgentState.STARTING
        return None if closed else self._open.pid

    @property
    def resting_state(self) -> AgentState:
        """The state of an agent without a turn."""
        return AgentState.IDLE if self._is_up else AgentState.ASLEEP

    @property
    def has_unasked_turn(self) -> bool:
        """Whether the harness has begun a turn by itself that no turn of the agent will read."""
        session = self.session
        if self._agent.state is not AgentState.IDLE or session is None:
            return False
        return session.busy and not self._turns_wait()

    def may_use(self, session: Session) -> bool:
        """Return whether the agent has no other session. Callable from any thread."""
        return self.session in (None, session)

    # Opening.

    def start(self, opening: Coroutine[None, None, None]) -> None:
        """Run `opening`, which calls `open`, in the context that all sessions are opened in.

        The SDK's tasks, in which tools run, keep that context.
        """
        self._context = contextvars.copy_context()
        self._open.start(self._context)
        self._opening = asyncio.get_running_loop().create_task(opening, context=self._context)

    async def open(self) -> None:
        """Open a session for turns.

        Raises:
            Exception: what its start failed with.
        """
        agent = self._agent
        session = self.session = await self._open.open()
        was_up, self._is_up = self._is_up, True
        self.lost_process = False
        agent.record.resume(session.history, session.usage)
        if not was_up or session.pid != self._announced_pid:
            agent.publish(HarnessStarted, pid=session.pid)
        if not was_up:
            agent.publish(AgentReady)
        self._announced_pid = session.pid
        if agent.state in (AgentState.STARTING, AgentState.ASLEEP):
            agent.move(AgentState.IDLE)

    async def wait_until_open(self) -> None:
        """Wait until the present attempt to open a session has ended, successfully or not."""
        if self._opening is not None:
            await asyncio.wait([self._opening])

    async def reopen(self) -> None:
        """Open the session for a turn that found no open one.

        Raises:
            ConversationInUse: another agent has the conversation open.
            TurnInterrupted: the session could not be opened, and the incarnation crashes.
        """
        if self._opening is None or self._opening.done():
            # A separate task: if the turn is abandoned meanwhile, the agent stays awake.
            self._begin_to_reopen()
        await self.wait_until_open()
        if self.session is None:
            refusal, self._refusal = self._refusal, None
            raise refusal or TurnInterrupted(
                f"{self._agent} did not wake up: {self._agent.record.last_error}"
            )

    def _begin_to_reopen(self) -> None:
        loop = asyncio.get_running_loop()
        self._opening = loop.create_task(self._reopen_session(), context=self._context)

    async def _reopen_session(self) -> None:
        agent = self._agent
        if self._falling_asleep is not None:
            await asyncio.wait([self._falling_asleep])
        if not self._is_up:
            agent.log.debug("Agent wakes up")
        try:
            await self.open()
        except ConversationInUse as error:  # The turn gets it, and the agent stays asleep.
            self._refusal = error
            return
        except Exception as error:  # noqa: BLE001 (any error of the SDK is a failed start)
            self._crash(without_secrets(error, agent.redact))
            return
        if agent.state is AgentState.IDLE:
            self.schedule_idle_close()
            self._on_idle()

    # A new conversation for each turn.

    def prepare_next(self) -> None:
        """Begin to open the next conversation, if each turn has its own."""
        if self._agent.spec.new_conversation_each_turn:
            self._agent.record.steps.clear()  # They belong to the previous conversation.
            self._open.prepare()

    def renew(self) -> None:
        """Leave the conversation that a turn has used, if each turn has its own."""
        used = self.session
        if not self._agent.spec.new_conversation_each_turn or used is None:
            return
        if not self._agent.is_ending:
            self.session = None
            self._open.retire(used)
            self._begin_to_reopen()

    # Falling asleep.

    def schedule_idle_close(self) -> None:
        """Close the session when the agent has been idle for its `idle_timeout` from now on."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        seconds = self._agent.spec.idle_timeout
        if seconds is not None and self.session is not None and not self._agent.is_ending:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(seconds, self._close_idle_session)

    def _close_idle_session(self) -> None:
        agent, session = self._agent, self.session
        if session is None or agent.state is not AgentState.IDLE or self._turns_wait():
            return  # The end of a turn schedules this again.
        agent.log.debug("Agent falls asleep")
        agent.record.count_usage(session.usage)
        self.session = None
        self._falling_asleep = self._open.retire(session)
        self._falling_asleep.add_done_callback(self._note_sleep)

    def _note_sleep(self, _: object) -> None:
        """Note that the session is closed: only now can others open the conversation."""
        agent = self._agent
        self._is_up = False
        if agent.state is AgentState.IDLE:
            agent.move(AgentState.ASLEEP)
        if not agent.is_ending:
            agent.publish(AgentFellAsleep)

    # The end.

    def note_death(self, session: Session) -> None:
        """Note that a session's process has died."""
        agent = self._agent
        self._open.lose(session)
        if session is not self.session or agent.is_ending or self._is_stopping():
            return  # It is not in use yet, or no longer in use.
        self.lost_process = True
        agent.publish(HarnessDied, pid=session.pid)
        if agent.state is AgentState.IDLE:  # A turn notices by itself, and has an asker to tell.
            self._crash(TurnInterrupted(f"the process of agent {agent.spec.name!r} died"))

    def cancel_opening(self) -> None:
        """Cancel the present attempt to open a session, if there is one."""
        if self._opening is not None:
            self._opening.cancel()

    async def _stop_opening(self) -> None:
        opening = self._opening
        if opening is not None and not opening.done() and opening is not asyncio.current_task():
            opening.cancel()
            await asyncio.wait([opening])

    async def close(self, *, at_once: bool = False) -> None:
        """Close all sessions.

        Args:
            at_once: kill the process of the session for turns, and do not wait for it.
        """
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        await self._stop_opening()
        if self._falling_asleep is not None:
            await asyncio.wait([self._falling_asleep])  # Bounded by the session's own grace.
        if self.session is not None:
            await self._open.close(self.session, at_once=at_once)
            self.session = None
        await self._open.close_others()

    async def delete_conversation(self) -> None:
        """Remove the agent's saved conversation, which is closed.

        Raises:
            ConversationInUse: another agent has opened it meanwhile. Nothing was removed.
            OSError: a file cannot be removed.
        """
        await self._open.delete(self._agent.spec.conversation_id)

    def kill(self) -> None:
        """End the processes of all sessions at once. Callable from any thread."""
        self._open.kill()

    def reap(self) -> None:
        """Kill all processes and wait for their end, for a loop that hangs. Thread-safe."""
        self._open.reap()
