"""The messages that create agents, and that list them."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from google.antigravity import AgentConfig

from agy_actors._actors.message import Message
from agy_actors._agents.agent_ref import AgentRef
from agy_actors._agents.budget import Budget  # noqa: TC001 (for `typing.get_type_hints`)
from agy_actors._agents.retry_policy import RetryPolicy
from agy_actors._sdk.make_agent import copy_config
from agy_actors._supervision.creation import Creation, fix_name
from agy_actors._supervision.restart_policy import Restart
from agy_actors._supervision.validation import check_name

__all__ = [
    "CreateAgent",
    "GetActiveAgentCount",
    "GetChildren",
    "GetOrCreateAgent",
    "fix_creation",
]


def fix_creation(message: Creation[Any]) -> None:
    """Copy the configuration and normalize the name, so that later changes have no effect."""
    config = getattr(message, "config", None)
    if isinstance(config, AgentConfig):
        object.__setattr__(message, "config", copy_config(config))
    fix_name(message)


@dataclasses.dataclass(frozen=True, slots=True)
class CreateAgent(Creation[AgentRef]):
    """Create an agent. The reply is its ref, once it is ready."""

    kind: ClassVar[str] = "agent"
    """The kind of child, for generated names."""

    config: AgentConfig = dataclasses.field(repr=False)
    """The SDK's configuration, passed through unchanged."""

    name: str | None = None
    """Its name under this supervisor; `None` generates one."""

    restart: Restart = Restart.PERMANENT
    """Whether it is restarted after a failure."""

    retry: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)
    """When a failed turn is retried."""

    max_model_errors: int = 3
    """How many consecutive errors of the model end a turn; 0 for no limit."""

    max_empty_steps: int = 500
    """How many consecutive steps without text or tool call end a turn; 0 for no limit."""

    idle_timeout: float | None = None
    """Seconds without a turn after which it releases its process until the next turn."""

    stop_timeout: float = 10.0
    """The seconds within which it must end, or finish its turns when it is drained."""

    budget: Budget | None = None
    """Limits the tokens of its turns; `None` for no limit of its own."""

    def __post_init__(self) -> None:
        fix_creation(self)

    new_conversation_each_turn: bool = False
    """Whether each turn has a conversation of its own. For members of pools."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetOrCreateAgent(CreateAgent):
    """Ask for the ref of the agent with this name, once ready; create it if it does not exist.

    The fields other than the name have an effect only if this message creates the agent.

    Raises:
        InvalidConfig: the name is invalid.
    """

    def __post_init__(self) -> None:
        CreateAgent.__post_init__(self)
        check_name(self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class GetChildren(Message[dict[str, AgentRef]]):
    """Ask for the agents by name, in the order of their start."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetActiveAgentCount(Message[int]):
    """Ask how many agents exist, here and below."""
