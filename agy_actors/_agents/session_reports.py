"""`SessionReports`: the reports of a session to its agent, while it is the agent's session.

A session may report late: its process dies or writes a line after the agent has closed the session
and opened the next one, and its hooks or triggers may still run. Such reports are not about the
next session. So each session has its own reports, and those that come after its end are dropped.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING

from agy_actors._actors.call_chain import current_caller
from agy_actors._agents.defaults import STOP_GRACE, start_timeout
from agy_actors._agents.events import TriggerFailed
from agy_actors._sdk.conversation_lock import ConversationLock
from agy_actors._sdk.error_text import ModelFailure, diagnose
from agy_actors._sdk.error_words import shorten, tidy
from agy_actors._sdk.errors import TurnInterrupted
from agy_actors._sdk.harness_events import StateNotSaved
from agy_actors._sdk.save_watch import SaveWatch
from agy_actors._sdk.session import Session
from agy_actors._sdk.stderr_hints import read_retry
from agy_actors._sdk.tools import no_observer
from agy_actors._sdk.trigger_calls import with_guarded_triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from google.antigravity import AgentConfig

    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._agents.turn import Turn
    from agy_actors._agents.turn_runner import TurnRunner
    from agy_actors._sdk.hook_calls import HookFailed
    from agy_actors._sdk.save_watch import NotSaved

__all__ = ["SessionReports", "make_session"]

_FELL_BEHIND = "subscriber fell behind"
_LAG = 0.2  # The most seconds until a running loop has seen a report. Arbitrary.
_AFTERMATH = 1.0
"""Seconds for which the harness may still report about an interrupted turn. It takes milliseconds.
Arbitrary: enough for a busy machine."""
_SILENCE = 4.0  # Seconds; the harness drops an agent that has not read for 5.


class SessionReports:
    """The reports of one session. For the agent's loop, except where a method says otherwise.

    Args:
        turns: runs the agent's turns.
        call_on_loop: calls a function on the agent's loop, from any thread.
        on_steps: called when a step has come.
    """

    def __init__(
        self,
        turns: TurnRunner,
        *,
        call_on_loop: Callable[..., None],
        on_steps: Callable[[], None],
    ) -> None:
        self._turns = turns
        self._agent = turns.agent
        self._sessions = turns.sessions
        self._call_on_loop = call_on_loop
        self._on_steps = on_steps
        self._session: weakref.ref[Session] | None = None

    @property
    def session(self) -> Session | None:
        """The session, once it is made. A weak reference: its reports do not keep it alive.

        Its reports are in the context of all tasks that its tools and hooks start.
        """
        return None if self._session is None else self._session()

    def belong_to(self, session: Session) -> None:
        """Set the session that these reports come from."""
        self._session = weakref.ref(session)

    @property
    def is_present(self) -> bool:
        """Whether this is the agent's session, or becomes it. Callable from any thread."""
        session = self.session
        return session is not None and not session.closed and self._sessions.may_use(session)

    # From the harness, on any thread.

    def hear_line(self, line: str, alone: bool) -> None:
        """Take a line of the process's standard error. Callable from any thread.

        Args:
            line: the line.
            alone: whether it cannot be about another conversation.
        """
        if not self.is_present:
            return  # The present session has the same process, or the line is not about the turn.
        # Filtered here: if many agents share a process, each line would wake all of them.
        retry = read_retry(line)
        # The turn as of now: when the loop calls back, the next one may run.
        turn = self._turns.current_turn
        if retry is not None:
            self._call_on_loop(self._note_retry, retry, turn, alone)
        elif _FELL_BEHIND in line:
            self._call_on_loop(self._hear_of_held_up, self._agent.clock(), turn, alone)

    def has_turn(self) -> bool:
        """Return whether a line may be about a turn of this session. Callable from any thread.

        That may be so for a moment after the end of an interrupted turn.
        """
        session = self.session
        if self._agent.clock() - self._turns.last_break <= _AFTERMATH:
            return True
        if session is None:
            return False
        runs = self._turns.current_turn is not None and self._sessions.may_use(session)
        return runs or session.busy

    def die(self) -> None:
        """Note that the session's process is gone. Callable from any thread."""
        session = self.session
        if session is not None:
            self._call_on_loop(self._sessions.note_death, session)

    def _note_retry(self, text: str, turn: Turn | None, alone: bool) -> None:
        if turn is None or not self.is_present:
            return
        text = self._agent.redact(text)
        failure = diagnose(text)
        if failure is not None:
            turn.stderr_hints.note(failure, alone=alone)
        else:
            failure = ModelFailure(None, None, shorten(tidy(text)))
        # Every conversation of the process has the same key.
        self._turns.attempts.note_harness_retries(turn, text, failure, alone=alone)

    def _hear_of_held_up(self, told_at: float, turn: Turn | None, alone: bool) -> None:
        """Note that the harness dropped a conversation whose agent did not read."""
        running = self._turns.running
        if running is None or turn is not running.attempt or not self.is_present:
            return
        now, last = self._agent.clock(), self._turns.last_arrival
        held_up = now - told_at > _LAG and last < told_at - _SILENCE
        if turn is not None and (held_up or alone):
            # The missing steps do not come later, and the turn would end as if it were complete.
            running.fail(
                TurnInterrupted(
                    f"a turn of {self._agent} was dropped by the harness, since something held up"
                    " the agent's thread for 5 seconds",
                    text=turn.text,
                    tool_calls=turn.tool_calls,
                )
            )

    # From the conversation.

    def see_steps(self) -> None:
        """Note that a step has come."""
        if self.is_present:
            self._turns.last_arrival = self._agent.clock()
            self._on_steps()

    def around(self, *, variables: bool = True) -> AbstractContextManager[None]:
        """Return the context in which tools and hooks run.

        Args:
            variables: whether they get the context variables of the turn's asker.
        """
        if not self.is_present:
            return contextlib.nullcontext()
        return self._users_code(variables=variables)

    @contextlib.contextmanager
    def _users_code(self, *, variables: bool) -> Iterator[None]:
        turn = self._turns.running if variables else None
        context = None if turn is None else turn.context
        # The turn itself tells which actors wait for it.
        lent = [item for item in (context or {}).items() if item[0] is not current_caller]
        tokens: list[tuple[Any, Any]] = [(var, var.set(value)) for var, value in lent]
        try:
            with self._turns.slot.in_users_code():
                yield
        finally:
            for variable, token in reversed(tokens):
                variable.reset(token)

    def around_tool(
        self, name: str, arguments: dict[str, Any]
    ) -> AbstractContextManager[Callable[[BaseException], None]]:
        """Return the context manager in which a tool of the configuration is called."""
        turn = self._turns.running if self.is_present else None
        observed = None if turn is None or turn.begun is None else turn.begun.observed
        if observed is None:
            return no_observer(name, arguments)
        return observed.call_tool(name, arguments)

    def note_hook_failure(self, failure: HookFailed) -> None:
        """Log that a hook or a handler failed, also at the session's end."""
        log = self._agent.log
        log.warning("The {} failed: {}", failure.hook, failure.kind)
        log.debug("{}", self._agent.redact(str(failure)))

    def note_not_saved(self, failure: NotSaved) -> None:
        """Log and publish that a part of the conversation cannot be saved."""
        self._agent.log.warning(
            "Not all of the conversation of {} is saved, and what is missing will be lost at its"
            " next restart; make room, or make this path writable again: {}: {}",
            self._agent,
            failure.path,
            failure.reason,
        )
        self._agent.publish(StateNotSaved, path=failure.path, reason=failure.reason)

    # From triggers.

    async def send(self, text: str) -> None:
        """Receive a text that a trigger sends."""
        if self.is_present:
            await self._turns.triggers.send(text)

    def note_trigger_failure(self, trigger: str, error: str) -> None:
        """Log and publish that a trigger raised an exception."""
        words = self._agent.redact(error)
        self._agent.log.warning("Trigger {!r} failed and does not run any more: {}", trigger, words)
        self._agent.publish(TriggerFailed, trigger=trigger, error=words)


def make_session(config: AgentConfig, agent: AgentIncarnation, reports: SessionReports) -> Session:
    """Make the session of a configuration, which reports to its agent."""
    spec = agent.spec
    # A configuration may have its own type of session, such as the testing kit's.
    session_type: type[Session] = getattr(config, "session_type", Session)
    saving = lock = None
    if config.save_dir:  # A conversation for one turn is not saved: see `OpenSessions`.
        saving = SaveWatch(config, spec.save_dir, agent.record.saving, reports.note_not_saved)
        lock = ConversationLock(spec.save_dir, config.conversation_id or "", str(agent))
    session = session_type(
        with_guarded_triggers(config, reports.send, reports.note_trigger_failure),
        start_timeout=start_timeout(),
        stop_grace=STOP_GRACE,
        process_pool=spec.process_pool,
        key=spec.pace_key,
        saving=saving,
        packed=spec.packed,
        lock=lock,
        on_line=reports.hear_line,
        has_turn=reports.has_turn,
        on_death=reports.die,
        on_step=reports.see_steps,
        around=reports.around,
        around_tool=reports.around_tool,
        on_hook_failure=reports.note_hook_failure,
    )
    reports.belong_to(session)
    return session
