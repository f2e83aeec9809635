"""Answers questions about a session: those that its agent answers also during a turn.

The agent of a session does not know the turns that wait in the sessions.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from agy_actors._agents.agent_messages import Cancel, IsIdle
from agy_actors._agents.agent_statistics import AgentStatistics

if TYPE_CHECKING:
    from agy_actors._sessions.session_turns import SessionTurns
    from agy_actors._sessions.sessions_messages import Question
    from agy_actors._sessions.sessions_state import SessionsState

__all__ = ["answer_question"]


async def answer_question(question: Question, sessions: SessionsState, turns: SessionTurns) -> Any:
    """Answer a question, or let the session's agent answer it, which wakes for that.

    Args:
        question: the question.
        sessions: the state of the sessions.
        turns: passes the question to the agent.
    """
    key, message = question.key or "", question.message
    state = sessions.keys.get(key)
    if isinstance(message, IsIdle):
        return state is None or not (state.turns or state.running)
    if isinstance(message, Cancel) and (state is None or not state.is_awake):
        return False  # There is no turn to cancel, and no reason to wake the session.
    reply = await turns.ask(question)
    state = sessions.keys.get(key)
    if isinstance(reply, AgentStatistics) and state is not None:
        waiting = reply.turns_waiting + len(state.turns)
        return dataclasses.replace(reply, turns_waiting=waiting)
    return reply
