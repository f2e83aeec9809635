"""A reference to a pool of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from agy_actors._agent import (
    AgentRef,
    Chat,
    ChatReply,
    ChatStream,
    InvalidConfig,
    Send,
    StreamChat,
    as_message,
    make_tool,
)
from agy_actors._kernel import (
    Message,
    ReplyFuture,
    check_flag,
    check_optional_seconds,
    current_caller,
    forks,
)
from agy_actors._supervision import _pool_messages as messages
from agy_actors._supervision._ref import OwnerRef
from agy_actors._supervision._routing import Routing
from agy_actors._supervision.pool_arguments import check_in_flight, check_key, check_prompts
from agy_actors._supervision.prompt_window import PromptWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from agy_actors._supervision._pool import Pool

__all__ = ["PoolRef"]

R = TypeVar("R")


class PoolRef(OwnerRef):
    """A reference to a pool, for every thread.

    `ask`, `tell` and `stream` are those of an agent, and go to one of the members. As a
    context manager it stops the pool, and with it the members, on leaving.
    """

    def __init__(self, actor: Pool) -> None:
        super().__init__(actor)
        self.routing = actor.routing
        self._size = actor.size

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
        message: Any,
        *,
        block: bool = True,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Any: ...

    def ask(  # pyright: ignore[reportIncompatibleMethodOverride] # as the kernel's
        self,
        message: Any,
        *,
        block: bool = True,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Any:
        """Ask one of the members. As an agent's `ask`, but for `key`.

        Args:
            message: a `Chat` or a `Send`, a text (the prompt of a `Chat`), or a message that
                the pool answers itself.
            block: wait for the reply and return it; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking; see `AsyncioActorRef.ask`.
            key: what the message is about: the same key goes to the same member, where
                the routing is `CONSISTENT_HASH`, which needs one.

        Raises:
            InvalidPrompt: the text cannot be asked.
            InvalidConfig: the key is not text, or there is none and the routing needs one.
            UnknownMessage: a pool does not answer such a message. Names those it does.

        A pool that broadcasts answers with the list of all members' replies; `broadcast`
        has the type for that.
        """
        message = as_message(message)
        reply = super().ask(self._job(message, key, waits=block), block=block, timeout=timeout)
        if isinstance(reply, ReplyFuture):
            reply.about = (message, self)
        return reply

    def tell(self, message: Any, *, key: str | None = None) -> None:
        """Have one of the members take a turn, and do not wait for anything.

        Args:
            message: as of `ask`. One that a pool does not answer is a `DeadLetter`.
            key: as of `ask`.
        """
        super().tell(self._job(as_message(message), key, waits=False))

    @overload
    def broadcast(self, message: str, *, timeout: float | None = None) -> list[ChatReply]: ...

    @overload
    def broadcast(self, message: Message[R], *, timeout: float | None = None) -> list[R]: ...

    def broadcast(self, message: Any, *, timeout: float | None = None) -> list[Any]:
        """Ask all members, and wait for all of their replies, in the order of their places.

        For a pool whose routing is `BROADCAST`. A text is the prompt of a `Chat`.

        Raises:
            InvalidConfig: it is another.
        """
        forks.check(self.actor_inbox.made_in)
        if self.routing is not Routing.BROADCAST:
            raise InvalidConfig(
                f"{self} routes by {self.routing.value}; create it with Routing.BROADCAST"
            )
        job = self._job(as_message(message), None, waits=True)
        replies: list[Any] = super().ask(job, timeout=timeout)
        return replies

    def stream(self, message: Chat | str, *, key: str | None = None) -> ChatStream:
        """Have one of the members take a turn, and read its answer as it comes.

        See `AgentRef.stream`.
        """
        if self.routing is Routing.BROADCAST:
            raise InvalidConfig(f"{self} broadcasts: its answers are no one stream")
        return AgentRef.stream_to(self, message, lambda chat: self._job(chat, key, waits=True))

    def as_tool(
        self, name: str, description: str, *, timeout: float | None = None
    ) -> Callable[[str], Coroutine[Any, Any, str]]:
        """Make a tool of this pool, for the `tools` of an agent's configuration.

        Each call has a turn of one of the members. See `AgentRef.as_tool`.
        """
        forks.check(self.actor_inbox.made_in)
        if self.routing in (Routing.BROADCAST, Routing.CONSISTENT_HASH):
            raise InvalidConfig(f"{self} routes by {self.routing.value}: it cannot be one tool")
        return make_tool(
            lambda chat: AgentRef.stream_to(
                self, chat, lambda message: self._job(message, None, waits=True), blocking=False
            ),
            name,
            description,
            timeout,
        )

    def map(
        self,
        prompts: Iterable[Any],
        *,
        in_flight: int | None = None,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[ChatReply]:
        """Ask every prompt, and yield the replies in the order of the prompts.

        Prompts are taken from the iterable as there is room for them, never all at once,
        so it may be endless. While the pool's mailbox is full, the iteration waits. What is
        under way when the iteration ends is cancelled.

        Args:
            prompts: prompts, or `Chat`s.
            in_flight: how many are under way at most; by default two for each member that the
                pool has at the time.
            timeout: the seconds to wait for the next reply, each time.
            return_exceptions: yield the error of a prompt in the place of its reply; else
                it is raised, and ends the iteration.

        Raises:
            InvalidConfig: `in_flight` is not a whole number from 1.
            InvalidArgument: another argument is of the wrong kind. Nothing is sent.
            AskTimeout: a reply did not come in time.
            TurnError: a turn ended without a reply.
            AgentDeadError: the pool has ended.
        """
        forks.check(self.actor_inbox.made_in)
        limit = check_in_flight(in_flight)
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        keep = check_flag("return_exceptions", return_exceptions)
        return _map(
            PromptWindow(self, self._size, check_prompts(prompts), limit), timeout, keep=keep
        )

    def as_completed(
        self, prompts: Iterable[Any], *, in_flight: int | None = None
    ) -> Iterator[ReplyFuture[ChatReply]]:
        """Ask every prompt, and yield the futures of the replies as they are done.

        Prompts are taken as in `map`. `future.message` is the `Chat` that was asked.

        Args:
            prompts: prompts, or `Chat`s.
            in_flight: how many are under way at most; by default two for each member that the
                pool has at the time.

        Raises:
            InvalidConfig: `in_flight` is not a whole number from 1.
            InvalidArgument: the prompts cannot be iterated. Nothing is sent.
        """
        forks.check(self.actor_inbox.made_in)
        limit = check_in_flight(in_flight)
        return _as_completed(PromptWindow(self, self._size, check_prompts(prompts), limit))

    def resize(self, size: int, *, timeout: float | None = None) -> None:
        """Set the number of members, and wait until the new ones are up.

        Removed members finish their current turn; their queued turns are reassigned.

        Raises:
            InvalidConfig: a pool has at least one member.
            AgentStartError: a new member did not start. The pool keeps the size that was asked
                for and tries again in the background; another `resize` changes it.
            AgentDeadError: the pool has ended.
        """
        super().ask(messages.Resize(size), timeout=timeout)

    def members(self) -> list[AgentRef]:
        """Return the refs of the members, in the order of their places."""
        return super().ask(messages.GetMembers())

    def statistics(self) -> messages.PoolStatistics:
        """Return a snapshot of the pool."""
        return super().ask(messages.GetPoolStatistics())

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


def _map(window: PromptWindow, timeout: float | None, *, keep: bool) -> Iterator[Any]:
    with window:
        while window.fill():
            future = window.wait_for_first(timeout)
            try:
                reply: Any = future.get()
            except Exception as error:
                if not keep:
                    raise
                reply = error
            yield reply


def _as_completed(window: PromptWindow) -> Iterator[ReplyFuture[ChatReply]]:
    with window:
        while window.fill():
            yield window.wait_for_any()
