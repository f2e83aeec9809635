"""`Pool`: a pool of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._actors.not_constructible import MadeForUsers
from agy_actors._agents.agent_members import AgentMembers
from agy_actors._agents.pool_messages import GetMembers
from agy_actors._agents.pool_ref import PoolRef
from agy_actors._supervision.pool_actor import PoolActor
from agy_actors._supervision.supervisor_context import SupervisorContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agy_actors._agents.pool_creation import CreatePool
    from agy_actors._supervision.owner_ref import OwnerRef

__all__ = ["Pool"]


class Pool(MadeForUsers, PoolActor):
    """A pool of agents. Made by `create_pool`.

    Args:
        message: the message that creates it.
        handlers: as of `OwnerActor`.
        options: the others of `PoolActor`.
    """

    _made_from = SupervisorContext
    _call_instead = "`supervisor.create_pool(...)` creates a pool, and returns its ref"
    _ref_type: ClassVar[type[OwnerRef]] = PoolRef

    def __init__(
        self,
        message: CreatePool,
        *,
        handlers: Mapping[type, Callable[[Any, Any], Any]],
        **options: Any,
    ) -> None:
        handlers = {**handlers, GetMembers: PoolActor.get_members}
        super().__init__(message, AgentMembers(message), handlers=handlers, **options)
