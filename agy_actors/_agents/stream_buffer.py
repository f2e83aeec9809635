"""`StreamBuffer`: the events that a turn has streamed so far, and their readers.

Guarantees:

*   A reader gets every event, in order, and the turn's error after the events before it.
*   A reader that lags behind gets larger pieces. So memory is bounded by the answer's own text and
    `StreamBuffer.AHEAD` events. (A reader must not slow the turn down: if a turn is not read for 5
    s, the harness drops it, and ends the answer there as if it were complete.)
*   In a forked child, reading a stream of the parent raises `ForkedProcessError`; leaving the
    stream does nothing.
"""

from __future__ import annotations

import collections
import itertools
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from google.antigravity.types import Text, Thought, ToolCall

from agy_actors._actors import forks
from agy_actors._actors.blocking import Change
from agy_actors._actors.errors import AskTimeout
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.runtime import current_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agy_actors._agents.agent_messages import ChatReply

__all__ = ["StreamBuffer", "StreamEvent"]

StreamEvent = Text | Thought | ToolCall
"""An event of a stream."""

LINGER = 0.5
"""Seconds to wait for another reader of a stream that was left in the middle, for example by
`next(iter(stream))`. Arbitrary: long enough for code that continues to read."""


class StreamBuffer:
    """The events that a turn has streamed so far, and their readers. Thread-safe.

    One lock guards everything, and no other code is called while it is held.
    """

    AHEAD: ClassVar[int] = 256
    """How many events the turn may be ahead of its slowest reader before they are joined.
    Arbitrary: enough for a reader that reads now and then, and only a few kilobytes."""

    def __init__(self) -> None:
        self.future: ReplyFuture[ChatReply[Any]] = ReplyFuture()
        self._made_in = forks.generation
        self._lock = threading.Lock()
        self._changed = Change(self._lock)
        self._past: list[StreamEvent] = []
        """The events that all readers have read, joined."""
        self._recent: collections.deque[StreamEvent] = collections.deque()
        self._start = 0
        """How many events `_past` stands for."""
        self._positions: dict[object, int] = {}
        """How many events each open reader has read."""
        self._read_through = False
        """Whether an asker waits for the complete reply, and so counts as a reader."""
        self._wakers: dict[Callable[[], None], None] = {}
        self.kept = True
        """Whether the stream still exists, so that it may get another reader."""
        self.future.add_done_callback(self._finish)

    # For the agent.

    def push(self, event: StreamEvent) -> None:
        """Append an event."""
        with self._lock:
            if not self._extend_last(event):
                self._recent.append(event)
            if not self._positions and self._read_through:
                self._trim()
            wakers = self._announce()
        _call(wakers)

    @property
    def begun(self) -> bool:
        """Whether any event has come."""
        return bool(self._start or self._recent)

    # For readers.

    @property
    def is_parents(self) -> bool:
        """Whether this process is a forked child of the one that the turn belongs to."""
        return self._made_in != forks.generation

    def join(self, reader: object) -> list[StreamEvent]:
        """Add a reader, and return the events that it reads first."""
        forks.check(self._made_in)
        with self._lock:
            self._positions[reader] = self._start
            self._changed.announce()
            return list(self._past)

    def leave(self, reader: object) -> bool:
        """Remove a reader, and return whether no reader is left."""
        if self.is_parents:
            return False
        with self._lock:
            self._positions.pop(reader, None)
            self._trim()
            wakers = self._announce()  # It may wait, in another thread or task.
            unwanted = not self.wanted
        _call(wakers)
        return unwanted

    def stays_unread(self) -> bool:
        """Return whether no reader continues within `LINGER` seconds."""
        runtime = current_runtime()
        deadline = runtime.monotonic() + LINGER
        with self._lock:
            while not self.wanted and self.kept and (left := deadline - runtime.monotonic()) > 0:
                self._changed.wait(left)
            return not self.wanted

    def read_through(self) -> None:
        """Note that an asker waits for the complete reply."""
        forks.check(self._made_in)
        with self._lock:
            self._read_through = True
            self._changed.announce()

    @property
    def wanted(self) -> bool:
        """Whether there is a reader, or an asker that waits for the reply or has got it."""
        return bool(self._positions) or self._read_through or self.future.done()

    def take(self, reader: object) -> StreamEvent | None:
        """Return the reader's next event, or `None` if it has not come yet."""
        forks.check(self._made_in)
        with self._lock:
            position = self._positions.get(reader)
            if position is None or not self._has_more(reader):
                return None
            event = self._recent[position - self._start]
            self._positions[reader] = position + 1
            self._trim()
            return event

    def wait(self, reader: object, timeout: float | None) -> StreamEvent | None:
        """Wait for the reader's next event and return it, or `None` at the end.

        The reader's leaving counts as the end.

        Raises:
            AskTimeout: it did not come in time.
            DeadlockError: the turn waits for the code that reads here.
        """
        runtime = current_runtime()
        deadline = None if timeout is None else runtime.monotonic() + timeout
        while True:
            event = self.take(reader)
            if event is not None:
                return event
            with self._lock:
                if self._has_more(reader):
                    continue
                if self.future.done() or reader not in self._positions:
                    return None
                left = None if deadline is None else deadline - runtime.monotonic()
                if left is not None and left <= 0:
                    raise AskTimeout(f"nothing came from the turn within {timeout} seconds")
                self._changed.wait(left, (self.future,))

    def call_when_changed(self, reader: object, waker: Callable[[], None]) -> None:
        """Call `waker` when the reader has an event or leaves, or when the turn ends."""
        forks.check(self._made_in)
        with self._lock:
            left = reader not in self._positions
            if not (left or self._has_more(reader) or self.future.done()):
                self._wakers[waker] = None
                return
        waker()

    def forget_waker(self, waker: Callable[[], None]) -> None:
        """Remove a waker, if it was not called."""
        with self._lock:
            self._wakers.pop(waker, None)

    # Under the lock.

    def _ahead(self) -> int:
        return self._start + len(self._recent) - min(self._positions.values(), default=self._start)

    def _extend_last(self, event: StreamEvent) -> bool:
        """Join the event to the last one, if no reader has read that one."""
        end = self._start + len(self._recent)
        if self._ahead() < self.AHEAD or max(self._positions.values(), default=0) >= end:
            return False
        joined = list(_joined([self._recent[-1], event]))
        if len(joined) > 1:
            return False
        self._recent[-1] = joined[0]
        return True

    def _has_more(self, reader: object) -> bool:
        end = self._start + len(self._recent)
        return self._positions.get(reader, end) < end

    def _trim(self) -> None:
        """Join the events that all have read, `AHEAD` at a time, so that an event costs little."""
        end = self._start + len(self._recent)
        read = min(self._positions.values(), default=end if self._read_through else self._start)
        while read - self._start >= self.AHEAD:
            self._past += _joined([self._recent.popleft() for _ in range(self.AHEAD)])
            self._start += self.AHEAD

    def _announce(self) -> list[Callable[[], None]]:
        self._changed.announce()
        wakers, self._wakers = self._wakers, {}
        return list(wakers)

    def _finish(self, _: object) -> None:
        with self._lock:
            wakers = self._announce()
        _call(wakers)


def _joined(events: list[StreamEvent]) -> Iterator[StreamEvent]:
    """Join the pieces of one step that follow each other."""

    def kind(event: StreamEvent) -> object:
        return id(event) if isinstance(event, ToolCall) else (type(event), event.step_index)

    for _, run in itertools.groupby(events, kind):
        group = list(run)
        first = group[0]
        if isinstance(first, ToolCall) or len(group) == 1:
            yield first
        else:
            text = "".join(event.text for event in group if not isinstance(event, ToolCall))
            yield type(first)(step_index=first.step_index, text=text)


def _call(wakers: Iterable[Callable[[], None]]) -> None:
    for waker in wakers:
        waker()
