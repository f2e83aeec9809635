"""`AskingSessions`: the part of `Sessions` that the refs of single sessions and requests use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agy_actors._agents.agent_messages import Chat, P
    from agy_actors._agents.chat_stream import ChatStream
    from agy_actors._sessions.request_store import RequestStore

__all__ = ["AskingSessions"]


class AskingSessions(Protocol):
    """The part of `Sessions` that the refs of single sessions and requests use."""

    actor_urn: str

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Ask the sessions themselves."""

    def _ask_session(self, key: str, message: Any, *, block: bool, timeout: float | None) -> Any:
        """Ask the agent of a session."""

    def _tell_session(self, key: str, message: Any) -> None:
        """Send a message to the agent of a session without waiting for a reply."""

    def _stream_session(self, key: str, message: Chat[P] | str) -> ChatStream[P]:
        """Send a prompt to the agent of a session and read the reply as it comes."""
        ...

    @property
    def _requests(self) -> RequestStore:
        """The durable requests."""
        ...

    def _cancel_request(self, request_id: str) -> bool:
        """Cancel a durable request."""
        ...
