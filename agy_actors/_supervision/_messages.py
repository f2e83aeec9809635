"""The messages that a supervisor answers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from agy_actors._agent import AgentRef, RetryPolicy
from agy_actors._kernel import Message
from agy_actors._supervision._decisions import Restart

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["CreateAgent", "GetActiveAgentCount", "GetChildren", "Shutdown", "ShutdownAgent"]


@dataclasses.dataclass(frozen=True, slots=True)
class CreateAgent(Message[AgentRef]):
    """Create an agent, and be answered with its ref when it is up."""

    config: AgentConfig = dataclasses.field(repr=False)
    """The SDK's configuration; passed through whole."""

    name: str | None = None
    """Its name under this supervisor; `None` makes one up."""

    restart: Restart = Restart.PERMANENT
    retry: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)

    max_model_errors: int = 3
    """Errors of the model in a row that end a turn; 0 for no bound."""

    max_empty_steps: int = 500
    """Steps in a row with neither text nor tool call that end a turn; 0 for no bound."""


@dataclasses.dataclass(frozen=True, slots=True)
class ShutdownAgent(Message[None]):
    """End an agent, whatever it does, and be answered when nothing of it is left."""

    agent: str | AgentRef
    """Its name or its ref."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetChildren(Message[dict[str, AgentRef]]):
    """Ask for the agents, by name, in the order of their start."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetActiveAgentCount(Message[int]):
    """Ask how many agents there are."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shutdown(Message[None]):
    """End all agents, and then the supervisor. Answered when the agents have ended."""
