"""A turn's reply as it comes, for readers on any thread and in any event loop.

Guarantees, besides those of `StreamBuffer`:

*   When no reader is left, the turn is cancelled.
*   A reader that any thread closes ends at once and without an error, in every kind of wait.
"""

from __future__ import annotations

import _thread
import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from google.antigravity.types import Text, Thought, ToolCall

from agy_actors._actors.arguments import check_optional_seconds
from agy_actors._actors.deadlock import begin_wait
from agy_actors._actors.errors import AskTimeout, DeadlockError
from agy_actors._actors.not_constructible import MadeForUsers
from agy_actors._actors.process_bound import ProcessBound
from agy_actors._agents.agent_messages import P_co
from agy_actors._agents.stream_buffer import StreamBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from agy_actors._actors.deadlock import Wait
    from agy_actors._actors.future import ReplyFuture
    from agy_actors._agents.agent_messages import ChatReply
    from agy_actors._agents.stream_buffer import StreamEvent

__all__ = ["ChatStream", "StreamCursor"]

T = TypeVar("T")


class StreamCursor(MadeForUsers, ProcessBound, Iterator[T], AsyncIterator[T], Generic[T]):
    """Reads a stream from its beginning, with `for` or with `async for`.

    Each cursor is for one reader at a time. Any thread may close it: then a loop over it ends.
    Closing the last open cursor before the turn's end cancels the turn. Losing it does too, for
    example by leaving a loop over it early, if no reader continues within half a second.
    """

    _instead_of_pickling = "read it in its process, and send its events"
    _made_from = StreamBuffer
    _call_instead = "iterate a `ChatStream`, or call its `events`, `thoughts` or `tool_calls`"

    def __init__(
        self,
        buffer: StreamBuffer,
        select: Callable[[StreamEvent], T | None],
        timeout: float | None = None,
    ) -> None:
        self._buffer = buffer
        self._select = select
        self._timeout = timeout
        self._reader = object()  # Not this cursor: the buffer would keep it from being lost.
        self._past = collections.deque(buffer.join(self._reader))
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
            AskTimeout: it did not come within the cursor's timeout; the turn continues.
            TurnError: the turn ended without a reply, and this was streamed before.
            AgentDeadError: the agent ended first.
            BaseException: it interrupted the wait, for example Ctrl-C; the cursor is closed.
        """
        while self._open:
            event = self._take() or self._wait_for_event()
            if event is None:
                self._end()
                break
            piece = self._select(event)
            if piece is not None:
                return piece
        raise StopIteration

    async def __anext__(self) -> T:
        """Wait for the next piece, and let the event loop run meanwhile. See `__next__`."""
        while self._open:
            event = self._take()
            if event is None and not self._buffer.future.done():
                await self._wait()
                continue
            event = event or self._take()  # It may have come together with the end.
            if event is None:
                self._end()
                break
            piece = self._select(event)
            if piece is not None:
                return piece
        raise StopAsyncIteration

    def close(self) -> None:
        """Stop reading. If no other cursor is open, the turn is cancelled.

        Thread-safe: a loop over the cursor ends, in whichever thread or task it runs.
        """
        if self._open:
            self._open = False
            _leave(self._buffer, self._reader)

    async def aclose(self) -> None:
        """Close the cursor, for `contextlib.aclosing`. See `close`."""
        self.close()

    def _end(self) -> None:
        """Close the cursor at the end of the turn, and raise the turn's error, if it has one."""
        if self._open:  # Otherwise it was closed just now, which may be the cause of the error.
            self.close()
            self._buffer.future.get(timeout=0)

    def __del__(self) -> None:
        # The thread that collects garbage may hold any lock, also that of the buffer or of its
        # future. So another thread does this; starting it takes no lock.
        if getattr(self, "_open", False) and not self._buffer.is_parents:
            _in_other_thread(_leave_lost, self._buffer, self._reader)

    def _take(self) -> StreamEvent | None:
        if self._past and not self._buffer.is_parents:
            return self._past.popleft()
        return self._buffer.take(self._reader)

    def _wait_for_event(self) -> StreamEvent | None:
        try:
            return self._buffer.wait(self._reader, self._timeout)
        except AskTimeout:
            raise
        except BaseException:
            # A traceback may keep this cursor alive for a long time.
            self.close()
            raise

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        wake = _waker(loop, waiter)
        self._buffer.call_when_changed(self._reader, wake)
        wait: Wait | None = None
        try:
            wait = begin_wait(
                (self._buffer.future,), self._timeout, wake, asyncio.current_task(loop)
            )
            async with asyncio.timeout(self._timeout):
                await waiter
            if wait is not None and wait.error is not None:
                raise wait.error
        except TimeoutError:
            raise AskTimeout(f"nothing came from the turn within {self._timeout} seconds") from None
        except DeadlockError:
            self.close()
            raise
        finally:
            if wait is not None:
                wait.end()
            self._buffer.forget_waker(wake)


class ChatStream(MadeForUsers, ProcessBound, Generic[P_co]):
    """The reply to a `Chat`, as it comes. Thread-safe.

    Iterate it for the text, in pieces, with `for` or, in an event loop, `async for`.
    `events`, `thoughts` and `tool_calls` return cursors over the same events, from the first one
    on, for any number of readers. A reader that lags behind gets larger pieces. An error of the
    turn is raised to each reader after the events before it.

    The turn is cancelled if no reader is left before its end: when a `with` block over the stream
    ends, when the last open cursor is closed, when a loop is left in the middle and no reader
    continues within half a second, or when the stream is dropped unread. `result`, `future` and
    `await` count as readers of the whole reply.
    """

    _instead_of_pickling = "read it in its process, and send its events or its `result()`"
    _made_from = StreamBuffer
    _call_instead = "`agent.stream(...)` and `pool.stream(...)` return one"

    def __init__(self, buffer: StreamBuffer) -> None:
        self._buffer = buffer

    def __iter__(self) -> StreamCursor[str]:
        return StreamCursor(self._buffer, _text_of)

    def __aiter__(self) -> StreamCursor[str]:
        return StreamCursor(self._buffer, _text_of)

    def __await__(self) -> Generator[object, None, ChatReply[P_co]]:
        """Wait for the complete reply, and let the event loop run meanwhile. See `result`."""
        return self.future.__await__()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._buffer.is_parents:
            self.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._buffer.is_parents:
            self.cancel()

    def __del__(self) -> None:
        buffer = getattr(self, "_buffer", None)
        if buffer is not None and not buffer.is_parents:
            buffer.kept = False
            if not buffer.wanted:
                _in_other_thread(buffer.future.cancel)  # See `StreamCursor.__del__`.

    @property
    def future(self) -> ReplyFuture[ChatReply[P_co]]:
        """The future of the complete reply."""
        if not self._buffer.future.done():
            self._buffer.read_through()
        return self._buffer.future

    def events(self, *, timeout: float | None = None) -> StreamCursor[StreamEvent]:
        """Read `Text`, `Thought` and `ToolCall` events of the SDK, in order.

        If all readers so far have read some events long ago, a new reader gets them joined to fewer
        events.

        Args:
            timeout: the seconds to wait for each event; `None` waits until the turn ends, which
                its own timeouts bound.

        Raises:
            AskTimeout: an event did not come in time; the turn continues.
            InvalidArgument: the timeout is not a number of seconds >= 0.
            TurnError: the turn ended without a reply.
            AgentDeadError: the agent ended first.
        """
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        return StreamCursor(self._buffer, _itself, timeout)

    def thoughts(self) -> StreamCursor[str]:
        """Read the model's thoughts, in pieces. Raises as `events` does."""
        return StreamCursor(self._buffer, _thought_of)

    def tool_calls(self) -> StreamCursor[ToolCall]:
        """Read the tool calls as they are made. Raises as `events` does."""
        return StreamCursor(self._buffer, _tool_call_of)

    def result(self, timeout: float | None = None) -> ChatReply[P_co]:
        """Wait for the turn's end and return the complete reply.

        Raises:
            AskTimeout: the turn did not end in time; it continues.
            InvalidArgument: the timeout is not a number of seconds >= 0.
            TurnError: the turn ended without a reply.
            AgentDeadError: the agent ended first.
            BaseException: it interrupted the wait, for example Ctrl-C; the turn is cancelled.
        """
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        try:
            return self.future.get(timeout=timeout)
        except AskTimeout:
            raise
        except BaseException:
            self.cancel()  # If it has not ended: the error may be the turn's.
            raise

    def close(self) -> None:
        """Cancel the turn, if it has not ended. For `contextlib.closing`."""
        self.cancel()

    async def aclose(self) -> None:
        """Cancel the turn, if it has not ended. For `contextlib.aclosing`."""
        self.cancel()

    def done(self) -> bool:
        """Return whether the turn has ended."""
        return self._buffer.future.done()

    def cancel(self) -> bool:
        """Cancel the turn, if it has not ended, and return whether it was cancelled."""
        return self._buffer.future.cancel()


def _itself(event: StreamEvent) -> StreamEvent:
    return event


def _text_of(event: StreamEvent) -> str | None:
    return event.text if isinstance(event, Text) else None


def _thought_of(event: StreamEvent) -> str | None:
    return event.text if isinstance(event, Thought) else None


def _tool_call_of(event: StreamEvent) -> ToolCall | None:
    return event if isinstance(event, ToolCall) else None


def _leave(buffer: StreamBuffer, reader: object) -> None:
    if buffer.leave(reader):
        buffer.future.cancel()


def _leave_lost(buffer: StreamBuffer, reader: object) -> None:
    if buffer.leave(reader) and buffer.stays_unread():
        buffer.future.cancel()


def _waker(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> Callable[[], None]:
    """Return a function that wakes a coroutine from any thread."""

    def settle() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: no coroutine waits.
            loop.call_soon_threadsafe(settle)

    return wake


def _in_other_thread(function: Callable[..., object], *args: object) -> None:
    with contextlib.suppress(RuntimeError):  # The interpreter ends, and all turns with it.
        _thread.start_new_thread(function, args)
