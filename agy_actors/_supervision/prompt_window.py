"""How many prompts of an iteration over a pool are under way: as many as its size wants now."""

from __future__ import annotations

import contextlib
import queue
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Self

from agy_actors._agent import Chat, ChatReply
from agy_actors._kernel import (
    Arrivals,
    AskTimeout,
    ForkedProcessError,
    MailboxFull,
    ReplyFuture,
    current_host,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from agy_actors._supervision._pool_ref import PoolRef

__all__ = ["PoolSize", "PromptWindow"]

_PER_MEMBER = 2
"""Prompts under way for each member: one that runs, and one that is there when it has ended."""

_FULL_PAUSE = 0.05
"""Seconds between attempts to ask a pool whose mailbox is full of the turns of others. Arbitrary:
far shorter than a turn."""


class PoolSize:
    """How many members a pool has just now. Its thread updates it, any thread may read it.

    There is no lock: a forked child would find it as the fork left it. CPython's dictionaries
    need none for what is done here.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._watchers: dict[object, Callable[[], None]] = {}

    @property
    def now(self) -> int:
        """The number."""
        return self._size

    def update(self, size: int) -> None:
        """Set the number, and tell who watches. For the pool's thread."""
        if size == self._size:
            return
        self._size = size
        for watcher in list(self._watchers.values()):
            watcher()

    def watch(self, watcher: Callable[[], None]) -> object:
        """Call a function, which must be short, on each change. Return a token for `unwatch`."""
        token = object()
        self._watchers[token] = watcher
        return token

    def unwatch(self, token: object) -> None:
        """Call the function no more."""
        self._watchers.pop(token, None)


class PromptWindow:
    """Asks the prompts of an iteration, a bounded number at a time. For one thread.

    On leaving, what is under way is cancelled.

    Args:
        pool: who is asked.
        size: the size of the pool, which the bound follows.
        prompts: prompts, or `Chat`s; taken when there is room for one more.
        in_flight: how many are under way at most; `None` is two for each member.
    """

    def __init__(
        self, pool: PoolRef, size: PoolSize, prompts: Iterator[Any], in_flight: int | None
    ) -> None:
        self._pool = pool
        self._size = size
        self._prompts = prompts
        self._in_flight = in_flight
        self._next: deque[Chat] = deque(maxlen=1)
        """A prompt that was taken, and that the pool had no room for."""
        self._exhausted = False
        self._changes: Arrivals[ReplyFuture[ChatReply] | None] = Arrivals()
        """Futures that are done; `None` is another size."""
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
        """How many prompts may be under way now."""
        return _PER_MEMBER * self._size.now if self._in_flight is None else self._in_flight

    def fill(self) -> bool:
        """Ask as many prompts as there is room for; return whether any is left to be answered."""
        while not self._exhausted and len(self._under_way) < self.limit:
            if not self._next:
                try:
                    prompt = next(self._prompts)
                except StopIteration:
                    self._exhausted = True
                    break
                self._next.append(prompt if isinstance(prompt, Chat) else Chat(prompt))
            try:
                future = self._pool.ask(self._next[0], block=False)
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
        deadline = None if timeout is None else current_host().monotonic() + timeout
        while True:
            self._changes.clear()  # Before the looks: what comes after them is seen.
            self.fill()
            first = next(iter(self._under_way), None)
            if first is not None and first.done():
                del self._under_way[first]
                return first
            left = None if deadline is None else deadline - current_host().monotonic()
            if left is not None and left <= 0:
                message = type(self._next[0] if first is None else first.message).__name__
                raise AskTimeout(f"no reply to {message} by {self._pool} within {timeout} seconds")
            self._wait(left)

    def wait_for_any(self) -> ReplyFuture[ChatReply]:
        """Wait until any reply is here, and return its future."""
        while True:
            future = self._wait(None)
            if future is not None:
                del self._under_way[future]
                return future
            self.fill()

    def _wait(self, timeout: float | None) -> ReplyFuture[ChatReply] | None:
        """Wait for a change: a future that is done, or `None` for a reason to look again."""
        if not self._under_way:  # The mailbox is full, and nothing says when it is not.
            timeout = _FULL_PAUSE if timeout is None else min(_FULL_PAUSE, timeout)
        try:
            return self._changes.get(timeout)
        except queue.Empty:
            return None
