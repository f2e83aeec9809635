"""Agents as the members of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._agents.agent_work import AgentWork
from agy_actors._agents.make_agent_child import make_agent_child
from agy_actors._agents.pool_creation import create_member
from agy_actors._agents.pool_overdue import OverduePoolTurns
from agy_actors._agents.turn_crashes import TurnCrashes
from agy_actors._agents.turn_messages import StreamChat
from agy_actors._supervision.claims import Claims
from agy_actors._supervision.member_kind import MemberKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.mailbox import Mailbox
    from agy_actors._agents.agent_child import AgentChild
    from agy_actors._agents.pool_creation import CreatePool
    from agy_actors._supervision.member_kind import Deadlines
    from agy_actors._supervision.owner_actor import OwnerActor
    from agy_actors._supervision.pool_state import PoolState, Turn

__all__ = ["AgentMembers"]


class AgentMembers(AgentWork, MemberKind):
    """Agents as the members of a pool.

    Args:
        message: the message that creates the pool.
    """

    def __init__(self, message: CreatePool) -> None:
        self._message = message

    @property
    def stop_timeout(self) -> float:
        return create_member(self._message, "").stop_timeout

    def make(self, owner: OwnerActor, name: str) -> AgentChild:
        return make_agent_child(owner, name, create_member(self._message, name), Claims(None))

    def make_deadlines(
        self, state: PoolState, inbox: Mailbox, end: Callable[[Turn, BaseException], None]
    ) -> Deadlines:
        return OverduePoolTurns(state, inbox, end)

    def new_history(self) -> TurnCrashes:
        return TurnCrashes(of_pool=True)

    def is_movable(self, message: Any) -> bool:
        """Return whether another member may take a turn: not if a reader has read from it."""
        return not (isinstance(message, StreamChat) and message.buffer.begun)
