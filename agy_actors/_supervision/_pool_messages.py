"""The messages that a pool answers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from google.antigravity import AgentConfig

from agy_actors._agent import AgentRef, InvalidConfig, RetryPolicy
from agy_actors._harness import copy_config
from agy_actors._kernel import Lane, Message, check_integer, normalize
from agy_actors._supervision._decisions import Restart
from agy_actors._supervision._routing import Routing

if TYPE_CHECKING:
    from agy_actors._supervision._pool_ref import PoolRef  # noqa: F401 (in a base, below)


__all__ = [
    "CreatePool",
    "GetMembers",
    "GetPoolStatistics",
    "Job",
    "NestedJob",
    "PoolStatistics",
    "Resize",
    "fix_creation",
]


def fix_creation(message: Any) -> None:
    """Fix what is to be created: later changes of its configuration are not seen.

    Its name is put into Unicode's normal form C, in which equal names are equal texts.
    """
    config = getattr(message, "config", None)
    if isinstance(config, AgentConfig):
        object.__setattr__(message, "config", copy_config(config))
    if isinstance(message.name, str):
        object.__setattr__(message, "name", normalize(message.name))


@dataclasses.dataclass(frozen=True, slots=True)
class CreatePool(Message["PoolRef"]):
    """Create a pool of agents, and be answered with its ref when all of them are up."""

    kind: ClassVar[str] = "pool"

    config: AgentConfig = dataclasses.field(repr=False)
    """The configuration of each member; passed through whole."""

    size: int = 4
    """How many members; the least, where the pool scales."""

    name: str | None = None
    """Its name under this supervisor; `None` makes one up."""

    routing: Routing = Routing.SHORTEST_QUEUE

    max_size: int | None = None
    """How many members it may grow to while messages wait; `None` does not scale."""

    shrink_after: float = 30.0
    """Seconds for which a member that was added may be idle before it is removed."""

    capacity: int = 1000
    """Messages that wait before a sender gets `MailboxFull`."""

    retry: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)
    max_restarts: int = 5
    within: float = 60.0
    """A member that is restarted more than `max_restarts` times `within` these seconds is
    replaced by a fresh one, with a conversation of its own."""

    idle_timeout: float | None = None
    """As an agent's."""

    keep_conversation: bool = False
    """Whether a member's turns follow each other in one conversation, instead of each having a
    new one. `CONSISTENT_HASH` implies it."""

    restart: ClassVar[Restart] = Restart.PERMANENT

    def __post_init__(self) -> None:
        fix_creation(self)


class Job(Message[Any]):
    """A turn for a member of the pool."""

    __slots__ = ("key", "message")

    lane = Lane.TURN

    def __init__(self, message: Message[Any], key: str | None) -> None:
        self.message = message
        self.key = key


class NestedJob(Job):
    """A turn that another turn waits for.

    It is looked at as it comes: waiting for a member to be free might be waiting for
    whoever asks.
    """

    __slots__ = ()

    lane = Lane.CONTROL


@dataclasses.dataclass(frozen=True, slots=True)
class Resize(Message[None]):
    """Set the number of members. Answered when the new ones are up.

    Raises:
        AgentStartError: a new member did not start. The pool tries again in the background.
    """

    size: int

    def __post_init__(self) -> None:
        check_integer("size", self.size, least=1, error=InvalidConfig)


@dataclasses.dataclass(frozen=True, slots=True)
class GetMembers(Message[list[AgentRef]]):
    """Ask for the refs of the members, in the order of their places."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """A snapshot of a pool."""

    name: str
    size: int
    """Its members, those included that are being started, restarted or replaced."""
    busy: int
    """Members with a turn."""
    waiting: int
    """Messages that no member has taken up."""
    replaced: int
    """Members that were replaced in the pool's life."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetPoolStatistics(Message[PoolStatistics]):
    """Ask for a snapshot of the pool."""
