"""`PromptWindow`: limits how many prompts of an iteration are in progress, by the pool's size."""

from __future__ import annotations

import contextlib
import queue
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Self

from agy_actors._actors.blocking import Arrivals
from agy_actors._actors.errors import AskTimeout, ForkedProcessError, MailboxFull
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.agent_messages import Chat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import TracebackType

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.future import ReplyFuture
    from agy_actors._agents.agent_messages import ChatReply
    from agy_actors._supervision.pool_size import PoolSize

__all__ = ["PromptWindow", "complete_prompts", "map_prompts"]

_PER_MEMBER = 2
"""Prompts in progress for each member: one that runs, and one that follows it at once."""

_FULL_PAUSE = 0.05
"""Seconds between attempts to ask a pool whose mailbox other askers have filled. Arbitrary: far
shorter than a turn."""


class PromptWindow:
    """Asks the prompts of an iteration, a bounded number at a time. For one thread.

    On leaving, prompts in progress are cancelled.

    Args:
        pool: who is asked, for errors.
        offer: asks a prompt without blocking. It raises `MailboxFull` if the prompt is to be
            offered again.
        size: the size of the pool, which the bound follows.
        prompts: prompts, or `Chat`s; taken when there is room for one more.
        in_flight: how many are in progress at most; `None` means two for each member.
    """

    def __init__(
        self,
        pool: AsyncioActorRef,
        offer: Callable[[Chat], ReplyFuture[ChatReply]],
        size: PoolSize,
        prompts: Iterator[Any],
        in_flight: int | None,
    ) -> None:
        self._pool = pool
        self._offer = offer
        self._size = size
        self._prompts = prompts
        self._in_flight = in_flight
        self._next: deque[Chat] = deque(maxlen=1)
        """A prompt that was taken and did not fit into the pool's mailbox."""
        self._exhausted = False
        self._changes: Arrivals[ReplyFuture[ChatReply] | None] = Arrivals()
        """Futures that are done; `None` means that the size has changed."""
        self._under_way: OrderedDict[ReplyFuture[ChatReply], None] = OrderedDict()

    def __enter__(self) -> Self:
        self._token = self._size.watch(lambda: self._changes.put(None))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._size.unwatch(self._token)
        for future in self._under_way:
            # A forked child leaves them to the parent.
            with contextlib.suppress(ForkedProcessError):
                future.cancel()

    @property
    def limit(self) -> int:
        """How many prompts may be in progress now."""
        return _PER_MEMBER * self._size.now if self._in_flight is None else self._in_flight

    def fill(self) -> bool:
        """Ask prompts until the limit is reached; return whether any is unanswered."""
        while not self._exhausted and len(self._under_way) < self.limit:
            if not self._next:
                try:
                    prompt = next(self._prompts)
                except StopIteration:
                    self._exhausted = True
                    break
                self._next.append(prompt if isinstance(prompt, Chat) else Chat(prompt))
            try:
                future = self._offer(self._next[0])
            except MailboxFull:
                break  # Others use the pool, too.
            self._next.clear()
            self._under_way[future] = None
            future.add_done_callback(self._changes.put)
        return bool(self._under_way or self._next)

    def wait_for_first(self, timeout: float | None) -> ReplyFuture[ChatReply]:
        """Wait until the reply to the earliest prompt is here, and return its future.

        Raises:
            AskTimeout: it did not come in time.
        """
        deadline = None if timeout is None else current_runtime().monotonic() + timeout
        while True:
            self._changes.clear()  # Before the checks, so that later replies are noticed.
            self.fill()
            first = next(iter(self._under_way), None)
            if first is not None and first.done():
                del self._under_way[first]
                return first
            left = None if deadline is None else deadline - current_runtime().monotonic()
            if left is not None and left <= 0:
                message = type(self._next[0] if first is None else first.message).__name__
                raise AskTimeout(f"no reply to {message} by {self._pool} within {timeout} seconds")
            self._wait(left, () if first is None else (first,))

    def wait_for_any(self) -> ReplyFuture[ChatReply]:
        """Wait until any reply is here, and return its future."""
        while True:
            future = self._wait(None, self._under_way)
            if future is not None:
                del self._under_way[future]
                return future
            self.fill()

    def _wait(
        self, timeout: float | None, goals: Collection[ReplyFuture[ChatReply]]
    ) -> ReplyFuture[ChatReply] | None:
        """Wait for a change: return a future that is done, or `None` to check again.

        Raises:
            DeadlockError: none of the replies that are waited for can come.
        """
        if not self._under_way:  # The mailbox is full, and no event tells when it has room.
            timeout = _FULL_PAUSE if timeout is None else min(_FULL_PAUSE, timeout)
        try:
            return self._changes.get(timeout, goals)
        except queue.Empty:
            return None


def map_prompts(window: PromptWindow, timeout: float | None, *, keep: bool) -> Iterator[Any]:
    """Yield the replies to all prompts, in the order of the prompts.

    Args:
        window: asks the prompts.
        timeout: the seconds to wait for the next reply, each time.
        keep: yield the error of a prompt in place of its reply.
    """
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


def complete_prompts(window: PromptWindow) -> Iterator[ReplyFuture[ChatReply]]:
    """Yield the futures of the replies to all prompts, as they are done."""
    with window:
        while window.fill():
            yield window.wait_for_any()
