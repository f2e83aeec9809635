"""A submitted request, as it is saved."""

from __future__ import annotations

import dataclasses

from agy_actors._agents.agent_messages import (  # noqa: TC001 (for `typing.get_type_hints`)
    Chat,
    ChatReply,
)
from agy_actors._sessions.request_state import (
    RequestState,  # noqa: TC001 (for `typing.get_type_hints`)
)

__all__ = ["StoredRequest"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """A submitted request, as it was when it was read."""

    id: str
    """The id that it was submitted with."""

    key: str
    """The key of its session."""

    number: int
    """Its place in the order in which all requests were accepted, from 1, with gaps."""

    chat: Chat
    """The prompt with its timeouts and metadata. Several parts are a list."""

    trace: str | None = None
    """The span of the code that submitted it, as a `traceparent` of W3C Trace Context."""

    state: RequestState
    """Its state."""

    attempts: int = 0
    """How often its prompt was sent, or was about to be sent when a process died."""

    interrupted: bool = False
    """Whether a process died while it ran the request, which has not finished since.

    The conversation may have the prompt already: compare its length with `history_length`.
    """

    history_length: int | None = None
    """How many steps the conversation had before the last attempt; `None` before the first."""

    reply: ChatReply | None = None
    """The reply, if it is `DONE`."""

    error: Exception | None = None
    """The error, if it is `FAILED`."""

    created: float
    """When it was accepted, in seconds since the epoch."""

    finished: float | None = None
    """When it became `DONE`, `FAILED` or `CANCELLED`, in seconds since the epoch."""
