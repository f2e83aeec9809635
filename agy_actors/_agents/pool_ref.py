"""A reference to a pool of agents."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from agy_actors._actors import forks
from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.deadlock import AllOf
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import set_about
from agy_actors._agents.agent_messages import Chat, Send
from agy_actors._agents.agent_ref import AgentRef, as_message, stream_from
from agy_actors._agents.agent_tool import make_tool
from agy_actors._agents.ask_counts import AskCounts
from agy_actors._agents.mapping_ref import MappingRef
from agy_actors._agents.pool_messages import GetMembers
from agy_actors._agents.turn_messages import StreamChat
from agy_actors._supervision import pool_messages as messages
from agy_actors._supervision.pool_key import check_key
from agy_actors._supervision.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.message import Message
    from agy_actors._agents.agent_messages import ChatReply, P
    from agy_actors._agents.chat_stream import ChatStream
    from agy_actors._supervision.pool_messages import PoolStatistics

__all__ = ["PoolRef"]

R = TypeVar("R")


class PoolRef(MappingRef):
    """A reference to a pool of agents. Thread-safe.

    `ask`, `tell` and `stream` work as an agent's, and go to one of the members. As a context
    manager it stops the pool and its members on leaving.
    """

    _call_instead = "`supervisor.create_pool(...)` creates a pool, and returns its ref"

    routing: Routing
    """How it chooses the member for a turn."""

    def __init__(self, actor: Any) -> None:
        super().__init__(actor)
        self.routing = actor.routing
        self._size = actor.size
        self._asks = AskCounts(actor.context.hub.counts)
        self._actor: weakref.ref[Any] = weakref.ref(actor)

    def __repr__(self) -> str:
        return f"<PoolRef {self.name!r}{self._state_suffix()}>"

    def __str__(self) -> str:
        return f"pool {self.name!r}"

    @overload  # type: ignore[override]
    def ask(
        self,
        message: str,
        *,
        block: Literal[True] = True,
        timeout: float | None = None,
        key: str | None = None,
    ) -> ChatReply: ...

    @overload
    def ask(
        self,
        message: str,
        *,
        block: Literal[False],
        timeout: float | None = None,
        key: str | None = None,
    ) -> ReplyFuture[ChatReply]: ...

    @overload
    def ask(
        self, message: str, *, block: bool, timeout: float | None = None, key: str | None = None
    ) -> ChatReply | ReplyFuture[ChatReply]: ...

    @overload
    def ask(
        self,
        message: Message[R],
        *,
        block: Literal[True] = True,
        timeout: float | None = None,
        key: str | None = None,
    ) -> R: ...

    @overload
    def ask(
        self,
        message: Message[R],
        *,
        block: Literal[False],
        timeout: float | None = None,
        key: str | None = None,
    ) -> ReplyFuture[R]: ...

    @overload
    def ask(
        self,
        message: Message[R],
        *,
        block: bool,
        timeout: float | None = None,
        key: str | None = None,
    ) -> R | ReplyFuture[R]: ...

    @overload
    def ask(
        self,
        message: Any,
        *,
        block: bool = True,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Any: ...

    def ask(  # pyright: ignore[reportIncompatibleMethodOverride] # as `AsyncioActorRef.ask`
        self,
        message: Any,
        *,
        block: bool = True,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Any:
        """Ask one of the members. It works as an agent's `ask`, except for `key`.

        Args:
            message: a `Chat` or a `Send`, a text (the prompt of a `Chat`), or a message that
                the pool answers itself.
            block: wait for the reply and return it; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking; see `AsyncioActorRef.ask`.
            key: for the routing `CONSISTENT_HASH`, which requires one: messages with the same key
                go to the same member. Other routings ignore it.

        Raises:
            InvalidPrompt: the text is not a valid prompt.
            InvalidConfig: the key is not text, or it is missing and the routing needs one.
            UnknownMessage: a pool does not answer such a message. The error names those that it
                answers.

        A pool that broadcasts replies with the list of all members' replies; `broadcast` has
        the type for that.
        """
        message = as_message(message)
        job = self._job(message, key, waits=block)
        try:
            reply = super().ask(job, block=block, timeout=timeout)
        except BaseException as error:
            self._asks.note_error(message, error)
            raise
        self._asks.note_reply(message, reply)
        if isinstance(reply, ReplyFuture):
            set_about(reply, message, self)
        return reply

    def _offer(self, message: Chat[Any]) -> ReplyFuture[ChatReply]:
        reply: ReplyFuture[ChatReply] = super().ask(
            self._job(message, None, waits=False), block=False
        )
        self._asks.note_reply(message, reply)
        set_about(reply, message, self)
        return reply

    def tell(self, message: Any, *, key: str | None = None) -> None:
        """Tell one of the members, and do not wait for the reply.

        Args:
            message: see `ask`. A message that a pool does not answer becomes a `DeadLetter`.
            key: see `ask`.
        """
        super().tell(self._job(as_message(message), key, waits=False))

    def _told(self, message: Any) -> Any:
        return self._job(as_message(message), None, waits=False)

    @overload
    def broadcast(self, message: str, *, timeout: float | None = None) -> list[ChatReply]: ...

    @overload
    def broadcast(self, message: Message[R], *, timeout: float | None = None) -> list[R]: ...

    def broadcast(self, message: Any, *, timeout: float | None = None) -> list[Any]:
        """Ask all members, and return their replies in the order of `members`.

        Args:
            message: a message that agents answer, or the prompt of a `Chat` as text.
            timeout: the seconds to wait for all replies; `None` for as long as it takes.

        Raises:
            InvalidConfig: the routing of the pool is not `BROADCAST`.
            AskTimeout: not all replies came in time.
        """
        forks.check(self.actor_inbox.made_in)
        if self.routing is not Routing.BROADCAST:
            raise InvalidConfig(
                f"{self} routes by {self.routing.value}; create it with Routing.BROADCAST"
            )
        replies: list[Any] = self.ask(message, timeout=timeout)
        return replies

    def stream(self, message: Chat[P] | str, *, key: str | None = None) -> ChatStream[P]:
        """Send a prompt to one of the members, and read the reply as it comes.

        Args:
            message: a `Chat`, or its prompt.
            key: see `ask`.

        Raises:
            InvalidConfig: the pool broadcasts, or the key is missing or not text.

        It also raises what `AgentRef.stream` raises.
        """
        if self.routing is Routing.BROADCAST:
            raise InvalidConfig(f"{self} broadcasts: several replies cannot be one stream")
        return stream_from(self, message, lambda chat: self._job(chat, key, waits=True), self._asks)

    def as_tool(
        self, name: str, description: str, *, timeout: float | None = None
    ) -> Callable[[str], Coroutine[Any, Any, str]]:
        """Make a tool that asks this pool, for the `tools` of an agent's configuration.

        Each call is a turn of one of the members.

        Args:
            name: the tool's name, for the model.
            description: the tool's purpose, for the model.
            timeout: seconds for each turn, as for `Chat`.

        Raises:
            InvalidConfig: the routing is `BROADCAST` or `CONSISTENT_HASH`, or an argument is
                invalid (see `AgentRef.as_tool`).
        """
        forks.check(self.actor_inbox.made_in)
        if self.routing in (Routing.BROADCAST, Routing.CONSISTENT_HASH):
            raise InvalidConfig(f"{self} routes by {self.routing.value}: it cannot be one tool")
        return make_tool(
            lambda chat: stream_from(
                self,
                chat,
                lambda message: self._job(message, None, waits=True),
                self._asks,
                blocking=False,
            ),
            name,
            description,
            timeout,
        )

    @overload
    def resize(
        self, size: int, *, block: Literal[True] = True, timeout: float | None = None
    ) -> None: ...

    @overload
    def resize(
        self, size: int, *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[None]: ...

    @overload
    def resize(
        self, size: int, *, block: bool, timeout: float | None = None
    ) -> ReplyFuture[None] | None: ...

    def resize(
        self, size: int, *, block: bool = True, timeout: float | None = None
    ) -> ReplyFuture[None] | None:
        """Set the number of members, and wait until the new ones are ready.

        Removed members finish their current turn; their queued turns are reassigned.

        Args:
            size: the number of members, at least 1.
            block: wait until the new members are ready; else return a `ReplyFuture`.
            timeout: the seconds to wait if blocking; `None` for as long as the starts take.

        Raises:
            InvalidConfig: the size is not an integer >= 1.
            AgentStartError: a new member did not start. The pool keeps the size that was asked
                for and tries again in the background; another `resize` changes it.
            AgentDeadError: the pool has ended.
        """
        return super().ask(messages.Resize(size), block=block, timeout=timeout)

    @overload
    def members(self, *, block: Literal[True] = True) -> list[AgentRef]: ...

    @overload
    def members(self, *, block: Literal[False]) -> ReplyFuture[list[AgentRef]]: ...

    @overload
    def members(self, *, block: bool) -> list[AgentRef] | ReplyFuture[list[AgentRef]]: ...

    def members(self, *, block: bool = True) -> list[AgentRef] | ReplyFuture[list[AgentRef]]:
        """Return the refs of the members, in the order of their slots."""
        return super().ask(GetMembers(), block=block)

    @overload
    def statistics(self, *, block: Literal[True] = True) -> PoolStatistics: ...

    @overload
    def statistics(self, *, block: Literal[False]) -> ReplyFuture[PoolStatistics]: ...

    @overload
    def statistics(self, *, block: bool) -> PoolStatistics | ReplyFuture[PoolStatistics]: ...

    def statistics(self, *, block: bool = True) -> PoolStatistics | ReplyFuture[PoolStatistics]:
        """Return a snapshot of the pool."""
        return super().ask(messages.GetPoolStatistics(), block=block)

    def _need_of(self, message: object, reply: object) -> Need:
        """Return the need of a reply of this pool (see `deadlock`). Callable from any thread."""
        need = super()._need_of(message, reply)
        actor = self._actor()
        turns = (messages.Job, Chat, Send, StreamChat)
        if actor is None or not isinstance(message, turns):
            return need
        need_of_turn: Need = actor.need_of_any_turn()
        return AllOf((need, need_of_turn))

    def _job(self, message: Any, key: str | None, *, waits: bool) -> Any:
        """Wrap a turn for the pool; `waits` says that the code here waits for the reply."""
        if not isinstance(message, Chat | Send | StreamChat):
            return message  # The pool answers it itself, or not at all.
        check_key(key)
        if self.routing is Routing.CONSISTENT_HASH and not isinstance(key, str):
            raise InvalidConfig(
                f"{self} chooses a member by key: ask with key=, such as the conversation's name"
            )
        caller = current_caller.get()
        if waits and caller is not None and any(frame.in_turn for frame in caller.frames()):
            return messages.NestedJob(message, key)
        return messages.Job(message, key)
