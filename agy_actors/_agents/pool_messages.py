"""The messages of pools whose members are agents."""

from __future__ import annotations

import dataclasses

from agy_actors._actors.message import Message
from agy_actors._agents.agent_ref import AgentRef

__all__ = ["GetMembers"]


@dataclasses.dataclass(frozen=True, slots=True)
class GetMembers(Message[list[AgentRef]]):
    """Ask for the refs of the members, in the order of their slots."""
