"""`AgentActor`: exactly one SDK agent, on its own thread and loop.

An incarnation has an `AgentIncarnation` (its state and its record), a `SessionKeeper`, a
`TurnRunner` and `Queries`. This module connects them. Its states:

    starting -> idle <-> (waiting ->) busy      a turn
                idle <-> asleep                 without a turn for `idle_timeout` seconds
    any of these -> crashed                     the session became unusable: a successor with the
                                                same mailbox, ref, conversation and record follows
    any of these -> closing -> ended            its end was requested

Guarantees:

*   However an incarnation ends, its sessions are closed before its loop is.
*   No incarnation follows one that was asked to end, even if it then fails.
*   A stop waits for the turns that were asked before it. `StopNow`, `Disconnect` and `Delete` do
    not.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from agy_actors._actors import registry
from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.errors import AgyActorsError, MailboxFull
from agy_actors._actors.future_owner import fail
from agy_actors._actors.incarnation import Outcome
from agy_actors._actors.message import StopNow, find_handler
from agy_actors._actors.not_constructible import MadeForUsers
from agy_actors._agents import agent_messages as messages
from agy_actors._agents.agent_incarnation import AgentIncarnation
from agy_actors._agents.agent_statistics import AgentState
from agy_actors._agents.overdue_turns import OverdueTurns
from agy_actors._agents.queries import ANSWERS, Queries, unknown_message
from agy_actors._agents.record import AgentSpec
from agy_actors._agents.session_keeper import SessionKeeper
from agy_actors._agents.session_reports import SessionReports, make_session
from agy_actors._agents.trigger_turns import TriggerTurns
from agy_actors._agents.turn_caller import TurnCaller
from agy_actors._agents.turn_messages import FollowTurn, StreamChat, TriggerTurn
from agy_actors._agents.turn_observer import note_for
from agy_actors._agents.turn_runner import TurnRunner
from agy_actors._agents.turn_slots import TurnSlot
from agy_actors._sdk.errors import RENEWING, AgentDeadError, TurnInterrupted
from agy_actors._sdk.start_errors import without_secrets
from agy_actors._supervision.events import AgentCrashed, AgentStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import AgentConfig
    from pykka._envelope import Envelope as AnyEnvelope

    from agy_actors._actors.envelope import Envelope
    from agy_actors._actors.incarnation import Owner
    from agy_actors._agents.record import AgentRecord
    from agy_actors._agents.turn_crashes import TurnCrashes
    from agy_actors._sdk.session import Session

__all__ = ["AgentActor"]


def _answer(query: Callable[..., Any], actor: AgentActor, message: object) -> Any:
    return query(actor._queries, actor.agent, message)  # noqa: SLF001 (one concept)


class AgentActor(MadeForUsers, AsyncioActor):
    """One incarnation of an agent. Only `supervisor.create_agent(...)` makes it.

    Args:
        spec: the facts from which the agent was created.
        record: the data that outlives the incarnation.
        owner: gets a report when the incarnation is ready, and when it has ended.
    """

    use_daemon_thread: ClassVar[bool] = True  # The supervisors' exit hook ends it in order.
    _reports_failures: ClassVar[bool] = True
    _unabandonable: ClassVar[tuple[type, ...]] = (messages.Disconnect, messages.Delete)
    _hurrying: ClassVar[tuple[type, ...]] = (StopNow, *_unabandonable)

    _made_from = AgentSpec
    _call_instead = "`supervisor.create_agent(...)` creates one, and returns its ref"

    def __init__(self, spec: AgentSpec, record: AgentRecord, owner: Owner) -> None:
        super().__init__()
        self.spec = spec
        self._owner = owner
        agent = self.agent = AgentIncarnation(spec, record, self._runtime.monotonic)
        self.actor_inbox.actor_name = str(agent)
        # An MCP server is started with the first turn: that delay says nothing about the machine.
        measures = not spec.config.mcp_servers
        slot = TurnSlot(spec.slots, lambda: self.actor_urn, agent.clock, measures=measures)
        self._sessions = SessionKeeper(
            agent,
            self._make_session,
            self._runtime.new_id,
            crash=self._crash,
            turns_wait=lambda: self.actor_inbox.turns_waiting > 0,
            is_stopping=lambda: self._ended or self._is_stopping,
            on_idle=self._follow_unasked_turn,
        )
        self._triggers = TriggerTurns(
            record.notices, self._insert_turn, lambda: self.record.runs_triggers
        )
        self._queries = Queries(
            agent, self._sessions, lambda: self.actor_inbox, lambda: self.actor_urn
        )
        self._turns = TurnRunner(
            agent,
            self._sessions,
            slot,
            self._triggers,
            crash=self._crash,
            on_start=self._queries.wake,
            on_end=self._after_turn,
        )
        self._overdue: OverdueTurns | None = None
        self._crashing: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return str(self.agent) if hasattr(self, "agent") else super().__str__()

    # For the supervisor. Callable from any thread.

    @property
    def harness_pid(self) -> int | None:
        """The process id of its `localharness`, if it has one."""
        return self._sessions.pid

    @property
    def record(self) -> AgentRecord:
        """The data that outlives the incarnation."""
        return self.agent.record

    @property
    def state(self) -> AgentState:
        """What the agent does."""
        return self.agent.state

    @property
    def has_crashed(self) -> bool:
        """Whether this incarnation takes no more turns, even if it has not ended yet."""
        return self.agent.state is AgentState.CRASHED

    @property
    def crashed_turn(self) -> TurnCrashes | None:
        """Which turn crashed this incarnation, if one did."""
        return self._turns.attempts.crashed_turn

    def redact(self, text: str) -> str:
        """Return the text without the agent's secrets."""
        return self.agent.redact(text)

    def _kill(self) -> None:
        """End the agent's processes at once."""
        self._sessions.kill()

    def refuse(self) -> None:
        """Take up no further turn, and answer the waiting askers."""
        if not self.actor_stopped.is_set():
            registry.unregister(self.actor_ref)
            self.actor_stopped.set()
        self._reject(self.actor_inbox.close(self.dead_error, take_stops=True))

    def _abandon(self) -> None:
        """Leave ref and mailbox to a successor: this incarnation's loop hangs.

        Its turn is answered, or left to the successor where that is safe.
        """
        # First: the loop may run again, and must not take the following for a crash.
        self._life.mark_abandoned()
        self.agent.move(AgentState.ENDED)
        envelope = self._turns.envelope
        error = self._turns.abandon()
        if envelope is not None and error is not None:
            self._messages.in_flight.pop(envelope, None)
            fail(envelope.reply_to, error)
        self._sessions.reap()
        super()._abandon()

    def dead_error(self) -> Exception:
        error = AgentDeadError(f"{self.agent} has ended")
        error.__cause__ = self._cause
        return error

    def caller_name(self) -> str:
        return str(self.agent)

    def on_dead_letter(self, message: Any) -> None:
        self.agent.log.warning("Agent ended before it handled a {}", type(message).__name__)
        self.agent.note_dead_letter(message)

    # The start.

    def on_start(self) -> None:
        self._messages.open_turns(open=False)
        self._overdue = OverdueTurns(
            self.spec,
            self.record,
            self.actor_inbox,
            self._loop,
            lambda: self._messages.turns_open or self._ended,
        )
        self.agent.publish(AgentStarted, restarts=self.record.restarts)
        self._sessions.start(self._open())
        if self._life.restart_requested:
            self._restart()

    def _report_ready(self) -> None:
        """Report nothing yet: `_open` does, when a session is open."""

    def _on_turns_held(self) -> None:
        if self._overdue is not None:
            self._overdue.look()

    async def _open(self) -> None:
        self.agent.log.debug("Agent starts")
        try:
            await self._sessions.open()
        except Exception as error:  # noqa: BLE001 (any error of the SDK goes to the starter)
            self.agent.move(AgentState.CRASHED)
            self._outcome, self._failed_with = Outcome.FAILED, without_secrets(error, self.redact)
            self._retire()
            return
        self.agent.log.debug("Agent is ready")
        super()._report_ready()
        self.record.restarts_done += 1
        self._messages.open_turns(open=True)
        self._triggers.look()  # For the messages that were sent to the previous incarnation.
        self._sessions.schedule_idle_close()
        self._loop.call_soon(self._queries.look_for_idle)

    def _make_session(self, config: AgentConfig) -> Session:
        reports = SessionReports(
            self._turns, call_on_loop=self._call_on_loop, on_steps=self._follow_unasked_turn
        )
        session = make_session(config, self.agent, reports)
        # The SDK's tasks, in which tools run, keep the context that opens the session.
        caller = TurnCaller(
            self, self._messages.thread_id, self.spec.name, self._turns, lambda: reports.is_present
        )
        current_caller.set(caller)
        return session

    def _call_on_loop(self, callback: Callable[..., object], *args: Any) -> None:
        """Call a function on the loop, from any thread. If the loop is closed, do nothing."""
        # It is closed, or does not exist yet.
        with contextlib.suppress(RuntimeError, AttributeError):
            self._loop.call_soon_threadsafe(functools.partial(callback, *args))

    # Messages.

    def _on_taken(self, envelope: Any) -> None:
        self._turns.take_up(envelope)

    def _on_dropped(self, envelope: Any) -> None:
        if self.record.knows(envelope):  # Its asker gave up during the restart.
            self.record.end_lost_turn(self.spec, self.agent.clock())

    def on_receive(self, message: Any) -> Any:
        handler = self.HANDLERS.get(type(message)) or find_handler(self.HANDLERS, message)
        if handler is not None:
            return handler(self, message)
        if self._turns.envelope is self._messages.handling:
            self._turns.drop()  # It is not a turn, although it takes the turn lane.
        raise unknown_message(self, message, messages.__all__)

    def _after_turn(self) -> None:
        self._triggers.look()
        self._follow_unasked_turn()
        self._loop.call_soon(self._queries.look_for_idle)

    def _follow_unasked_turn(self) -> None:
        """Run a turn that the harness began, so that it is recorded, counted and bounded."""
        if self._sessions.has_unasked_turn:
            with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
                self.actor_ref.tell(FollowTurn())

    def _insert_turn(self, envelope: Envelope, behind: int) -> bool:
        abandoned = self.state is AgentState.ENDED
        return not abandoned and self.actor_inbox.insert_turn(envelope, behind=behind)

    # Failures.

    def _answer_error(self, envelope: AnyEnvelope[Any], error: BaseException) -> None:
        """Answer a message that failed. One that was told and not asked never ends the agent.

        If the message is the cause, it is a dead letter. Anything else is a mistake in the
        agent's own code: the incarnation crashes, and its supervisor restarts it.
        """
        if envelope.reply_to is not None:
            super()._answer_error(envelope, error)
        elif isinstance(error, AgyActorsError) or isinstance(envelope.message, tuple):
            self.agent.drop(envelope.message, error)
        else:
            self._crash(self.agent.log_mistake(error))

    def _fail(self, error: BaseException) -> None:
        self._crash(self.agent.log_mistake(error))

    def _restart(self) -> None:
        if self._overdue is not None:  # Otherwise `on_start` calls this again.
            self._crash(TurnInterrupted(f"{self} was restarted together with its siblings"))

    def _crash(self, error: Exception) -> bool:
        """End this incarnation because of an error, unless it is already ending.

        Returns:
            Whether this is the reason of its end.
        """
        if self._ended or not self.agent.move(AgentState.CRASHED):
            return False
        self._outcome = Outcome.RENEWED if isinstance(error, RENEWING) else Outcome.CRASHED
        self._failed_with = error
        said = f"{type(error).__name__}: {error}"
        note_for(self.record.pending, "crash", error=said)
        self.agent.publish(AgentCrashed, error=said)
        self._messages.open_turns(open=False)
        self.record.last_error = said
        self.agent.log.debug("Agent crashed: {}", type(error).__name__)
        self._crashing = self._loop.create_task(self._finish_crash())
        return True

    async def _finish_crash(self) -> None:
        await self._sessions.close(at_once=True)
        # If the agent is closing, `_end_now` continues and ends the actor.
        if self.state is not AgentState.CLOSING:
            self._retire()

    # The end.

    async def on_stop(self) -> None:  # type: ignore[override] # pykka: or async
        self.agent.move(AgentState.CLOSING)
        await self._close()

    async def _finish_messages(self) -> None:
        if self.actor_inbox.turns_waiting:
            await self._sessions.wait_until_open()  # The turns came before the stop.
        await super()._finish_messages()

    def _hurry(self) -> None:
        # An error caused by the end of the turn is not a crash.
        self.agent.move(AgentState.CLOSING)
        self._sessions.cancel_opening()
        super()._hurry()

    async def _end_now(self, *, delete: bool = False) -> None:
        """End the agent without waiting for turns; waiting askers are answered."""
        # It was abandoned just now. The next incarnation gets this message, or the end answers it.
        if self._ended:
            await self._loop.create_future()
        self.agent.move(AgentState.CLOSING)
        self.refuse()
        self._turns.interrupt()
        try:
            await self._close()
            if delete:
                await self._sessions.delete_conversation()
        finally:
            self._loop.call_soon(self._end)  # After the reply, or the error.

    async def _close(self) -> None:
        if self._crashing is not None and not self._crashing.done():
            self._crashing.cancel()
            await asyncio.wait([self._crashing])
        await self._turns.stop_cancelling()
        await self._sessions.close()

    async def _wind_up(self) -> None:
        try:
            await super()._wind_up()
        finally:
            await self._close()  # The base class calls no `on_stop` for an actor that failed.

    def _after_loop(self) -> None:
        self.agent.move(AgentState.ENDED)
        super()._after_loop()

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        **{kind: functools.partial(_answer, answer) for kind, answer in ANSWERS.items()},
        **dict.fromkeys(
            (messages.Chat, StreamChat, messages.Send, FollowTurn, TriggerTurn),
            lambda self, message: self._turns.take_turn(message),
        ),
        messages.Cancel: lambda self, _: self._turns.cancel(),
        messages.Disconnect: lambda self, _: self._end_now(),
        messages.Delete: lambda self, _: self._end_now(delete=True),
    }
    """The method that answers each type of message."""
