"""`TurnRunner`: runs an agent's turns, one at a time, each from its message to its end.

It knows no actor: it takes the agent's sessions, record and clock. The methods from `take_up` to
`_finish` are the steps of a turn, in order; `TurnAttempts.run` has the steps of one attempt.
`turn_errors` decides which error a failure becomes, and whether the turn is retried.

Guarantee: a prompt is sent to the model again only if no step with side effects was observed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any

from agy_actors._actors.errors import AgyActorsError
from agy_actors._agents import turn_errors
from agy_actors._agents.abandoned_turn import leave_or_end
from agy_actors._agents.agent_messages import Send
from agy_actors._agents.agent_statistics import AgentState
from agy_actors._agents.defaults import CANCEL_GRACE, chat_timeout, stall_timeout
from agy_actors._agents.events import TurnRetried, TurnStarted, TurnWaiting
from agy_actors._agents.running_turn import RunningTurn
from agy_actors._agents.turn import Turn
from agy_actors._agents.turn_attempt import TurnAttempts
from agy_actors._agents.turn_messages import FollowTurn, TriggerTurn, unseen_end
from agy_actors._agents.turn_observer import begin_to_observe, note_for, observe_attempt
from agy_actors._agents.turn_start import check_budgets, wait_for_start
from agy_actors._sdk.errors import (
    RENEWING,
    AgentDeadError,
    BudgetExceeded,
    ConversationInUse,
    TurnError,
    TurnInterrupted,
)
from agy_actors._sdk.session_errors import SessionBroken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agy_actors._actors.envelope import Envelope
    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._agents.agent_messages import ChatReply
    from agy_actors._agents.session_keeper import SessionKeeper
    from agy_actors._agents.trigger_turns import TriggerTurns
    from agy_actors._agents.turn_slots import TurnSlot
    from agy_actors._sdk.session import Session

__all__ = ["TurnRunner"]


class TurnRunner:
    """Runs the turns of one incarnation. For the agent's loop, unless a method says otherwise.

    Args:
        agent: the incarnation's state.
        sessions: opens and replaces the session that turns run on.
        slot: the agent's part in the limit of running turns.
        triggers: the texts that the agent's triggers sent.
        crash: ends the incarnation because of an error, and returns whether it did.
        on_start: called when a turn starts.
        on_end: called when a turn has ended.
    """

    def __init__(
        self,
        agent: AgentIncarnation,
        sessions: SessionKeeper,
        slot: TurnSlot,
        triggers: TriggerTurns,
        *,
        crash: Callable[[Exception], bool],
        on_start: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self.agent = agent
        self.sessions = sessions
        self.slot = slot
        self.triggers = triggers
        self._crash = crash
        self._on_start = on_start
        self._on_end = on_end
        self._who = str(agent)
        self.attempts = TurnAttempts(agent, sessions, slot, crash)
        self.running: RunningTurn | None = None
        """The turn that runs, if one does. Any thread may read it."""
        self.last_arrival = 0.0
        """When the last step came, on the agent's clock."""
        self.last_break = -math.inf
        """When the last turn was interrupted, on the agent's clock."""

    def __repr__(self) -> str:
        return f"<TurnRunner of {self._who}: {self.running}>"

    @property
    def envelope(self) -> Envelope | None:
        """The message of the turn that runs. Callable from any thread."""
        running = self.running
        return None if running is None else running.envelope

    @property
    def current_turn(self) -> Turn | None:
        """The observed steps of the running attempt. Callable from any thread."""
        running = self.running
        return None if running is None else running.attempt

    def take_up(self, envelope: Envelope) -> None:
        """Note that a turn is taken up; `take_turn` follows."""
        self.running = RunningTurn(self.agent, envelope)
        self.agent.move(AgentState.BUSY)

    def drop(self) -> None:
        """Drop the message that was taken up: it is not a turn, although it takes the turn lane."""
        self.running = None
        self.agent.move(self.sessions.resting_state)

    async def take_turn(self, message: Any) -> ChatReply | None:
        """Carry out the message of the turn that was taken up.

        Returns:
            The reply, or `None` if no asker waits for it.

        Raises:
            AgyActorsError: the error of the turn, if an asker waits for its reply.
        """
        running = self.running
        assert running is not None
        running.task = asyncio.current_task()
        reply_to = running.envelope.reply_to
        is_sent, goes_on = isinstance(message, Send), self.agent.record.knows(running.envelope)
        # A `Send` is answered when it starts, unless it is refused.
        is_answered = is_sent and (goes_on or not self.agent.spec.budgets.retry_after)
        if is_answered and reply_to is not None and not goes_on:
            reply_to.set(None)
        try:
            reply = await self._take_turn(running, message)
        except AgyActorsError as error:
            if reply_to is not None and not is_answered:
                raise
            # No asker waits for the reply, and the agent must not crash because of the error.
            self.agent.log.warning(unseen_end(message), type(error).__name__)
            return None
        return None if is_sent else reply

    async def _take_turn(self, running: RunningTurn, message: Any) -> ChatReply:
        started = self.agent.clock()
        failure: BaseException | None = None
        try:
            self._begin(running, message, started)
            return await self._attempt_until_done(running, message)
        except asyncio.CancelledError as error:
            failure = self._cause_of_cancellation(running) or error
            if failure is error:
                raise
            raise failure from None
        except BaseException as error:
            failure = error
            raise
        finally:
            self._finish(running, started, failure)

    def _begin(self, running: RunningTurn, message: Any, started: float) -> None:
        chat = running.chat
        running.stall = (None if chat is None else chat.stall_timeout) or stall_timeout()
        seconds = (None if chat is None else chat.timeout) or chat_timeout()
        if not self.agent.record.knows(running.envelope):
            self.agent.record.end_lost_turn(self.agent.spec, started)  # Its asker gave up.
        pending = self.agent.record.take_up(running.envelope, seconds, started)
        pending.cancelled = pending.cancelled or running.cancelled
        running.cancelled = False
        running.begun = pending
        if pending.observed is not None or self.agent.spec.hub.observer is not None:
            begin_to_observe(self.agent, pending)
        is_triggered = isinstance(message, FollowTurn | TriggerTurn)
        if is_triggered or self.agent.record.notices.last_was_triggered:
            self.triggers.take_up(message)
        self._on_start()

    async def _attempt_until_done(self, running: RunningTurn, message: Any) -> ChatReply:
        agent = self.agent
        while True:
            running.attempt = Turn(agent.redact, agent.clock)
            try:
                await self._wait_until_ready(running)
                return await self._attempt(running, message)
            except (TurnError, ConversationInUse) as error:
                self.slot.leave()
                # The next incarnation has the turn, or it was answered.
                if agent.state is AgentState.ENDED:
                    running.handed_over = True
                    await _forever()
                self._note_break(error)
                self._plan_retry(running, error)
            if agent.is_ending:
                # Do not answer: the end of this incarnation hands the message over.
                running.handed_over = True
                await self._within_time(running, _forever(), "a restart")
            self.sessions.renew()

    async def _attempt(self, running: RunningTurn, message: Any) -> ChatReply:
        agent, pending = self.agent, running.pending
        pending.attempt += 1
        pending.crashes.deadline = pending.deadline
        number = agent.record.turns
        agent.log.bind(turn=number).debug("Turn starts, attempt {}", pending.attempt)
        agent.publish(TurnStarted, turn=number, attempt=pending.attempt)
        self.sessions.prepare_next()
        attempt = self.attempts.run(running, message)
        if pending.observed is None:
            return await attempt
        return await observe_attempt(pending, self.sessions.session, attempt, agent.redact)

    def _plan_retry(self, running: RunningTurn, error: TurnError | ConversationInUse) -> None:
        """Set the time of the next attempt.

        Raises:
            TurnError: there is no other attempt, and the turn ends with this.
            ConversationInUse: likewise.
        """
        agent, pending, now = self.agent, running.pending, self.agent.clock()
        decision = turn_errors.decide_retry(
            agent.spec, pending, error, streamed=running.is_streamed, now=now
        )
        if decision.mistake is not None:
            agent.log.error("The retry policy raised {}", type(decision.mistake).__name__)
        if decision.delay is None:
            if decision.error is error:
                raise error
            raise decision.error from error
        pending.not_before = now + decision.delay
        turn = agent.record.turns
        kind = type(error).__name__
        note_for(pending, "retry", attempt=pending.attempt, delay=decision.delay, error=kind)
        agent.log.bind(turn=turn).debug("Turn ended: {}, to be retried", kind)
        agent.publish(
            TurnRetried,
            turn=turn,
            attempt=pending.attempt,
            delay=decision.delay,
            error=agent.redact(str(error)),
        )

    def _cause_of_cancellation(self, running: RunningTurn) -> BaseException | None:
        """Return the error of a turn whose handler was cancelled, unless its asker cancelled it."""
        if self.agent.state is AgentState.CLOSING:
            return AgentDeadError(f"{self._who} has ended")
        return running.error

    def _note_break(self, failure: BaseException | None) -> None:
        """Note that a turn was interrupted, if the harness may still report about it."""
        if failure is not None and not isinstance(failure, RENEWING):
            self.last_break = self.agent.clock()

    def _finish(self, running: RunningTurn, started: float, failure: BaseException | None) -> None:
        agent = self.agent
        self._note_break(failure)
        if running.begun is not None and not running.goes_on_elsewhere(failure):
            kind = None if failure is None else type(failure).__name__
            agent.log.bind(turn=agent.record.turns).debug("Turn ended: {}", kind or "well")
            agent.record.end_turn(agent.spec, running.begun, agent.clock() - started, kind)
        self.slot.leave()
        self.running = None
        running.ended = True
        running.cancel_adopted()
        if running.cancelling is not None:
            running.cancelling.cancel()
        if self.sessions.lost_process:  # The turn ended before it could notice.
            self._crash(TurnInterrupted(f"the process of {self._who} died"))
        if not isinstance(failure, BudgetExceeded):  # Otherwise the session was not used.
            self.sessions.renew()
        self.sessions.schedule_idle_close()
        agent.move(self.sessions.resting_state)
        self._on_end()

    # The waits of a turn.

    async def _wait_until_ready(self, running: RunningTurn) -> None:
        """Wait until the turn may be given to the model, with a slot and an open session.

        Which waits count towards the turn's time:

        *   The wait for other turns does not: its time begins when the agent takes it up.
        *   The agent's restart, its reopening and the pause before the next attempt do.
        *   The wait for the API key's quota does not before the first attempt, where a hold that is
            longer than the turn's time is a `QuotaExceeded` at once. Before another attempt it
            does.

        `overdue_turns` is about turns in the mailbox of an agent that is being restarted.
        """
        agent, slot, spec, pending = self.agent, self.slot, self.agent.spec, running.pending
        if pending.cancelled:
            raise turn_errors.cancelled(self._who, running.turn)
        pause = pending.not_before - agent.clock()
        if pause > 0:
            await running.until_cancelled(asyncio.sleep(pause))
        begun = isinstance(pending.envelope.message, FollowTurn)  # By a trigger, in the harness.
        if spec.budgets and not begun:
            check_budgets(agent, pending)
        if not begun and (spec.pace.restricts(spec.pace_key) or not slot.take()):
            start = wait_for_start(agent, slot, pending, on_wait=self._announce_wait)
            held = running.until_cancelled(start)
            if pending.crashes.deadline is None or not spec.pace.restricts(spec.pace_key):
                await held
            else:
                await self._within_time(running, held, "the quota of its API key")
        if self.sessions.session is None:
            began = agent.clock()
            try:
                await self._within_time(running, self.sessions.reopen(), "its agent to wake up")
            except ConversationInUse:
                pending.refusals += 1
                if pending.cancelled:
                    raise turn_errors.cancelled(self._who, running.turn) from None
                raise
            note_for(pending, "wait", reason="session", seconds=agent.clock() - began)
            slot.restart_clock()
        if spec.budgets and not begun:  # Other turns may have used up a budget meanwhile.
            check_budgets(agent, pending)

    def _announce_wait(self) -> None:
        """Publish that the running turn waits for its start. Called on any thread."""
        self.agent.publish(TurnWaiting, turn=self.agent.record.turns)

    async def _within_time(self, running: RunningTurn, wait: Awaitable[object], what: str) -> None:
        """Wait for a future, until the turn's deadline."""
        pending = running.pending
        limit = asyncio.timeout(pending.deadline - self.agent.clock())
        try:
            async with limit:
                await wait
        except TimeoutError:
            if not limit.expired():
                raise
            error = self.attempts.timeout_error(running.turn, pending.seconds, (what,))
            raise error from None

    # Cancelling, and abandoning.

    def cancel(self) -> bool:
        """Cancel the turn that runs or waits for a restart, and return whether there is one."""
        running, pending = self.running, self.agent.record.pending
        session = self.sessions.session
        if running is not None and running.begun is None:
            running.cancelled = True  # Its handler starts soon, and sees this.
        elif session is None or self.agent.is_ending or (running and running.waiting is not None):
            # It waits, in this incarnation or for the next one, and gets no further attempt.
            if pending is None or pending.answered:
                return False
            pending.cancelled = True
            if running is not None and running.waiting is not None:
                running.waiting.cancel()
        elif running is None:
            return False
        elif not running.cancelled:
            running.cancelled = True
            running.cancel_adopted()
            loop = asyncio.get_running_loop()
            running.cancelling = loop.create_task(self._cancel_attempt(session))
        return True

    async def _cancel_attempt(self, session: Session) -> None:
        with contextlib.suppress(SessionBroken):  # The attempt notices it by itself.
            await session.cancel()
        await asyncio.sleep(CANCEL_GRACE)  # The turn's end cancels this task.
        session.kill()

    def interrupt(self) -> None:
        """Cancel the handler of the turn that runs: the agent ends."""
        if self.running is not None and self.running.task is not None:
            self.running.task.cancel()

    async def stop_cancelling(self) -> None:
        """End the task that cancels an attempt, if there is one."""
        cancelling = None if self.running is None else self.running.cancelling
        if cancelling is not None and not cancelling.done():
            cancelling.cancel()
            await asyncio.wait([cancelling])

    def abandon(self) -> Exception | None:
        """Leave the turn of a loop that hangs to the next incarnation, if a retry is safe.

        Callable from any thread, once the incarnation's state is `ENDED`.

        Returns:
            The error for the turn; `None` if there is no turn or the next incarnation has it.
        """
        agent, running, record = self.agent, self.running, self.agent.record
        self.slot.leave()
        agent.detach_record()
        return None if running is None else leave_or_end(agent, record, running, self.attempts)


async def _forever() -> None:
    """Wait until the incarnation's end cancels the turn."""
    await asyncio.get_running_loop().create_future()
