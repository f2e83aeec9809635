"""`Sessions`: a reference to sessions, which have one agent for each key."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any, Literal, overload

import pykka

from agy_actors._actors import forks
from agy_actors._actors.arguments import check_optional_seconds
from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.deadlock import AllOf
from agy_actors._actors.errors import InvalidConfig, MailboxFull, UnknownMessage
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import set_about
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents import agent_messages as agents
from agy_actors._agents.agent_ref import as_message, stream_from
from agy_actors._agents.ask_counts import AskCounts
from agy_actors._agents.defaults import start_timeout
from agy_actors._agents.turn_messages import StreamChat
from agy_actors._sdk.errors import AgentDeadError, InvalidPrompt
from agy_actors._sessions import sessions_messages as messages
from agy_actors._sessions.receipt import Receipt
from agy_actors._sessions.session_keys import check_key, check_request_id, is_key
from agy_actors._sessions.session_ref import SessionRef
from agy_actors._sessions.stored_errors import RequestNotSaved, SessionStorageError
from agy_actors._supervision.owner_ref import OwnerRef
from agy_actors._supervision.pool_messages import Job, NestedJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors._actors.deadlock import Need
    from agy_actors._agents.agent_messages import Chat, P
    from agy_actors._agents.chat_stream import ChatStream
    from agy_actors._sessions.request_state import RequestState
    from agy_actors._sessions.request_store import RequestStore
    from agy_actors._sessions.session_info import SessionInfo
    from agy_actors._sessions.sessions_messages import SessionsStatistics
    from agy_actors._sessions.sessions_storage import SessionsStorage

__all__ = ["Sessions"]


class Sessions(OwnerRef):
    """A reference to sessions: one lasting conversation for each key. Thread-safe.

    `sessions[key]` is the ref of one session. A session is created by its first message, and
    listed from then on: `in`, `len`, iteration (over the keys, sorted) and `info` include the
    sessions of all programs that use the folder, awake or asleep.

    As a context manager it stops the sessions on leaving. Their conversations stay, if their
    supervisor has a `state_dir`.
    """

    _call_instead = "`supervisor.create_sessions(...)` creates sessions, and returns their ref"

    def __init__(self, actor: Any) -> None:
        super().__init__(actor)
        self._actor: weakref.ref[Any] = weakref.ref(actor)
        self._durable: bool = actor.durable
        self._asks = AskCounts(actor.context.hub.counts)

    def __repr__(self) -> str:
        return f"<Sessions {self.name!r}{self._state_suffix()}>"

    def __str__(self) -> str:
        return f"sessions {self.name!r}"

    def __getitem__(self, key: str) -> SessionRef:
        """Return the ref of a session, which need not exist. This costs nothing.

        Args:
            key: text of 1 to 1,000 characters.

        Raises:
            InvalidArgument: the key is not such a text.
        """
        return SessionRef(self, check_key(key))

    # What there is.

    def __contains__(self, key: object) -> bool:
        """Return whether a session exists, awake or asleep, in any program.

        Raises:
            AgentDeadError: the sessions have ended.
            SessionStorageError: the index cannot be read.
        """
        return is_key(key) and key in self._storage.index

    def __len__(self) -> int:
        """Return how many sessions exist. See `in`."""
        return len(self._storage.index)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys of all sessions, sorted by code point. See `in`.

        The keys are read as they are needed. Sessions that are created or deleted meanwhile may be
        missing or included.
        """
        return self._storage.index.keys()

    def __bool__(self) -> bool:
        """Return `True`: a ref is true, also if no session exists."""
        return True

    def info(self, key: str) -> SessionInfo | None:
        """Return what is known about a session; `None` if it does not exist.

        Raises:
            AgentDeadError: the sessions have ended.
            SessionStorageError: the index cannot be read.
        """
        return self._storage.info(check_key(key))

    @property
    def _storage(self) -> SessionsStorage:
        forks.check(self.actor_inbox.made_in)
        actor = self._actor()
        storage: SessionsStorage | None = None if actor is None else actor.storage
        if storage is None:
            raise AgentDeadError(f"{self} have ended")
        return storage

    # Requests.

    @overload
    def wake(
        self, key: str, *, block: Literal[True] = True, timeout: float | None = None
    ) -> None: ...

    @overload
    def wake(
        self, key: str, *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[None]: ...

    def wake(
        self, key: str, *, block: bool = True, timeout: float | None = None
    ) -> ReplyFuture[None] | None:
        """Open the conversation of a session, and wait until it is ready.

        Args:
            key: the session's key. The session is created if it does not exist.
            block: wait for that; else return a `ReplyFuture`.
            timeout: the seconds that it may take; `None` for the time that an agent gets to start
                (`AGY_ACTORS_START_TIMEOUT`).

        Raises:
            TurnTimeout: it did not wake in time, for example because `max_awake` others are busy.
            AgentStartError: it cannot be opened.
            AgentDeadError: the sessions have ended.
        """
        given = check_optional_seconds("timeout", timeout)
        seconds = start_timeout() if given is None else given
        return super().ask(messages.WakeSession(check_key(key), seconds), block=block)

    @overload
    def sleep(
        self, key: str, *, block: Literal[True] = True, timeout: float | None = None
    ) -> None: ...

    @overload
    def sleep(
        self, key: str, *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[None]: ...

    def sleep(
        self, key: str, *, block: bool = True, timeout: float | None = None
    ) -> ReplyFuture[None] | None:
        """Close the conversation of a session after its running turn, and wait for that.

        The next turn wakes it. Does nothing if it is asleep.

        Args:
            key: the session's key.
            block: wait for that; else return a `ReplyFuture`.
            timeout: the seconds to wait if blocking; `None` for as long as the turn takes.

        Raises:
            AskTimeout: it is not asleep in time. It still falls asleep.
            AgentDeadError: the sessions have ended.
        """
        return super().ask(messages.SleepSession(check_key(key)), block=block, timeout=timeout)

    @overload
    def delete(
        self, key: str, *, block: Literal[True] = True, timeout: float | None = None
    ) -> bool: ...

    @overload
    def delete(
        self, key: str, *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[bool]: ...

    def delete(
        self, key: str, *, block: bool = True, timeout: float | None = None
    ) -> bool | ReplyFuture[bool]:
        """End a session at once and remove its conversation, and wait for that.

        Its running turn is cancelled, the askers of waiting turns get an `AgentDeadError`, and its
        durable requests are cancelled. If
        another program has the conversation open, it closes it first, after its running turn. A
        message that comes later creates a new session.

        Args:
            key: the session's key.
            block: wait for that; else return a `ReplyFuture`.
            timeout: the seconds to wait if blocking; `None` for as long as it takes.

        Returns:
            Whether the session existed.

        Raises:
            AskTimeout: it was not deleted in time. It still will be.
            OSError: a file cannot be removed.
            AgentDeadError: the sessions have ended.
        """
        return super().ask(messages.DeleteSession(check_key(key)), block=block, timeout=timeout)

    @overload
    def statistics(self, *, block: Literal[True] = True) -> SessionsStatistics: ...

    @overload
    def statistics(self, *, block: Literal[False]) -> ReplyFuture[SessionsStatistics]: ...

    @overload
    def statistics(
        self, *, block: bool
    ) -> SessionsStatistics | ReplyFuture[SessionsStatistics]: ...

    def statistics(
        self, *, block: bool = True
    ) -> SessionsStatistics | ReplyFuture[SessionsStatistics]:
        """Return a snapshot of the sessions in this program."""
        return super().ask(messages.GetSessionsStatistics(), block=block)

    # Durable requests.

    def submit(self, key: str, message: Chat[Any] | str, *, id: str | None = None) -> Receipt:  # noqa: A002 (the field of the receipt)
        """Accept a request that survives the end of the program. It is on the disk on return.

        Requests of one session run in the order in which they were submitted. Any program that
        uses the folder may run them, also in a later run. If a program dies in the middle of a
        turn, the answer is taken from the conversation if it is complete there; else the prompt is
        sent again, unless the model has called a tool.

        Args:
            key: the session's key.
            message: a `Chat`, or its prompt. Its `metadata` must be JSON values, and it has no
                `response_schema`.
            id: identifies the request for ever; the same id again returns the same receipt. `None`
                generates one.

        Raises:
            RequestNotSaved: it could not be saved: the disk is full, or the requests on it are
                damaged or of a newer release. Nothing was accepted.
            RequestConflict: another request has this id.
            InvalidPrompt: the message cannot be saved.
            InvalidArgument: the key or the id is invalid.
            InvalidConfig: the supervisor has no `state_dir`, so that nothing would last.
            AgentDeadError: the sessions have ended.
        """
        if not self._durable:
            raise InvalidConfig(
                f"{self} keep requests only under a supervisor with a state_dir:"
                " Supervisor.start(state_dir=...)"
            )
        request_id = current_runtime().new_id() if id is None else check_request_id(id)
        chat = as_message(message)
        if not isinstance(chat, agents.Chat):
            raise InvalidPrompt(f"only a Chat can be submitted, got {type(message).__name__}")
        try:
            requests = self._requests
        except SessionStorageError as error:
            raise RequestNotSaved(
                f"request {request_id!r} for session {key!r} was not saved: {error}",
                path=error.path,
                retryable=error.retryable,
            ) from error
        stored = requests.submit(request_id, check_key(key), chat)
        with contextlib.suppress(pykka.ActorDeadError):  # The next run finds it.
            self.tell(messages.LookForRequests())
        return Receipt(self, stored.id, stored.key)

    def receipt(self, id: str) -> Receipt | None:  # noqa: A002 (as above)
        """Return the receipt of a request, also of an earlier run; `None` if there is none.

        Raises:
            InvalidArgument: no request can have such an id.
            SessionStorageError: the requests cannot be read.
            AgentDeadError: the sessions have ended.
        """
        stored = self._requests.get(check_request_id(id))
        return None if stored is None else Receipt(self, stored.id, stored.key)

    def receipts(
        self, *, key: str | None = None, state: RequestState | None = None
    ) -> Iterator[Receipt]:
        """Iterate over the receipts of requests, in the order in which they were accepted.

        Args:
            key: only requests of this session.
            state: only requests in this state.

        Raises: as `receipt`.
        """
        if key is not None:
            check_key(key)
        stored = self._requests.list(key=key, state=state)
        return (Receipt(self, request.id, request.key) for request in stored)

    @property
    def _requests(self) -> RequestStore:
        requests = self._storage.requests(make=True)
        if requests is None:
            raise AgentDeadError(f"{self} have ended")
        return requests

    def _cancel_request(self, request_id: str) -> bool:
        cancelled = self._requests.cancel(request_id)
        with contextlib.suppress(pykka.ActorDeadError):
            self.tell(messages.LookForRequests())
        return cancelled

    # For the refs of single sessions.

    def _ask_session(self, key: str, message: Any, *, block: bool, timeout: float | None) -> Any:
        message = as_message(message)
        try:
            reply = super().ask(self._job(message, key, waits=block), block=block, timeout=timeout)
        except BaseException as error:
            self._asks.note_error(message, error)
            if isinstance(error, MailboxFull):
                raise self._full() from None
            raise
        self._asks.note_reply(message, reply)
        if isinstance(reply, ReplyFuture):
            set_about(reply, message, self)
        return reply

    def _tell_session(self, key: str, message: Any) -> None:
        try:
            super().tell(self._job(as_message(message), key, waits=False))
        except MailboxFull:
            raise self._full() from None

    def _stream_session(self, key: str, message: Chat[P] | str) -> ChatStream[P]:
        try:
            return stream_from(
                self, message, lambda chat: self._job(chat, key, waits=True), self._asks
            )
        except MailboxFull:
            raise self._full() from None

    def _full(self) -> MailboxFull:
        return MailboxFull(
            f"{self} have as many turns waiting as their capacity allows; wait for some of them, or"
            " create them with a larger capacity"
        )

    def _job(self, message: Any, key: str, *, waits: bool) -> Job:
        """Wrap a message for a session; `waits` says that the code here waits for the reply."""
        if isinstance(message, _ENDS):
            raise UnknownMessage(
                f"session {key!r} answers no {type(message).__name__}: close it with"
                " sessions.sleep(key), or remove it with sessions.delete(key)"
            )
        if not isinstance(message, agents.Chat | agents.Send | StreamChat):
            return messages.Question(message, key)
        caller = current_caller.get()
        if waits and caller is not None and any(frame.in_turn for frame in caller.frames()):
            return NestedJob(message, key)
        return Job(message, key)

    def _need_of(self, message: object, reply: object) -> Need:
        """Return the need of a reply of these sessions (see `deadlock`). Thread-safe."""
        need = super()._need_of(message, reply)
        actor = self._actor()
        if actor is None or not isinstance(message, Job):
            return need
        need_of_turn: Need = actor.need_of(message.key, message.message)
        return AllOf((need, need_of_turn))


_ENDS = (agents.Disconnect, agents.Delete)
"""The messages that would end an agent behind the back of its sessions."""
