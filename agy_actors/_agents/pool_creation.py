"""The messages that create pools of agents and list them, and the checks of their arguments."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from google.antigravity import AgentConfig  # noqa: TC002 (for `typing.get_type_hints`)

from agy_actors._actors.message import Message
from agy_actors._agents.budget import Budget  # noqa: TC001 (for `typing.get_type_hints`)
from agy_actors._agents.creation_messages import CreateAgent, fix_creation
from agy_actors._agents.pool_ref import PoolRef
from agy_actors._agents.retry_policy import RetryPolicy
from agy_actors._supervision.creation import Creation
from agy_actors._supervision.restart_policy import Restart
from agy_actors._supervision.routing import Routing

__all__ = ["CreatePool", "GetPools", "create_member"]


@dataclasses.dataclass(frozen=True, slots=True)
class CreatePool(Creation[PoolRef]):
    """Create a pool of agents. The reply is its ref, once all members are ready."""

    kind: ClassVar[str] = "pool"
    """The kind of child, for generated names."""

    config: AgentConfig = dataclasses.field(repr=False)
    """The SDK's configuration of each member, passed through unchanged."""

    size: int = 4
    """The number of members; the least, if the pool scales."""

    name: str | None = None
    """Its name under this supervisor; `None` generates one."""

    routing: Routing = Routing.SHORTEST_QUEUE
    """How it chooses the member for a turn."""

    max_size: int | None = None
    """The number of members it may grow to while turns wait; `None` does not scale."""

    shrink_after: float = 30.0
    """Seconds for which a member may be idle before it is removed, if the pool scales."""

    capacity: int = 1000
    """How many turns wait before a sender gets `MailboxFull`."""

    retry: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)
    """When a failed turn is retried."""

    max_restarts: int = 5
    """How many restarts of a member are allowed `within` these seconds before a new member, with a
    new conversation, replaces it."""

    within: float = 60.0
    """The window of `max_restarts`, in seconds."""

    idle_timeout: float | None = None
    """Seconds without a turn after which a member releases its process; `None` for never."""

    keep_conversation: bool = False
    """Whether all turns of a member use one conversation, instead of a new one for each turn.
    `CONSISTENT_HASH` implies it."""

    budget: Budget | None = None
    """Limits the tokens of all its turns; `None` for no limit of its own."""

    restart: ClassVar[Restart] = Restart.PERMANENT
    """A pool that fails is restarted."""

    def __post_init__(self) -> None:
        fix_creation(self)


@dataclasses.dataclass(frozen=True, slots=True)
class GetPools(Message[dict[str, PoolRef]]):
    """Ask for the pools directly below this supervisor by name, in the order of their start."""


def create_member(pool: CreatePool, name: str) -> CreateAgent:
    """Make the message that creates a member of a pool."""
    keep = pool.keep_conversation or pool.routing is Routing.CONSISTENT_HASH
    return CreateAgent(
        pool.config,
        name,
        retry=pool.retry,
        idle_timeout=pool.idle_timeout,
        new_conversation_each_turn=not keep,
    )
