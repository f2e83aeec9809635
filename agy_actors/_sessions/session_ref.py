"""`SessionRef`: a reference to one session."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import pykka

from agy_actors._actors.errors import NotPicklableError

if TYPE_CHECKING:
    from agy_actors._actors.future import ReplyFuture
    from agy_actors._actors.message import Message
    from agy_actors._agents.agent_messages import Chat, ChatReply, P
    from agy_actors._agents.chat_stream import ChatStream
    from agy_actors._sessions.asking_sessions import AskingSessions

__all__ = ["SessionRef"]

R = TypeVar("R")


class SessionRef:
    """A reference to one session: the agent of a key. Thread-safe, and valid for ever.

    `ask`, `tell` and `stream` are those of an agent's ref. The session is created by its first
    message, and wakes for a message if it sleeps. The refs of equal keys are equal. A ref can be
    pickled and unpickled within the program.
    """

    __slots__ = ("_sessions", "key")

    key: str
    """The session's key."""

    def __init__(self, sessions: AskingSessions, key: str) -> None:
        self._sessions = sessions
        self.key = key

    def __repr__(self) -> str:
        return f"<SessionRef {self.key!r} of {self._sessions}>"

    def __str__(self) -> str:
        return f"session {self.key!r}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SessionRef):
            return NotImplemented
        return self.key == other.key and self._sessions == other._sessions

    def __hash__(self) -> int:
        return hash((self._sessions.actor_urn, self.key))

    def __reduce__(self) -> tuple[Any, ...]:
        return _find, (os.getpid(), self._sessions.actor_urn, self.key)

    @overload
    def ask(
        self, message: str, *, block: Literal[True] = True, timeout: float | None = None
    ) -> ChatReply: ...

    @overload
    def ask(
        self, message: str, *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[ChatReply]: ...

    @overload
    def ask(
        self, message: str, *, block: bool, timeout: float | None = None
    ) -> ChatReply | ReplyFuture[ChatReply]: ...

    @overload
    def ask(
        self, message: Message[R], *, block: Literal[True] = True, timeout: float | None = None
    ) -> R: ...

    @overload
    def ask(
        self, message: Message[R], *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[R]: ...

    @overload
    def ask(
        self, message: Message[R], *, block: bool, timeout: float | None = None
    ) -> R | ReplyFuture[R]: ...

    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any: ...

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Ask the session's agent, which wakes if it sleeps.

        Args:
            message: a message that agents answer, or the prompt of a `Chat` as text. `Disconnect`
                and `Delete` are not answered: use `sleep` and `delete` of the sessions.
            block: wait for the reply and return it; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking; see `AsyncioActorRef.ask`.

        Raises:
            TurnTimeout: the session did not wake within the turn's own timeout, or the turn did
                not end within it.
            MailboxFull: too many turns wait.
            AgentStartError: the conversation cannot be opened. `ConversationCorrupt` names the
                file.
            AgentDeadError: the sessions have ended, or the session was deleted.

        It also raises what `AgentRef.ask` raises.
        """
        return self._sessions._ask_session(  # noqa: SLF001 (one concept in two classes)
            self.key, message, block=block, timeout=timeout
        )

    def tell(self, message: Any) -> None:
        """Send a message without waiting for a reply.

        Args:
            message: see `ask`. A message that is not handled becomes a `DeadLetter`.

        Raises:
            InvalidPrompt: the text is not a valid prompt.
            MailboxFull: too many turns wait.
            AgentDeadError: the sessions have ended.
        """
        self._sessions._tell_session(self.key, message)  # noqa: SLF001 (as above)

    def stream(self, message: Chat[P] | str) -> ChatStream[P]:
        """Send a prompt and read the reply as it comes.

        Args:
            message: a `Chat`, or its prompt.

        Raises:
            InvalidPrompt: the prompt is not valid.
            MailboxFull: too many turns wait.

        It also raises what `AgentRef.stream` raises.
        """
        return self._sessions._stream_session(self.key, message)  # noqa: SLF001 (as above)


def _find(pid: int, urn: str, key: str) -> SessionRef:
    """Return the ref that was pickled.

    Raises:
        NotPicklableError: this is another process, or the sessions have ended.
    """
    sessions: Any = pykka.ActorRegistry.get_by_urn(urn) if pid == os.getpid() else None
    if sessions is None:
        raise NotPicklableError(
            f"a SessionRef of session {key!r} was unpickled in another process, or after the end of"
            " its sessions: send the key, and use sessions[key] there"
        )
    ref: SessionRef = sessions[key]
    return ref
