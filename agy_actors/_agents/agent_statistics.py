"""The reply to `GetStatistics`: a snapshot of one agent."""

from __future__ import annotations

import dataclasses
import enum

from google.antigravity.types import (  # noqa: TC002 (for `typing.get_type_hints`)
    SandboxStatus,
    UsageMetadata,
)

__all__ = ["AgentState", "AgentStatistics"]


class AgentState(enum.StrEnum):
    """What an agent does. Each member equals its text: `AgentState.IDLE == "idle"`."""

    STARTING = "starting"
    """Its conversation is being opened, for the first time or after a restart."""

    IDLE = "idle"
    """It has no turn."""

    WAITING = "waiting"
    """Its turn waits for its start, because the machine is overloaded or because
    `max_running_turns` turns are running."""

    BUSY = "busy"
    """It has a turn."""

    ASLEEP = "asleep"
    """It was idle for its `idle_timeout` and closed its conversation; the next turn reopens it."""

    CRASHED = "crashed"
    """It failed. Its supervisor restarts it or gives it up."""

    CLOSING = "closing"
    """It was asked to end, and closes its conversation."""

    ENDED = "ended"
    """It has ended."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatistics:
    """A snapshot of an agent."""

    name: str
    """The agent's name under its supervisor."""

    state: AgentState
    """What the agent does. An agent that is closing or has ended does not answer."""

    turns: int
    """How many turns have started since the agent was created."""

    turns_waiting: int
    """How many turns wait in its mailbox."""

    restarts: int
    """How often it was restarted."""

    total_usage: UsageMetadata
    """The tokens that the agent has used since it was created."""

    conversation_id: str
    """The id of its conversation."""

    harness_pid: int | None
    """The process id of its `localharness`, if it has one."""

    last_error: str | None
    """The error of its last restart; `None` before the first one."""

    sandbox: SandboxStatus | None = None
    """Whether its commands run in a sandbox; `None` if the harness does not report it."""

    dead_letters: int = 0
    """How many messages were told to it and never handled."""
