"""A turn's answer as it comes, for readers on any thread and in any event loop.

Guarantees:

*   A reader gets every event, in order, and the turn's error after those that came before.
*   A reader that is behind gets larger pieces. So memory is bounded by the answer's own text,
    and `Tape.AHEAD` events. (It cannot hold the turn up: the harness gives a turn up that is
    not listened to for 5 s, and ends the answer there as if it were whole.)
*   When nobody is left to read, the turn is cancelled.
*   In a forked child, reading a stream of the parent raises `ForkedProcessError`, and leaving
    it does nothing.
"""

from __future__ import annotations

import _thread
import asyncio
import collections
import contextlib
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar

from google.antigravity.types import Text, Thought, ToolCall

from agy_actors._kernel import (
    AskTimeout,
    Change,
    ProcessBound,
    ReplyFuture,
    check_optional_seconds,
    current_host,
    forks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from types import TracebackType

    from agy_actors._agent._replies import ChatReply

    StreamEvent = Text | Thought | ToolCall

__all__ = ["ChatStream", "StreamCursor", "Tape"]

T = TypeVar("T")

LINGER = 0.5
"""Seconds in which a stream may be read on that was left in the middle, by
`next(iter(stream))` say. Arbitrary: it tells who goes on reading from who does not."""


class Tape:
    """What a turn has brought so far, and who reads it.

    The agent records on its own thread; readers are on any thread. One lock guards it all,
    and nothing is called while it is held.
    """

    AHEAD: ClassVar[int] = 256
    """How many events the turn may be ahead of its slowest reader before they are joined.
    Arbitrary: enough for a reader that looks in now and then, and a few kilobytes."""

    def __init__(self) -> None:
        self.future: ReplyFuture[ChatReply] = ReplyFuture()
        self._made_in = forks.generation
        self._lock = threading.Lock()
        self._changed = Change(self._lock)
        self._past: list[StreamEvent] = []
        """What all readers have read, joined."""
        self._recent: collections.deque[StreamEvent] = collections.deque()
        self._start = 0
        """How many events are in the past."""
        self._positions: dict[object, int] = {}
        """How many events each open reader has read."""
        self._read_through = False
        """Whether somebody waits for the whole reply, and reads in this way."""
        self._wakers: list[Callable[[], None]] = []
        self.kept = True
        """Whether the stream is still there, and can be given another reader."""
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
        """Whether anything has come."""
        return bool(self._start or self._recent)

    # For readers.

    @property
    def is_parents(self) -> bool:
        """Whether this process is a forked child of the one that the turn belongs to."""
        return self._made_in != forks.generation

    def join(self, reader: object) -> list[StreamEvent]:
        """Add a reader, and return what it has to read first."""
        forks.check(self._made_in)
        with self._lock:
            self._positions[reader] = self._start
            self._changed.announce()
            return list(self._past)

    def leave(self, reader: object) -> bool:
        """Forget a reader, and return whether nobody is left to read."""
        if self.is_parents:
            return False
        with self._lock:
            self._positions.pop(reader, None)
            self._trim()
            return not self.wanted

    def stays_unread(self) -> bool:
        """Return whether nobody reads on in a while."""
        host = current_host()
        deadline = host.monotonic() + LINGER
        with self._lock:
            while not self.wanted and self.kept and (left := deadline - host.monotonic()) > 0:
                self._changed.wait(left)
            return not self.wanted

    def read_through(self) -> None:
        """Note that somebody waits for the whole reply."""
        forks.check(self._made_in)
        with self._lock:
            self._read_through = True
            self._changed.announce()

    @property
    def wanted(self) -> bool:
        """Whether anybody reads, waits for the reply, or has got it."""
        return bool(self._positions) or self._read_through or self.future.done()

    def take(self, reader: object) -> StreamEvent | None:
        """Return the reader's next event, or `None` if there is none yet."""
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

        Raises:
            AskTimeout: it did not come in time.
        """
        host = current_host()
        deadline = None if timeout is None else host.monotonic() + timeout
        while True:
            event = self.take(reader)
            if event is not None:
                return event
            with self._lock:
                if self._has_more(reader):
                    continue
                if self.future.done():
                    return None
                left = None if deadline is None else deadline - host.monotonic()
                if left is not None and left <= 0:
                    raise AskTimeout(f"nothing came from the turn within {timeout} seconds")
                self._changed.wait(left)

    def call_when_changed(self, reader: object, waker: Callable[[], None]) -> None:
        """Call `waker` when the reader has something to read or the end is known."""
        forks.check(self._made_in)
        with self._lock:
            if not (self._has_more(reader) or self.future.done()):
                self._wakers.append(waker)
                return
        waker()

    # Under the lock.

    def _ahead(self) -> int:
        return self._start + len(self._recent) - min(self._positions.values(), default=self._start)

    def _extend_last(self, event: StreamEvent) -> bool:
        """Join the event to the last one, if the readers are behind and none has read that."""
        end = self._start + len(self._recent)
        if self._ahead() < self.AHEAD or max(self._positions.values(), default=0) >= end:
            return False
        joined = list(_joined([self._recent[-1], event]))
        if len(joined) > 1:
            return False
        self._recent[-1] = joined[0]
        return True

    def _has_more(self, reader: object) -> bool:
        return self._positions.get(reader, 0) < self._start + len(self._recent)

    def _trim(self) -> None:
        """Join what all have read, `AHEAD` events at a time: so it costs next to nothing each."""
        end = self._start + len(self._recent)
        read = min(self._positions.values(), default=end if self._read_through else self._start)
        while read - self._start >= self.AHEAD:
            self._past += _joined([self._recent.popleft() for _ in range(self.AHEAD)])
            self._start += self.AHEAD

    def _announce(self) -> list[Callable[[], None]]:
        self._changed.announce()
        wakers, self._wakers = self._wakers, []
        return wakers

    def _finish(self, _: object) -> None:
        with self._lock:
            wakers = self._announce()
        _call(wakers)


class StreamCursor(ProcessBound, Iterator[T], AsyncIterator[T], Generic[T]):
    """Reads a stream from its beginning, with `for` or with `async for`.

    Each is for one reader at a time. Closing the last one that is open before the turn
    has ended cancels the turn. So does losing it, as by leaving a loop over it early, if
    nobody reads on within half a second.
    """

    _instead_of_pickling = "read it where it is, and send what it brings"

    def __init__(
        self,
        tape: Tape,
        select: Callable[[StreamEvent], T | None],
        timeout: float | None = None,
    ) -> None:
        self._tape = tape
        self._select = select
        self._timeout = timeout
        self._reader = object()  # Not this cursor: the tape would keep it from being lost.
        self._past = collections.deque(tape.join(self._reader))
        self._open = True

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __next__(self) -> T:
        """Wait for the next piece.

        Raises:
            AskTimeout: it did not come within the cursor's timeout; the turn goes on.
            TurnError: the turn ended without a reply, and this was streamed before.
            AgentDeadError: the agent ended first.
        """
        while self._open:
            event = self._take() or self._tape.wait(self._reader, self._timeout)
            if event is None:
                self.close()
                self._tape.future.get(timeout=0)  # Raises the turn's error, if it has one.
                break
            piece = self._select(event)
            if piece is not None:
                return piece
        raise StopIteration

    async def __anext__(self) -> T:
        """Wait for the next piece, and let the event loop run meanwhile. See `__next__`."""
        while self._open:
            event = self._take()
            if event is None and not self._tape.future.done():
                await self._wait()
                continue
            event = event or self._take()  # It may have come together with the end.
            if event is None:
                self.close()
                self._tape.future.get(timeout=0)
                break
            piece = self._select(event)
            if piece is not None:
                return piece
        raise StopAsyncIteration

    def close(self) -> None:
        """Read no more. If no other cursor is open, the turn is cancelled."""
        if self._open:
            self._open = False
            _leave(self._tape, self._reader)

    def __del__(self) -> None:
        # Whoever collects garbage may hold any lock, those of the tape and of its future
        # included; so another thread must do it. It is started without any lock.
        if getattr(self, "_open", False) and not self._tape.is_parents:
            _in_other_thread(_leave_lost, self._tape, self._reader)

    def _take(self) -> StreamEvent | None:
        if self._past and not self._tape.is_parents:
            return self._past.popleft()
        return self._tape.take(self._reader)

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._tape.call_when_changed(self._reader, _waker(loop, waiter))
        try:
            async with asyncio.timeout(self._timeout):
                await waiter
        except TimeoutError:
            raise AskTimeout(f"nothing came from the turn within {self._timeout} seconds") from None


class ChatStream(ProcessBound):
    """The answer to a `Chat`, as it comes.

    Iterate it for the text, in pieces, with `for` or, in an event loop, `async for`.
    `events`, `thoughts` and `tool_calls` are cursors of their own over the same events,
    from the first on, for as many readers as you like; one that is behind gets larger
    pieces. An error of the turn is raised to each reader after what was streamed before it.

    The turn is cancelled when nobody is left to read it before it has ended: when the
    stream is left as a context manager, when the last open cursor is closed, when a loop
    is left in the middle and nobody reads on within half a second, or when the stream is
    thrown away unread. `result`, `future` and `await` read, too, all that comes.

    Every method may be called from any thread.
    """

    _instead_of_pickling = "read it where it is, and send what it brings, or its `result()`"

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __iter__(self) -> StreamCursor[str]:
        return StreamCursor(self._tape, _text_of)

    def __aiter__(self) -> StreamCursor[str]:
        return StreamCursor(self._tape, _text_of)

    def __await__(self) -> Generator[object, None, ChatReply]:
        """Wait for the whole reply, and let the event loop run meanwhile. See `result`."""
        return self.future.__await__()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._tape.is_parents:
            self.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._tape.is_parents:
            self.cancel()

    def __del__(self) -> None:
        tape = getattr(self, "_tape", None)
        if tape is not None and not tape.is_parents:
            tape.kept = False
            if not tape.wanted:
                _in_other_thread(tape.future.cancel)  # See `StreamCursor.__del__`.

    @property
    def future(self) -> ReplyFuture[ChatReply]:
        """The future of the whole reply."""
        if not self._tape.future.done():
            self._tape.read_through()
        return self._tape.future

    def events(self, *, timeout: float | None = None) -> StreamCursor[StreamEvent]:
        """Read `Text`, `Thought` and `ToolCall` events of the SDK, in order.

        What was read by all and long ago comes joined to fewer events.

        Args:
            timeout: the seconds to wait for each event, or `None` for as long as the
                turn lasts, which its own timeouts bound.

        Raises:
            AskTimeout: an event did not come in time; the turn goes on.
            InvalidArgument: the timeout is not a number of seconds from 0.
            TurnError: the turn ended without a reply.
            AgentDeadError: the agent ended first.
        """
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        return StreamCursor(self._tape, _itself, timeout)

    def thoughts(self) -> StreamCursor[str]:
        """Read the model's thoughts, in pieces. Raises as `events` does."""
        return StreamCursor(self._tape, _thought_of)

    def tool_calls(self) -> StreamCursor[ToolCall]:
        """Read the tool calls as they are made. Raises as `events` does."""
        return StreamCursor(self._tape, _tool_call_of)

    def result(self, timeout: float | None = None) -> ChatReply:
        """Wait for the turn's end and return its whole reply.

        Raises:
            AskTimeout: the turn did not end in time; it goes on.
            InvalidArgument: the timeout is not a number of seconds from 0.
            TurnError: the turn ended without a reply.
            AgentDeadError: the agent ended first.
        """
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        return self.future.get(timeout=timeout)

    def done(self) -> bool:
        """Return whether the turn has ended."""
        return self._tape.future.done()

    def cancel(self) -> bool:
        """Cancel the turn, if it has not ended, and return whether it is cancelled."""
        return self._tape.future.cancel()


def _itself(event: StreamEvent) -> StreamEvent:
    return event


def _text_of(event: StreamEvent) -> str | None:
    return event.text if isinstance(event, Text) else None


def _thought_of(event: StreamEvent) -> str | None:
    return event.text if isinstance(event, Thought) else None


def _tool_call_of(event: StreamEvent) -> ToolCall | None:
    return event if isinstance(event, ToolCall) else None


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


def _leave(tape: Tape, reader: object) -> None:
    if tape.leave(reader):
        tape.future.cancel()


def _leave_lost(tape: Tape, reader: object) -> None:
    if tape.leave(reader) and tape.stays_unread():
        tape.future.cancel()


def _waker(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> Callable[[], None]:
    """Return what wakes a coroutine from any thread."""

    def settle() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
            loop.call_soon_threadsafe(settle)

    return wake


def _call(wakers: Iterable[Callable[[], None]]) -> None:
    for waker in wakers:
        waker()


def _in_other_thread(function: Callable[..., object], *args: object) -> None:
    with contextlib.suppress(RuntimeError):  # The interpreter ends, and all turns with it.
        _thread.start_new_thread(function, args)
