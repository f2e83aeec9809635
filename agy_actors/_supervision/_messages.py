"""The messages that a supervisor answers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._agent import AgentRef, RetryPolicy
from agy_actors._events import Subscription
from agy_actors._kernel import Message, check_flag, normalize
from agy_actors._supervision._decisions import Backoff, Restart, Strategy
from agy_actors._supervision._pool_messages import CreatePool, fix_creation
from agy_actors._supervision._routing import Routing

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import AgentConfig

    from agy_actors._supervision._pool_ref import PoolRef  # noqa: F401 (in a base, below)
    from agy_actors._supervision._ref import OwnerRef, SupervisorRef  # noqa: F401 (as above)

__all__ = [
    "Create",
    "CreateAgent",
    "CreateSupervisor",
    "GetActiveAgentCount",
    "GetChildren",
    "GetPools",
    "GetSupervisors",
    "Shutdown",
    "ShutdownAgent",
    "Subscribe",
    "create_member",
]


@dataclasses.dataclass(frozen=True, slots=True)
class CreateAgent(Message[AgentRef]):
    """Create an agent, and be answered with its ref when it is up."""

    kind: ClassVar[str] = "agent"

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

    idle_timeout: float | None = None
    """Seconds without a turn after which it gives its process back until the next."""

    stop_timeout: float = 10.0
    """Seconds to end by itself, or to finish its turns where it is drained."""

    def __post_init__(self) -> None:
        fix_creation(self)

    new_conversation_each_turn: bool = False
    """Whether each turn has a conversation of its own. For members of pools."""


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


@dataclasses.dataclass(frozen=True, slots=True)
class CreateSupervisor(Message["SupervisorRef"]):
    """Create a supervisor under this one, and be answered with its ref when it is up."""

    kind: ClassVar[str] = "supervisor"

    name: str | None = None
    """Its name under this supervisor; `None` makes one up."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    max_restarts: int = 5
    within: float = 60.0

    backoff: Backoff | None = None
    """`None` is that of the supervisor above."""

    restart: Restart = Restart.PERMANENT

    def __post_init__(self) -> None:
        fix_creation(self)


Create = CreateAgent | CreateSupervisor | CreatePool


@dataclasses.dataclass(frozen=True, slots=True)
class ShutdownAgent(Message[None]):
    """End a child, and be answered when nothing of it is left."""

    agent: str | AgentRef | OwnerRef
    """Its name or its ref."""

    drain: bool = False
    """Let its turns end first, those that wait too, for its `stop_timeout`."""

    def __post_init__(self) -> None:
        check_flag("drain", self.drain)
        if isinstance(self.agent, str):
            object.__setattr__(self, "agent", normalize(self.agent))


@dataclasses.dataclass(frozen=True, slots=True)
class GetChildren(Message[dict[str, AgentRef]]):
    """Ask for the agents, by name, in the order of their start."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetPools(Message["dict[str, PoolRef]"]):
    """Ask for the pools right below this supervisor, by name, in the order of their start."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetSupervisors(Message["dict[str, SupervisorRef]"]):
    """Ask for the supervisors right below this one, by name, in the order of their start."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetActiveAgentCount(Message[int]):
    """Ask how many agents there are, here and below."""


@dataclasses.dataclass(frozen=True, slots=True)
class Subscribe(Message[Subscription]):
    """Have a function called with the events of all that happens here and below."""

    callback: Callable[[Any], object]
    """Called with an `Event`, on a thread of its own."""

    capacity: int = 1000
    """Events that wait for a slow callback before some are dropped."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shutdown(Message[None]):
    """End all children, and then the supervisor. Answered when the children have ended."""

    drain: bool = False
    """Let the agents' turns end first, for the `stop_timeout` of each."""

    def __post_init__(self) -> None:
        check_flag("drain", self.drain)
