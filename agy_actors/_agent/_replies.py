"""What an agent answers: frozen values, safe to hand from thread to thread."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.antigravity.types import SandboxStatus, StopReason, ToolCall, UsageMetadata
    from pydantic import BaseModel

__all__ = ["AgentStatistics", "ChatReply", "ToolInfo"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """The whole of a turn's answer."""

    text: str
    """What the model said to the user."""

    thoughts: str = ""
    """What the model thought, where it tells."""

    tool_calls: tuple[ToolCall, ...] = ()
    """The tools it called, in order."""

    usage: UsageMetadata | None = None
    """The tokens of this turn, or `None` if the model's service did not tell."""

    structured_output: Any = None
    """The data of a `response_schema`, or `None`."""

    parsed: BaseModel | None = None
    """The same as an instance of the pydantic model that the `response_schema` was."""

    stop_reason: StopReason
    """Why the turn ended; `UNSPECIFIED` is the normal end."""

    attempts: int = 1
    """How often the prompt was given to the model: more than 1 after a crash."""

    conversation_id: str
    """The conversation that the turn belongs to."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatistics:
    """A snapshot of an agent."""

    name: str
    """Its name under its supervisor."""

    state: str
    """`"starting"`, `"idle"`, `"busy"` or `"asleep"`; others cannot answer."""

    turns: int
    """The turns started in the agent's whole life."""

    turns_waiting: int
    """The turns waiting in its mailbox."""

    restarts: int
    """How often it was restarted."""

    total_usage: UsageMetadata
    """The tokens of the agent's whole life."""

    conversation_id: str
    """Its conversation."""

    harness_pid: int | None
    """The process id of its `localharness`, if it has one."""

    last_error: str | None
    """What it was last restarted for."""

    sandbox: SandboxStatus | None = None
    """Whether there is a sandbox for its commands, where the harness tells."""

    dead_letters: int = 0
    """How many messages were told to it and never handled, because it ended first."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToolInfo:
    """A tool that an agent's model is offered."""

    name: str
    """Its name; of an MCP server's, as policies have it: `"server/tool"`."""

    description: str
    """What the model is told of it; of a builtin one, what the SDK's documentation says."""

    source: str
    """`"custom"`, `"mcp"` or `"builtin"`."""

    input_schema: dict[str, Any] | None = dataclasses.field(default=None, hash=False)
    """The JSON schema of its arguments, or `None` where only the harness knows it."""
