"""The needs of turns that wait for their session, to detect deadlocks: see `deadlock`.

A turn of an awake session needs the session's agent. If the session sleeps and as many others are
awake as allowed, it needs any of their agents to end a turn.

The functions are called on any thread, and read the state without a lock. The state may have
changed already, which does no harm: see `pool_needs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._actors.deadlock import CAN_COME, AnyOf, waits_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.message import Message
    from agy_actors._sessions.sessions_state import SessionsState

__all__ = ["need_of_key"]


def need_of_key(
    sessions: SessionsState,
    key: str,
    message: Message[Any],
    find: Callable[[str], AsyncioActorRef | None],
    a_turn: Message[Any],
) -> Need:
    """Return the need of a message that waits for a session.

    Args:
        sessions: the state.
        key: the session's key.
        message: the message: a turn, or a question, which needs no turn to end.
        find: returns the ref of a session's agent.
        a_turn: an example of a message for agents.
    """
    own = find(key)
    if own is not None:
        return waits_of(own.actor_urn, message, None)
    if sessions.awake < sessions.max_awake:
        return CAN_COME
    agents = [find(other) for other, state in list(sessions.keys.items()) if state.is_awake]
    if not agents or None in agents:
        return CAN_COME  # One is ending, and makes room.
    return AnyOf(tuple(waits_of(a.actor_urn, a_turn, None) for a in agents if a is not None))
