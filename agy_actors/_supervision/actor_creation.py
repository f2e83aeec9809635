"""The messages that create supervised actors of any class, and that list them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.arguments import check_seconds, shown
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.message import Message
from agy_actors._actors.not_constructible import MadeForUsers
from agy_actors._supervision.actor_child import ActorChild
from agy_actors._supervision.creation import Creation, fix_name
from agy_actors._supervision.restart_policy import Restart
from agy_actors._supervision.validation import check_restart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agy_actors._supervision.claims import Claims
    from agy_actors._supervision.owner_actor import OwnerActor

__all__ = ["CreateActor", "GetActors", "check_actor", "get_actors", "make_actor"]


@dataclasses.dataclass(frozen=True, slots=True)
class CreateActor(Creation[AsyncioActorRef]):
    """Create a supervised actor. The reply is its ref, once its `on_start` has returned."""

    kind: ClassVar[str] = "actor"
    """The kind of child, for generated names."""

    actor_class: type[AsyncioActor]
    """The class of the actor."""

    args: tuple[Any, ...] = dataclasses.field(default=(), repr=False)
    """The positional arguments of its constructor, the same for each incarnation."""

    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    """The keyword arguments of its constructor, the same for each incarnation."""

    name: str | None = None
    """Its name under this supervisor; `None` generates one."""

    restart: Restart = Restart.PERMANENT
    """Whether it is restarted after a failure."""

    stop_timeout: float = 10.0
    """Seconds that it gets to end before its thread is abandoned, or to finish its messages when it
    is drained."""

    def __post_init__(self) -> None:
        fix_name(self)


@dataclasses.dataclass(frozen=True, slots=True)
class GetActors(Message[dict[str, AsyncioActorRef]]):
    """Ask for the actors that are not agents, pools or supervisors by name, oldest first."""


def check_actor(message: CreateActor) -> None:
    """Refuse a class or arguments that cannot be used.

    Raises:
        InvalidConfig: the class is not an `AsyncioActor`, or an argument is invalid.
    """
    kind = message.actor_class
    if not (isinstance(kind, type) and issubclass(kind, AsyncioActor)):
        raise InvalidConfig(f"actor_class must be a subclass of AsyncioActor, got {shown(kind)}")
    if issubclass(kind, MadeForUsers):
        raise InvalidConfig(
            f"{kind.__name__} cannot be created by create_actor: {kind._call_instead}"  # noqa: SLF001 (for this)
        )
    check_restart(message.restart)
    check_seconds("stop_timeout", message.stop_timeout, error=InvalidConfig)


def make_actor(owner: OwnerActor, name: str, message: CreateActor, claims: Claims) -> ActorChild:
    """Make an actor as the child of a supervisor.

    Raises:
        InvalidConfig: the class is not an `AsyncioActor`, or an argument is invalid.
        ActorStartError: the constructor failed.
    """
    check_actor(message)
    kind = message.actor_class
    lifecycle = owner.lifecycle
    return ActorChild(
        lambda: kind(*message.args, **message.kwargs),
        class_name=kind.__name__,
        stop_timeout=message.stop_timeout,
        name=name,
        reporter=lifecycle.reporter_of(name),
        supervisor=owner.name,
        hub=lifecycle.hub,
        owners=owner.owners_of_children,
        restart=message.restart,
        claims=claims,
        **lifecycle.new_futures(),
    )


def get_actors(owner: OwnerActor, _: GetActors) -> dict[str, AsyncioActorRef]:
    """Return the living actors of a supervisor by name."""
    children = owner.lifecycle.children.items()
    refs = {name: child.ref for name, child in children if isinstance(child, ActorChild)}
    return {name: ref for name, ref in refs.items() if ref.is_alive()}
