"""The errors for creators of agents, pools and supervisors that do not start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._agents.open_files import hint
from agy_actors._sdk.errors import AgentStartError, ConversationCorrupt, ConversationInUse
from agy_actors._sdk.start_errors import can_start_later

if TYPE_CHECKING:
    from agy_actors._actors.actor_ref import AsyncioActorRef

__all__ = ["ended_early_error", "start_error"]


def start_error(ref: AsyncioActorRef, reason: str, error: Exception) -> AgentStartError:
    """Return the error for the creator of an agent, a pool or a supervisor that did not start.

    Args:
        ref: the child that did not start.
        reason: why, as text without secrets.
        error: the error of the start.
    """
    if isinstance(error, ConversationInUse | ConversationCorrupt):
        return error
    failed = AgentStartError(
        f"{ref} did not start: {reason}{hint(error)}", retryable=can_start_later(error)
    )
    failed.__cause__ = error
    return failed


def ended_early_error(ref: AsyncioActorRef) -> AgentStartError:
    """Return the error for the creator of a child that was ended while it started."""
    return AgentStartError(f"{ref} was ended while it started", retryable=True)
