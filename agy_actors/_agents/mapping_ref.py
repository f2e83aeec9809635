"""`MappingRef`: the methods of a pool's ref that ask many prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from agy_actors._actors import forks
from agy_actors._actors.arguments import check_flag, check_optional_seconds
from agy_actors._agents.pool_arguments import check_in_flight, check_prompts
from agy_actors._agents.prompt_window import PromptWindow, complete_prompts, map_prompts
from agy_actors._supervision.owner_ref import OwnerRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agy_actors._actors.future import ReplyFuture
    from agy_actors._agents.agent_messages import Chat, ChatReply, P
    from agy_actors._supervision.pool_size import PoolSize

__all__ = ["MappingRef"]


class MappingRef(OwnerRef):
    """The methods of a pool's ref that ask the prompts of an iterable."""

    _size: PoolSize
    """How many members the pool has now."""

    @overload
    def map(
        self,
        prompts: Iterable[Chat[P]],
        *,
        in_flight: int | None = None,
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
    ) -> Iterator[ChatReply[P]]: ...

    @overload
    def map(
        self,
        prompts: Iterable[Chat[P]],
        *,
        in_flight: int | None = None,
        timeout: float | None = None,
        return_exceptions: Literal[True],
    ) -> Iterator[ChatReply[P] | Exception]: ...

    @overload
    def map(
        self,
        prompts: Iterable[Any],
        *,
        in_flight: int | None = None,
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
    ) -> Iterator[ChatReply]: ...

    @overload
    def map(
        self,
        prompts: Iterable[Any],
        *,
        in_flight: int | None = None,
        timeout: float | None = None,
        return_exceptions: bool,
    ) -> Iterator[ChatReply | Exception]: ...

    def map(
        self,
        prompts: Iterable[Any],
        *,
        in_flight: int | None = None,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """Ask every prompt, and yield the replies in the order of the prompts.

        Prompts are taken from the iterable one at a time, when the pool has room for them, so it
        may be endless. While the pool's mailbox is full, the iteration waits. When the iteration
        ends, prompts in progress are cancelled.

        Args:
            prompts: prompts, or `Chat`s.
            in_flight: how many are in progress at most; by default two for each member that the
                pool has at the time.
            timeout: the seconds to wait for the next reply, each time.
            return_exceptions: yield the error of a prompt in place of its reply; otherwise the
                error is raised, and ends the iteration.

        Raises:
            InvalidConfig: `in_flight` is not an integer >= 1.
            InvalidArgument: another argument is of the wrong kind. Nothing is sent.
            AskTimeout: a reply did not come in time.
            TurnError: a turn ended without a reply.
            AgentDeadError: the pool has ended.
        """
        forks.check(self.actor_inbox.made_in)
        limit = check_in_flight(in_flight)
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        keep = check_flag("return_exceptions", return_exceptions)
        return map_prompts(self._window(check_prompts(prompts), limit), timeout, keep=keep)

    @overload
    def as_completed(  # pyright: ignore[reportOverlappingOverload] # `Chat`s first, then the rest
        self, prompts: Iterable[Chat[P]], *, in_flight: int | None = None
    ) -> Iterator[ReplyFuture[ChatReply[P]]]: ...

    @overload
    def as_completed(
        self, prompts: Iterable[Any], *, in_flight: int | None = None
    ) -> Iterator[ReplyFuture[ChatReply]]: ...

    def as_completed(
        self, prompts: Iterable[Any], *, in_flight: int | None = None
    ) -> Iterator[ReplyFuture[Any]]:
        """Ask every prompt, and yield the futures of the replies as they are done.

        Prompts are taken as in `map`. `future.message` is the `Chat` that was asked.

        Args:
            prompts: prompts, or `Chat`s.
            in_flight: how many are in progress at most; by default two for each member that the
                pool has at the time.

        Raises:
            InvalidConfig: `in_flight` is not an integer >= 1.
            InvalidArgument: the prompts cannot be iterated. Nothing is sent.
        """
        forks.check(self.actor_inbox.made_in)
        limit = check_in_flight(in_flight)
        return complete_prompts(self._window(check_prompts(prompts), limit))

    def _window(self, prompts: Iterator[Any], limit: int | None) -> PromptWindow:
        return PromptWindow(self, self._offer, self._size, prompts, limit)

    def _offer(self, message: Chat[Any]) -> ReplyFuture[ChatReply]:
        """Ask without blocking. It does not count as an ask if the mailbox is full.

        Raises:
            MailboxFull: the prompt may be offered again.
        """
        raise NotImplementedError
