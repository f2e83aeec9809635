"""Pools of actors of any class: the message that creates one, and its members."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._actors.actor import AsyncioActor  # noqa: TC001 (for `typing.get_type_hints`)
from agy_actors._supervision.actor_creation import CreateActor, check_actor, make_actor
from agy_actors._supervision.actor_pool_ref import ActorPoolRef
from agy_actors._supervision.claims import Claims
from agy_actors._supervision.context_below import context_below
from agy_actors._supervision.creation import Creation, fix_name
from agy_actors._supervision.member_kind import MemberKind
from agy_actors._supervision.pool_actor import PoolActor
from agy_actors._supervision.pool_options import check_pool
from agy_actors._supervision.restart_policy import Restart
from agy_actors._supervision.routing import Routing
from agy_actors._supervision.supervisor_child import SupervisorChild

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agy_actors._supervision.actor_child import ActorChild
    from agy_actors._supervision.owner_actor import OwnerActor
    from agy_actors._supervision.owner_ref import OwnerRef

__all__ = ["CreateActorPool", "make_actor_pool"]


@dataclasses.dataclass(frozen=True, slots=True)
class CreateActorPool(Creation[ActorPoolRef]):
    """Create a pool of actors. The reply is its ref, once all members are ready."""

    kind: ClassVar[str] = "pool"
    """The kind of child, for generated names."""

    actor_class: type[AsyncioActor]
    """The class of the members."""

    args: tuple[Any, ...] = dataclasses.field(default=(), repr=False)
    """The positional arguments of their constructor, the same for each member."""

    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    """The keyword arguments of their constructor, the same for each member."""

    size: int = 4
    """The number of members; the least, if the pool scales."""

    name: str | None = None
    """Its name under this supervisor; `None` generates one."""

    routing: Routing = Routing.SHORTEST_QUEUE
    """How it chooses the member for a message."""

    max_size: int | None = None
    """The number of members it may grow to while messages wait; `None` does not scale."""

    shrink_after: float = 30.0
    """Seconds for which a member may be idle before it is removed, if the pool scales."""

    capacity: int = 1000
    """How many messages wait before a sender gets `MailboxFull`."""

    max_restarts: int = 5
    """How many restarts of a member are allowed `within` these seconds before it is replaced."""

    within: float = 60.0
    """The window of `max_restarts`, in seconds."""

    stop_timeout: float = 10.0
    """Seconds that a member gets to end, and that the pool gets to drain."""

    restart: ClassVar[Restart] = Restart.PERMANENT
    """A pool that fails is restarted."""

    def __post_init__(self) -> None:
        fix_name(self)


class _ActorMembers(MemberKind):
    """Actors of one class as the members of a pool."""

    def __init__(self, message: CreateActorPool) -> None:
        self._message = message

    @property
    def stop_timeout(self) -> float:
        return self._message.stop_timeout

    def make(self, owner: OwnerActor, name: str) -> ActorChild:
        return make_actor(owner, name, create_member(self._message, name), Claims(None))


class _ActorPool(PoolActor):
    """A pool of actors."""

    _ref_type: ClassVar[type[OwnerRef]] = ActorPoolRef


def create_member(pool: CreateActorPool, name: str) -> CreateActor:
    """Return the message that creates a member."""
    return CreateActor(
        pool.actor_class, pool.args, pool.kwargs, name, stop_timeout=pool.stop_timeout
    )


def make_actor_pool(
    owner: OwnerActor, name: str, message: CreateActorPool, claims: Claims
) -> SupervisorChild:
    """Make a pool of actors as the child of a supervisor.

    Raises:
        InvalidConfig: names the invalid argument, and valid values.
    """
    check_pool(message)
    check_actor(create_member(message, name))
    lifecycle = owner.lifecycle
    pool = _ActorPool(
        message,
        _ActorMembers(message),
        name=name,
        backoff=lifecycle.backoff,
        hang_timeout=lifecycle.hang_timeout,
        context=context_below(owner, name, message),
        handlers={},
    )
    return SupervisorChild(pool, restart=message.restart, claims=claims, **lifecycle.new_futures())
