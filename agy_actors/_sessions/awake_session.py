"""`AwakeSession`: the facts about a session whose agent exists."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agy_actors._agents.record import AgentRecord
    from agy_actors._sessions.session_info import SessionInfo

__all__ = ["AwakeSession"]


@dataclasses.dataclass(slots=True)
class AwakeSession:
    """The facts about a session whose agent exists. Readable from any thread."""

    known: SessionInfo
    """The facts from before its agent was made."""

    is_new: bool = False
    """Whether the session does not exist yet: its conversation was never opened."""

    record: AgentRecord | None = None
    """The agent's record, once the agent has opened the conversation."""

    last_used: float = 0.0
    """When its last turn began or ended, in seconds since the epoch."""

    def info(self) -> SessionInfo:
        """Return the facts as of now."""
        record = self.record
        if record is None:
            return self.known
        return dataclasses.replace(
            self.known,
            last_used=max(self.last_used, self.known.last_used),
            turns=max(record.turns, self.known.turns),
            usage=record.usage,
        )
