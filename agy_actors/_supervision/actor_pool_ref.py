"""`ActorPoolRef`: a reference to a pool of actors of any class."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.deadlock import AllOf
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import set_about
from agy_actors._actors.message import PYKKA_MESSAGES
from agy_actors._supervision import pool_messages as messages
from agy_actors._supervision.owner_ref import OwnerRef
from agy_actors._supervision.pool_key import check_key
from agy_actors._supervision.routing import Routing
from agy_actors._supervision.supervisor_messages import (
    ReturnChild,
    Shutdown,
    ShutdownAgent,
    Subscribe,
)

if TYPE_CHECKING:
    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.message import Message
    from agy_actors._supervision.pool_messages import PoolStatistics

__all__ = ["ActorPoolRef"]

R = TypeVar("R")

_FOR_THE_POOL = (
    *PYKKA_MESSAGES,
    messages.GetPoolMembers,
    messages.GetPoolStatistics,
    messages.Resize,
    ReturnChild,
    Shutdown,
    ShutdownAgent,
    Subscribe,
)
"""The messages that the pool answers itself. All others go to a member."""


class ActorPoolRef(OwnerRef):
    """A reference to a pool of actors of any class. Thread-safe.

    `ask` and `tell` send a message to one of the members. As a context manager it stops the pool
    and its members on leaving.
    """

    _call_instead = "`supervisor.create_actor_pool(...)` creates a pool, and returns its ref"

    routing: Routing
    """How it chooses the member for a message."""

    def __init__(self, actor: Any) -> None:
        super().__init__(actor)
        self.routing = actor.routing
        self._actor: weakref.ref[Any] = weakref.ref(actor)

    def __repr__(self) -> str:
        return f"<ActorPoolRef {self.name!r}{self._state_suffix()}>"

    def __str__(self) -> str:
        return f"pool {self.name!r}"

    @overload  # type: ignore[override]
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

    def ask(  # pyright: ignore[reportIncompatibleMethodOverride] # as `AsyncioActorRef`'s
        self,
        message: Any,
        *,
        block: bool = True,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Any:
        """Ask one of the members. It works as `AsyncioActorRef.ask`, except for `key`.

        Each member gets one message at a time. If a member ends while it handles a message, no
        other member gets the message; its asker gets an `ActorDeadError`.

        Args:
            message: any message.
            block: wait for the reply and return it; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking.
            key: for the routing `CONSISTENT_HASH`, which requires one: messages with the same key
                go to the same member. Other routings ignore it.

        Raises:
            InvalidConfig: the key is not text, or it is missing and the routing needs one.
            MailboxFull: the pool's mailbox is at its `capacity`.

        A pool that broadcasts replies with the list of the replies of all members.
        """
        reply = super().ask(self._job(message, key, waits=block), block=block, timeout=timeout)
        if isinstance(reply, ReplyFuture):
            set_about(reply, message, self)
        return reply

    def tell(self, message: Any, *, key: str | None = None) -> None:
        """Send a message to one of the members, and do not wait.

        If its handler raises, it becomes a `DeadLetter`; the member does not end.

        Args:
            message: any message.
            key: see `ask`.
        """
        super().tell(self._job(message, key, waits=False))

    def _told(self, message: Any) -> Any:
        return self._job(message, None, waits=False)

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

        Removed members finish their current message; their queued messages are reassigned.

        Args:
            size: the number of members, at least 1.
            block: wait for the new members; else return a `ReplyFuture`.
            timeout: the seconds to wait if blocking.

        Raises:
            InvalidConfig: the size is invalid.
            ActorStartError: a new member did not start. The pool keeps the new size, and tries
                again in the background.
            ActorDeadError: the pool has ended.
        """
        return super().ask(messages.Resize(size), block=block, timeout=timeout)

    @overload
    def members(self, *, block: Literal[True] = True) -> list[AsyncioActorRef]: ...

    @overload
    def members(self, *, block: Literal[False]) -> ReplyFuture[list[AsyncioActorRef]]: ...

    @overload
    def members(
        self, *, block: bool
    ) -> list[AsyncioActorRef] | ReplyFuture[list[AsyncioActorRef]]: ...

    def members(
        self, *, block: bool = True
    ) -> list[AsyncioActorRef] | ReplyFuture[list[AsyncioActorRef]]:
        """Return the refs of the members, in the order of their slots."""
        return super().ask(messages.GetPoolMembers(), block=block)

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
        """Return the need of a reply of this pool (see `deadlock`). Thread-safe."""
        need = super()._need_of(message, reply)
        actor = self._actor()
        if actor is None or isinstance(message, _FOR_THE_POOL):
            return need
        need_of_turn: Need = actor.need_of_any_turn()
        return AllOf((need, need_of_turn))

    def _job(self, message: Any, key: str | None, *, waits: bool) -> Any:
        """Wrap a message for a member; `waits` says that the code here waits for the reply."""
        if isinstance(message, _FOR_THE_POOL):
            return message
        check_key(key)
        if self.routing is Routing.CONSISTENT_HASH and not isinstance(key, str):
            raise InvalidConfig(f"{self} chooses a member by key: ask with key=")
        caller = current_caller.get()
        if waits and caller is not None and any(frame.in_turn for frame in caller.frames()):
            return messages.NestedJob(message, key)
        return messages.Job(message, key)
