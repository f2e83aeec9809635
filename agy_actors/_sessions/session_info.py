"""What is known about one session."""

from __future__ import annotations

import dataclasses

from google.antigravity.types import UsageMetadata  # noqa: TC002 (for `typing.get_type_hints`)

__all__ = ["SessionInfo"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """What is known about one session, awake or asleep."""

    key: str
    """The key of the session."""

    conversation_id: str
    """The id of its conversation, which is derived from the key."""

    created: float
    """When the session was created, in seconds since the epoch."""

    last_used: float
    """When its last turn ended, or began if it runs, in seconds since the epoch; `created` before
    the first turn."""

    turns: int
    """The number of turns of the conversation, over all processes."""

    usage: UsageMetadata
    """The tokens of all turns of the conversation, over all processes."""
