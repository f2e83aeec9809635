"""The error for a message that a supervisor, a pool or sessions do not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._actors.message import find_handler
from agy_actors._agents.agent_actor import AgentActor
from agy_actors._agents.agent_messages import Chat, Send
from agy_actors._agents.queries import unknown_message
from agy_actors._sessions.sessions_messages import (
    DeleteSession,
    LookForRequests,
    Question,
    SleepSession,
    WaitForRequest,
    WakeSession,
)
from agy_actors._supervision.pool_messages import Job, NestedJob
from agy_actors._supervision.supervisor_messages import ReturnChild

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agy_actors._actors.errors import UnknownMessage

__all__ = ["unanswered"]

_INTERNAL = {
    Job,
    NestedJob,
    ReturnChild,
    Question,
    LookForRequests,
    WaitForRequest,
    WakeSession,
    SleepSession,
    DeleteSession,
}
"""The messages that only refs send."""


def unanswered(owner: object, message: object, answered: Iterable[type]) -> UnknownMessage:
    """Return the error for a message that a supervisor or a pool does not answer.

    Args:
        owner: the supervisor or the pool; its text names it.
        message: the message.
        answered: the types of the messages that it answers.
    """
    kinds = set(answered)
    is_sessions = Question in kinds
    is_pool = Job in kinds and not is_sessions
    if is_pool:  # The ref of a pool puts a turn into a job.
        kinds |= {Chat, Send}
    public = [kind.__name__ for kind in kinds - _INTERNAL]
    hint = ""
    if isinstance(message, str) or find_handler(AgentActor.HANDLERS, message) is not None:
        whom = "agents or pools"
        if is_pool or is_sessions:
            whom = "members" if is_pool else "sessions, as in sessions[key].ask(...)"
        hint = f"; an agent answers it: ask one of its {whom}"
    return unknown_message(owner, message, public, hint)
