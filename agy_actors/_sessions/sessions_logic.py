"""The decisions of sessions: one pure function over their whole state, called after each change.

It applies an event to the state, then checks the whole state and returns the necessary actions. It
has no effects, reads no clock and knows no threads: the results of the actions are the next events.

Guarantees, for any order of events:

*   At most `max_awake` sessions have an agent at a time, and a session has at most one.
*   Each accepted turn is answered once: by an agent, or by an action here. It is in
    `SessionsState.turns` from `Asked` until then.
*   The turns of one session are given to its agent one at a time, in the order of their arrival.
*   No session waits forever while turns end: an idle agent makes room, the least recently used
    first, and a busy one makes room after its turn if its next turn came after the turn of a
    session that waits. So the order of arrival decides.
*   A conversation that another program asks for is closed after the running turn. If no turn has
    run since the session woke up, and one waits, it runs first: otherwise two programs could pass
    a conversation back and forth without a turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._sessions import sessions_steps as steps
from agy_actors._sessions.sessions_errors import dead_error, overdue_error
from agy_actors._sessions.sessions_state import KeyPhase, Place, SessionsPhase
from agy_actors._supervision import pool_steps

if TYPE_CHECKING:
    from collections.abc import Hashable

    from agy_actors._sessions.sessions_state import KeyState, SessionsState, Waiting
    from agy_actors._supervision.pool_state import Turn

__all__ = ["decide"]

_PAUSE = 0.5
"""Seconds for which a conversation that was handed over is left to the other program, while turns
wait here. Arbitrary: longer than the other program, which looks ten times a second, takes."""

_LAST_ANSWERS = 0.1
"""Seconds for an agent that ends to answer its questions. Arbitrary: one look at the clock."""


def decide(sessions: SessionsState, event: steps.Event, now: float) -> list[steps.Action]:
    """Change the state by an event, and return the actions that follow, in their order."""
    change = _Change(sessions, now)
    change.take(event)
    change.proceed()
    return change.actions


class _Change:
    """One event, and the actions that follow from it."""

    def __init__(self, sessions: SessionsState, now: float) -> None:
        self.sessions = sessions
        self.now = now
        self.actions: list[steps.Action] = []
        self.agents_ended = False
        """Whether no agent answers a turn any more."""

    # The event.

    def take(self, event: steps.Event) -> None:
        match event:
            case steps.Ticked():
                self._look_at_clock()
            case steps.Ending() | steps.Ended():
                self._end(event)
            case steps.WakeAsked() | steps.SleepAsked() | steps.DeleteAsked() | steps.Removed():
                self._take_request(event)
            case (
                steps.AgentReady()
                | steps.AgentDown()
                | steps.AgentEnded()
                | steps.InUse()
                | steps.Released()
                | steps.Wanted()
            ):
                self._take_report(event)
            case _:
                self._take_turn(event)

    def _take_report(self, event: steps.Report) -> None:
        match event:
            case steps.AgentReady(key):
                self._became_ready(key)
            case steps.AgentDown(key):
                self._went_down(key)
            case steps.AgentEnded(key, error):
                self._agent_ended(key, error)
            case steps.InUse(key):
                self._found_in_use(key)
            case steps.Released(key):
                self._was_released(key)
            case steps.Wanted(keys):
                self._set_wanted(keys)

    def _take_turn(
        self,
        event: steps.Asked
        | pool_steps.Finished
        | pool_steps.Freed
        | pool_steps.Lost
        | pool_steps.Refused
        | pool_steps.Cancelled,
    ) -> None:
        sessions = self.sessions
        match event:
            case steps.Asked(turn, seconds, question):
                state = sessions.get(turn.key or "", self.now)
                entry = sessions.entry(self.now, seconds)
                sessions.add(turn, Place(state, entry, question))
            case pool_steps.Finished(turn, key):
                # A turn that was cancelled is no longer among the turns.
                self._let_go(turn, key, served=True)
                sessions.turns.pop(turn, None)
                owner = sessions.keys.get(key)
                if owner is not None and event.runs_on:
                    owner.runs_on = True
            case pool_steps.Freed(key):
                self._was_freed(key)
            case pool_steps.Lost(turn, key, error):
                self._let_go(turn, key, served=True)
                self._fail(turn, error)
            case pool_steps.Refused(turn, key):
                self._was_refused(turn, key)
            case pool_steps.Cancelled(turn):
                # If its agent has it, the agent is free only after `Finished`.
                if sessions.take(turn):
                    del sessions.turns[turn]

    def _take_request(
        self, event: steps.WakeAsked | steps.SleepAsked | steps.DeleteAsked | steps.Removed
    ) -> None:
        state = self.sessions.get(event.key, self.now)
        match event:
            case steps.WakeAsked(request, _, seconds):
                if state.phase is KeyPhase.UP:
                    self._answer(request)
                else:
                    state.wakes[request] = self.sessions.entry(self.now, seconds)
            case steps.SleepAsked(request):
                if state.is_awake:
                    state.sleeps.append(request)
                else:
                    self._answer(request)
            case steps.DeleteAsked(request):
                state.deletes.append(request)
                self._fail_all(state, dead_error(self.sessions, state, "was deleted"))
            case steps.Removed(_, error):
                self.sessions.move(state, KeyPhase.ASLEEP, self.now)
                self._answer_all(state.deletes, error)

    # The actions.

    def proceed(self) -> None:
        """Add the actions that the whole state requires."""
        sessions = self.sessions
        # 1. Sessions that have ended give no turn to an agent.
        if sessions.phase is SessionsPhase.ENDED:
            self._reject_all()
        # 2. Each session that changed gives its agent the next turn, or ends it.
        while sessions.touched:
            touched, sessions.touched = sessions.touched, {}
            for state in touched:
                if sessions.phase is not SessionsPhase.ENDED:
                    self._proceed_with(state)
                sessions.settle(state)
        if sessions.phase is SessionsPhase.ENDED:
            return
        # 3. The sessions that wait longest get an agent.
        while sessions.awake < sessions.max_awake and (first := sessions.first_waiting()):
            self._start(first)
        # 4. Idle agents make room for the others.
        while sessions.idle and len(sessions.sleeping) > sessions.ending:
            self._end_agent(next(iter(sessions.idle.values())))

    def _proceed_with(self, state: KeyState) -> None:
        phase = state.phase
        if state.deletes and phase in (KeyPhase.STARTING, KeyPhase.UP):
            self._end_agent(state)
        elif state.deletes and phase is KeyPhase.ASLEEP:
            self.sessions.move(state, KeyPhase.DELETING, self.now)
            self.actions.append(steps.RemoveFiles(state.key))
        elif phase is KeyPhase.UP:
            self._give_work(state)
        elif phase is KeyPhase.ELSEWHERE and state.first is None and not state.deletes:
            self._stop_asking(state)

    def _give_work(self, state: KeyState) -> None:
        sessions = self.sessions
        leaves = bool(state.sleeps) or (state.wanted and (state.served or not state.turns))
        leaves = leaves or self._must_make_room(state)
        if leaves and state.is_free:
            # Questions take no time, except those that wait for a later event.
            if state.leaving_since is None:
                state.leaving_since = self.now
            if not state.asked or self.now - state.leaving_since >= _LAST_ANSWERS:
                self._end_agent(state)
            return
        state.leaving_since = None
        for turn in list(state.questions):
            sessions.take(turn)
            state.asked.add(turn)
            self.actions.append(pool_steps.HandOver(turn, state.key))
        if state.is_free and state.turns:
            turn = next(iter(state.turns))
            sessions.take(turn)
            state.running = turn
            self.actions.append(pool_steps.HandOver(turn, state.key))

    def _must_make_room(self, state: KeyState) -> bool:
        """Return whether a session that waits for an agent comes before this one."""
        sessions = self.sessions
        other, own = sessions.first_waiting(), state.first
        if other is None or sessions.idle or len(sessions.sleeping) <= sessions.ending:
            return False
        if own is None:
            return bool(state.asked)  # It only has questions.
        return state.served and (other.queued or 0) < own

    def _start(self, state: KeyState) -> None:
        state.was_up = state.served = state.wanted = state.runs_on = False
        state.leaving_since = None
        self.sessions.move(state, KeyPhase.STARTING, self.now)
        self.sessions.settle(state)
        self.actions.append(steps.StartAgent(state.key))

    def _end_agent(self, state: KeyState) -> None:
        self.sessions.move(state, KeyPhase.ENDING, self.now)
        self.sessions.settle(state)
        self.actions.append(steps.EndAgent(state.key, handed_over=state.wanted))

    # Agents.

    def _became_ready(self, key: str) -> None:
        state = self.sessions.touch(key)
        if state is None or state.phase is not KeyPhase.STARTING:
            return
        self.sessions.move(state, KeyPhase.UP, self.now)
        state.was_up = True
        state.idle_since = self.now
        self._answer_all(state.wakes, None)

    def _went_down(self, key: str) -> None:
        if (state := self.sessions.touch(key)) is not None and state.phase is KeyPhase.UP:
            self.sessions.move(state, KeyPhase.STARTING, self.now)

    def _agent_ended(self, key: str, error: Exception | None) -> None:
        state = self.sessions.touch(key)
        if state is None or not state.is_awake:
            return
        failed = error is not None and not state.was_up and not state.deletes
        # Otherwise this program could open the conversation again before the other one does.
        leaves = state.wanted and state.first is not None and not failed
        state.not_before = self.now + _PAUSE if leaves else self.now
        phase = KeyPhase.ELSEWHERE if leaves else KeyPhase.ASLEEP
        self.sessions.move(state, phase, self.now)
        state.runs_on = state.wanted = False
        self._answer_all(state.sleeps, None)
        if failed and error:
            self._fail_all(state, error)

    def _set_wanted(self, keys: frozenset[str]) -> None:
        for key in keys ^ {state.key for state in self.sessions.keys.values() if state.wanted}:
            state = self.sessions.touch(key)
            # One that ends is handed over, even if the request has been withdrawn meanwhile.
            if state is not None and state.phase in (KeyPhase.STARTING, KeyPhase.UP):
                state.wanted = key in keys

    def _found_in_use(self, key: str) -> None:
        state = self.sessions.touch(key)
        if state is None:
            return
        self._answer_all(state.sleeps, None)
        if state.first is None and not state.deletes:
            self.sessions.move(state, KeyPhase.ASLEEP, self.now)
            return
        self.sessions.move(state, KeyPhase.ELSEWHERE, self.now)
        self.actions.append(steps.AskOwner(key))

    def _was_released(self, key: str) -> None:
        state = self.sessions.touch(key)
        if state is None or state.phase is not KeyPhase.ELSEWHERE or self.now < state.not_before:
            return
        self._stop_asking(state)

    def _stop_asking(self, state: KeyState) -> None:
        self.sessions.move(state, KeyPhase.ASLEEP, self.now)
        self.actions.append(steps.StopAsking(state.key))

    # Turns.

    def _let_go(self, turn: Turn, key: str, *, served: bool) -> None:
        """Note that an agent has a turn or a question no longer."""
        state = self.sessions.touch(key)
        if state is None:
            return
        state.asked.discard(turn)
        if state.running is turn:
            state.running = None
            state.served = state.served or served
            state.idle_since = self.now

    def _was_freed(self, key: str) -> None:
        state = self.sessions.touch(key)
        if state is not None:
            state.runs_on = False
            state.idle_since = self.now

    def _was_refused(self, turn: Turn, key: str) -> None:
        """Let a turn wait again whose agent has ended, which will be reported."""
        self._let_go(turn, key, served=False)
        state = self.sessions.touch(key)
        if state is not None and state.phase is KeyPhase.UP:
            self.sessions.move(state, KeyPhase.ENDING, self.now)
        place = self.sessions.turns.get(turn)
        if place is not None:
            self.sessions.add(turn, place, first=True)

    def _fail(self, turn: Turn, error: BaseException) -> None:
        if self.sessions.turns.pop(turn, None) is not None:
            self.actions.append(pool_steps.FailTurn(turn, error))

    def _fail_all(self, state: KeyState, error: Exception) -> None:
        """Answer everything that waits for a session with an error."""
        for turn in [*state.turns, *state.questions]:
            self.sessions.take(turn)
            self._fail(turn, error)
        self._answer_all(state.wakes, error)

    def _reject_all(self) -> None:
        """Answer everything that waits with the error of the end."""
        sessions = self.sessions
        for turn in list(sessions.turns):
            if sessions.take(turn) or self.agents_ended:
                del sessions.turns[turn]
                self.actions.append(pool_steps.RejectTurn(turn))
        for state in list(sessions.keys.values()):
            error = dead_error(sessions, state, "has ended, with all sessions")
            self._answer_all(state.wakes, error)
            self._answer_all(state.sleeps, error)
            self._answer_all(state.deletes, error)
            if state.phase is KeyPhase.ELSEWHERE:
                self._stop_asking(state)

    def _answer(self, request: Hashable, error: Exception | None = None) -> None:
        self.actions.append(steps.AnswerRequest(request, error))

    def _answer_all(
        self, requests: list[Hashable] | dict[Hashable, Waiting], error: Exception | None
    ) -> None:
        for request in requests:
            self._answer(request, error)
        requests.clear()

    # Time.

    def _look_at_clock(self) -> None:
        sessions = self.sessions
        for state in list(sessions.keys.values()):
            if state.leaving_since is not None or (state.asked and sessions.sleeping):
                sessions.touched[state] = None
            if state.phase is not KeyPhase.UP and state.first is not None:
                self._end_overdue(state)
        if sessions.idle_timeout is None:
            return
        since = self.now - sessions.idle_timeout
        for state in list(sessions.idle.values()):
            if state.idle_since <= since:
                self._end_agent(state)

    def _end_overdue(self, state: KeyState) -> None:
        for turn in [turn for queue in (state.turns, state.questions) for turn in queue]:
            place = self.sessions.turns[turn]
            if state.deadline_of(place.entry) <= self.now:
                self.sessions.take(turn)
                self._fail(turn, overdue_error(self.sessions, state, place.entry.seconds))
        for request, entry in list(state.wakes.items()):
            if state.deadline_of(entry) <= self.now:
                del state.wakes[request]
                self.sessions.touched[state] = None
                self._answer(request, overdue_error(self.sessions, state, entry.seconds))

    # Ending.

    def _end(self, event: steps.Ending | steps.Ended) -> None:
        sessions = self.sessions
        if isinstance(event, steps.Ended) or not event.drain:
            sessions.phase = SessionsPhase.ENDED
        elif sessions.phase is SessionsPhase.UP:
            sessions.phase = SessionsPhase.DRAINING
        self.agents_ended = isinstance(event, steps.Ended)
