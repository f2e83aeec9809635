"""A turn's answer as it comes, for readers on any thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from google.antigravity.types import Text, Thought, ToolCall

from agy_actors._kernel import AskTimeout, ReplyFuture, current_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from agy_actors._agent._replies import ChatReply

    StreamEvent = Text | Thought | ToolCall

__all__ = ["ChatStream"]


class ChatStream:
    """The answer to a `Chat`, as it comes.

    Iterate it for the text, in pieces. `events`, `thoughts` and `tool_calls` are cursors
    of their own over the same events, from the first on. An error of the turn is raised
    to each reader after what was streamed before it.

    As a context manager it cancels the turn on leaving, if it has not ended.
    Every method may be called from any thread.
    """

    def __init__(self) -> None:
        self._future: ReplyFuture[ChatReply] = ReplyFuture()
        self._events: list[StreamEvent] = []
        self._changed = threading.Condition()
        self._future.add_done_callback(self._finish)

    def __iter__(self) -> Iterator[str]:
        return (event.text for event in self.events() if isinstance(event, Text))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    @property
    def future(self) -> ReplyFuture[ChatReply]:
        """The future of the whole reply."""
        return self._future

    def events(self, *, timeout: float | None = None) -> Iterator[StreamEvent]:
        """Iterate `Text`, `Thought` and `ToolCall` events of the SDK, in order.

        Args:
            timeout: the seconds to wait for each event, or `None` for as long as the
                turn lasts, which its own timeouts bound.

        Raises:
            AskTimeout: an event did not come in time; the turn goes on.
            TurnError: the turn ended without a reply.
            AgentDeadError: the agent ended first.
        """
        position = 0
        while True:
            event = self._wait_for(position, timeout)
            if event is None:
                self._future.get(timeout=0)  # Raises the turn's error, if it has one.
                return
            position += 1
            yield event

    def thoughts(self) -> Iterator[str]:
        """Iterate the model's thoughts, in pieces."""
        return (event.text for event in self.events() if isinstance(event, Thought))

    def tool_calls(self) -> Iterator[ToolCall]:
        """Iterate the tool calls as they are made."""
        return (event for event in self.events() if isinstance(event, ToolCall))

    def result(self, timeout: float | None = None) -> ChatReply:
        """Wait for the turn's end and return its whole reply.

        Raises:
            AskTimeout: the turn did not end in time; it goes on.
            TurnError: the turn ended without a reply.
            AgentDeadError: the agent ended first.
        """
        return self._future.get(timeout=timeout)

    def done(self) -> bool:
        """Return whether the turn has ended."""
        return self._future.done()

    def cancel(self) -> bool:
        """Cancel the turn, if it has not ended, and return whether it is cancelled."""
        return self._future.cancel()

    def push(self, event: StreamEvent) -> None:
        """Append an event. For the agent that answers."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def _finish(self, _: object) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait_for(self, position: int, timeout: float | None) -> StreamEvent | None:
        host = current_host()
        deadline = None if timeout is None else host.monotonic() + timeout
        with self._changed:
            while position >= len(self._events):
                if self._future.done():
                    return None
                left = None if deadline is None else deadline - host.monotonic()
                if left is not None and left <= 0:
                    raise AskTimeout(f"nothing came from the turn within {timeout} seconds")
                self._changed.wait(left)
            return self._events[position]
