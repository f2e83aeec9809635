"""`Receipt`: a reference to a durable request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._actors.errors import ReplyCancelled
from agy_actors._sessions.request_state import RequestState
from agy_actors._sessions.sessions_messages import WaitForRequest
from agy_actors._sessions.stored_errors import RequestNotFound

if TYPE_CHECKING:
    from collections.abc import Generator

    from agy_actors._agents.agent_messages import ChatReply
    from agy_actors._sessions.asking_sessions import AskingSessions
    from agy_actors._sessions.stored_request import StoredRequest

__all__ = ["Receipt"]


class Receipt:
    """A reference to a durable request, which `sessions.submit` accepted. Thread-safe.

    It reads the state from the disk: the request may run in another program.
    """

    __slots__ = ("_sessions", "id", "key")

    id: str
    """The request's id."""

    key: str
    """The key of its session."""

    def __init__(self, sessions: AskingSessions, request_id: str, key: str) -> None:
        self._sessions = sessions
        self.id = request_id
        self.key = key

    def __repr__(self) -> str:
        return f"<Receipt {self.id!r} of session {self.key!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Receipt):
            return NotImplemented
        return self.id == other.id and self._sessions == other._sessions

    def __hash__(self) -> int:
        return hash((self._sessions.actor_urn, self.id))

    @property
    def state(self) -> RequestState:
        """The request's state.

        Raises:
            RequestNotFound: its result was kept for `keep_results` seconds, and is gone.
            SessionStorageError: the requests cannot be read.
        """
        return self._read().state

    @property
    def attempts(self) -> int:
        """How often its prompt was sent, or was about to be sent when a program died.

        Raises: as `state`.
        """
        return self._read().attempts

    def done(self) -> bool:
        """Return whether it has a reply or an error, or was cancelled.

        Raises: as `state`.
        """
        return self.state in (RequestState.DONE, RequestState.FAILED, RequestState.CANCELLED)

    def cancel(self) -> bool:
        """Cancel the request if no program has begun it. Return whether it is cancelled.

        Raises:
            RequestNotFound: as of `state`.
            SessionStorageError: the requests cannot be written.
        """
        if self._sessions._cancel_request(self.id):  # noqa: SLF001 (one concept)
            return True
        return self.state is RequestState.CANCELLED

    def __await__(self) -> Generator[Any, None, ChatReply]:
        """Wait for the reply in an event loop. It raises what `result` raises."""
        request = yield from self._sessions.ask(WaitForRequest(self.id), block=False).__await__()
        return self._reply(request)

    def result(self, timeout: float | None = None) -> ChatReply:
        """Wait for the reply, and return it.

        Args:
            timeout: the seconds to wait; `None` for as long as it takes.

        Raises:
            AskTimeout: it was not finished in time. It continues.
            ReplyCancelled: it was cancelled.
            TurnInterrupted: a program died in the middle of its turn, after a tool call.
            RequestNotFound: its result was kept for `keep_results` seconds, and is gone.
            AgentDeadError: the sessions have ended. The request stays on the disk.
            Exception: the error of its turn.
        """
        return self._reply(self._sessions.ask(WaitForRequest(self.id), timeout=timeout))

    def _reply(self, found: StoredRequest | None) -> ChatReply:
        request = self._found(found)
        if request.error is not None:
            raise request.error
        if request.reply is None:
            raise ReplyCancelled(f"request {self.id!r} of session {self.key!r} was cancelled")
        return request.reply

    def _read(self) -> StoredRequest:
        return self._found(self._sessions._requests.get(self.id))  # noqa: SLF001 (as above)

    def _found(self, request: StoredRequest | None) -> StoredRequest:
        if request is None:
            raise RequestNotFound(
                f"there is no request {self.id!r} of session {self.key!r} any more: results are"
                " kept for the keep_results seconds of the sessions"
            )
        return request
