"""What the harness has sent and nobody has read yet.

The SDK's connection reads from its socket into a queue without bound, so that a reader
that does not keep up has all of the turn in memory. This stands in for that queue: over
its limit the connection stops to read, and in the end the harness to write.
"""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING, Any

from google.antigravity.connections.local import local_connection
from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import Agent

__all__ = ["StepQueue"]


class StepQueue:
    """Has the part of `asyncio.Queue` that the SDK uses, and a limit that can be changed.

    All on one loop.

    Args:
        on_arrival: called when a step has come.
    """

    def __init__(self, on_arrival: Callable[[], None]) -> None:
        self._on_arrival = on_arrival
        self._steps: collections.deque[Any] = collections.deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._limit: int | None = None

    @classmethod
    def of(cls, agent: Agent, on_arrival: Callable[[], None]) -> StepQueue | None:
        """Give an open agent such a queue, where its connection has the known shape."""
        connection = agent.conversation.connection
        if not isinstance(connection, local_connection.LocalConnection):
            return None  # Another's, of which nothing is known.
        processor: Any = getattr(connection, "_processor", None)
        queue = getattr(processor, "step_queue", None)
        if not isinstance(queue, asyncio.Queue) or not queue.empty():
            logger.warning(
                "This release of google-antigravity queues steps in an unknown way; a slow"
                " reader of a stream does not slow the turn, and turns of triggers go unseen"
            )
            return None
        processor.step_queue = steps = cls(on_arrival)
        return steps

    def limit(self, count: int | None) -> None:
        """Hold at most so many steps, or as many as come."""
        self._limit = count
        self._room.set()

    async def put(self, step: Any) -> None:
        """Append a step when there is room."""
        while self._limit is not None and len(self._steps) >= self._limit:
            self._room.clear()
            await self._room.wait()
        self._steps.append(step)
        self._arrived.set()
        self._on_arrival()

    async def get(self) -> Any:
        """Wait for the next step and return it."""
        while not self._steps:
            self._arrived.clear()
            await self._arrived.wait()
        return self.get_nowait()

    def get_nowait(self) -> Any:
        """Return the next step.

        Raises:
            asyncio.QueueEmpty: there is none.
        """
        if not self._steps:
            raise asyncio.QueueEmpty
        self._room.set()
        return self._steps.popleft()

    def empty(self) -> bool:
        """Return whether all was read."""
        return not self._steps
