"""`SessionTurns`: the turns of sessions, from their askers to the agents and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agy_actors._actors.envelope import Envelope
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.agent_messages import Chat, Send, WaitForIdle
from agy_actors._agents.linked_trace import context_with_link
from agy_actors._agents.overdue_turns import seconds_of
from agy_actors._agents.turn_messages import StreamChat
from agy_actors._sdk.errors import BudgetExceeded
from agy_actors._sessions import sessions_steps as steps
from agy_actors._supervision import pool_messages, pool_steps
from agy_actors._supervision.pool_delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.message import Message
    from agy_actors._sessions.session_agents import SessionAgents
    from agy_actors._sessions.sessions_storage import SessionsStorage
    from agy_actors._supervision.pool_state import Turn

__all__ = ["SessionTurns"]


class SessionTurns:
    """Passes turns and replies between askers, the sessions and their agents.

    For the thread of the sessions. The delivery is that of pools.

    Args:
        kind: the properties of the turns.
        decide: takes an event of a turn.
        files: returns the files of the sessions.
        report: as of `Delivery`.
        reject: as of `Delivery`.
        lose: as of `Delivery`.
        now: as of `Delivery`.
        find_need: returns the need of a message for the session of a key, on any thread.
    """

    def __init__(
        self,
        kind: SessionAgents,
        *,
        decide: Callable[[steps.Event], None],
        files: Callable[[], SessionsStorage],
        report: Callable[[Callable[[], object]], None],
        reject: Callable[[list[Any]], None],
        lose: Callable[[Any, BaseException], None],
        now: Callable[[], float],
        find_need: Callable[[str, Message[Any]], Need],
    ) -> None:
        self._budgets = kind.budgets
        self._decide = decide
        self._files = files
        self._delivery = Delivery(
            kind,
            decide=self._take_event,
            report=report,
            reject=reject,
            lose=lose,
            now=now,
            find_need=lambda turn: find_need(turn.key or "", turn.work.message),
        )
        self._patient = False
        """Whether the turn that is being accepted waits for its session as long as it takes."""

    def accept(self, job: pool_messages.Job, envelope: Envelope) -> None:
        """Take a turn or a question up."""
        self._delivery.accept(job, envelope, frozenset())

    def ask(self, job: pool_messages.Job, trace: str | None = None) -> ReplyFuture[Any]:
        """Ask a session's agent, for the sessions themselves.

        Args:
            job: the message.
            trace: the span that the turn's span links to, if there is one.
        """
        reply: ReplyFuture[Any] = ReplyFuture()
        self.accept(job, Envelope(job, reply, context=context_with_link(trace)))
        return reply

    def ask_patiently(
        self, key: str, message: Message[Any], trace: str | None = None
    ) -> Awaitable[Any]:
        """Ask a session's agent as `ask`, and wait for the session as long as it takes."""
        self._patient = True
        try:
            return self.ask(pool_messages.Job(message, key), trace)
        finally:
            self._patient = False

    def carry_out(
        self, action: pool_steps.Action, agent: Callable[[str], AsyncioActorRef | None]
    ) -> None:
        """Carry out an action that concerns a turn."""
        if isinstance(action, pool_steps.HandOver):
            self._note_use(action.turn, action.member)
        self._delivery.carry_out(action, agent)

    def reject(self, turn: Turn) -> None:
        """Answer a turn with the end of the sessions."""
        self._delivery.reject(turn)

    def _note_use(self, turn: Turn, key: str) -> None:
        facts = self._files().find_awake(key)
        if facts is not None and isinstance(turn.work.message, Chat | Send | StreamChat):
            facts.last_used = current_runtime().time()

    def _refusal(self, key: str, message: object) -> BudgetExceeded | None:
        """Return the error of a turn that may not wake its session, because a budget is used up."""
        is_turn = isinstance(message, Chat | Send | StreamChat)
        if is_turn and self._budgets and self._files().find_awake(key) is None:
            try:
                self._budgets.check(f"session {key!r}")
            except BudgetExceeded as error:
                return error
        return None

    def _take_event(self, event: pool_steps.Event) -> None:
        match event:
            case pool_steps.Accepted(turn):
                message = turn.work.message
                if (refusal := self._refusal(turn.key or "", message)) is not None:
                    self._delivery.refuse(turn, refusal)
                    return
                ordered = isinstance(message, Chat | Send | StreamChat | WaitForIdle)
                seconds = math.inf if self._patient else seconds_of(message)
                self._decide(steps.Asked(turn, seconds, question=not ordered))
            case pool_steps.Finished(turn, key):
                self._note_use(turn, key)
                self._decide(event)
            case (
                pool_steps.Freed()
                | pool_steps.Lost()
                | pool_steps.Refused()
                | pool_steps.Cancelled()
            ):
                self._decide(event)
            case _:
                raise TypeError(f"{type(event).__name__} is no event of a session's turn")
