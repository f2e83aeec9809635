"""The messages that every supervisor answers, for any children."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from agy_actors._actors.actor_ref import AsyncioActorRef  # noqa: TC001 (for `typing.get_type_hints`)
from agy_actors._actors.arguments import check_flag, normalize
from agy_actors._actors.message import Message
from agy_actors._supervision.event_hub import Subscription
from agy_actors._supervision.topic import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GetTopic", "Observe", "ReturnChild", "Shutdown", "ShutdownAgent", "Subscribe"]


@dataclasses.dataclass(frozen=True, slots=True)
class ShutdownAgent(Message[None]):
    """End a child. The reply comes when the child has ended completely."""

    agent: str | AsyncioActorRef
    """Its name or its ref. The child may be an agent, a pool, a supervisor or any other actor."""

    drain: bool = False
    """First finish its current and waiting turns, within its `stop_timeout`."""

    def __post_init__(self) -> None:
        check_flag("drain", self.drain)
        if isinstance(self.agent, str):
            object.__setattr__(self, "agent", normalize(self.agent))


@dataclasses.dataclass(frozen=True, slots=True)
class ReturnChild(Message[None]):
    """End a child whose ref arrived when its creator no longer waited, unless others use it."""

    child: AsyncioActorRef


@dataclasses.dataclass(frozen=True, slots=True)
class Subscribe(Message[Subscription]):
    """Call a function with every event of this supervisor and those below it."""

    callback: Callable[[Any], object]
    """Called with an `Event`, on its own thread."""

    capacity: int = 1000
    """How many events wait for a slow callback before further ones are dropped."""


@dataclasses.dataclass(frozen=True, slots=True)
class Observe(Message[None]):
    """Observe the work of the children of this supervisor and of those below it."""

    observer: Any
    """See `EventHub.observer`; `None` ends the observation."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetTopic(Message[Topic]):
    """Ask for the topic with a name; create it if it does not exist."""

    name: str
    """Its name under this supervisor, with the rules for the names of children."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shutdown(Message[None]):
    """End all children, then the supervisor. The reply comes when the children have ended."""

    drain: bool = False
    """First finish the agents' turns, within the `stop_timeout` of each agent."""

    def __post_init__(self) -> None:
        check_flag("drain", self.drain)
