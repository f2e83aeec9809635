"""The errors of what waits for a session in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._sessions.sessions_state import KeyPhase

if TYPE_CHECKING:
    from agy_actors._sessions.sessions_state import KeyState, SessionsState

__all__ = ["dead_error", "overdue_error"]


def dead_error(sessions: SessionsState, state: KeyState, what: str) -> Exception:
    """Return the error of what waits for a session that ends; `what` says how."""
    return sessions.dead_error(f"session {state.key!r} {what}")


def overdue_error(sessions: SessionsState, state: KeyState, seconds: float) -> Exception:
    """Return the error of what waited too long for a session.

    Args:
        sessions: the state of all sessions.
        state: that of the session.
        seconds: how long it waited at most.
    """
    match state.phase:
        case KeyPhase.ELSEWHERE:
            why = "another program has its conversation open"
        case KeyPhase.ASLEEP:
            why = f"as many others as allowed ({sessions.max_awake}) are awake, and none is idle"
        case _:
            why = "its agent was not ready"
    return sessions.timeout_error(
        f"session {state.key!r} did not wake within {seconds:g} seconds: {why}"
    )
