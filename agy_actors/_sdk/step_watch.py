"""Observes and changes the queue of steps that the SDK has received from the harness."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from google.antigravity.connections.local import local_connection
from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import Agent

__all__ = ["disconnected", "expect_turn", "interrupt", "watch_steps"]


def watch_steps(agent: Agent, on_arrival: Callable[[], None]) -> None:
    """Call `on_arrival`, on the agent's loop, for each step that arrives.

    Args:
        agent: an open agent that has received no step yet. Without a `localharness`, this does
            nothing.
        on_arrival: the callback. It must not raise.
    """
    connection = agent.conversation.connection
    if not isinstance(connection, local_connection.LocalConnection):
        return
    processor: Any = getattr(connection, "_processor", None)
    queue = getattr(processor, "step_queue", None)
    if isinstance(queue, asyncio.Queue) and queue.empty():
        processor.step_queue = _WatchedQueue(on_arrival)
    else:
        logger.warning(
            "This release of google-antigravity queues steps in an unknown way; turns that"
            " triggers start are not noticed"
        )


def expect_turn(agent: Agent) -> None:
    """Mark an agent as busy, so that its steps end only with the turn that a trigger starts.

    The SDK does this for prompts, but not for triggers. The harness may send a step of the turn
    before it reports that a turn runs.
    """
    processor: Any = getattr(agent.conversation.connection, "_processor", None)
    is_idle = getattr(processor, "is_idle", None)
    if isinstance(is_idle, asyncio.Event):
        is_idle.clear()


def interrupt(agent: Agent, error: Exception) -> None:
    """Raise an error in the code that reads an agent's steps, after the steps received so far.

    Args:
        agent: an open agent. Without a `localharness`, this does nothing.
        error: the error.
    """
    processor: Any = getattr(agent.conversation.connection, "_processor", None)
    queue = getattr(processor, "step_queue", None)
    if isinstance(queue, asyncio.Queue):
        queue.put_nowait(error)


def disconnected(agent: Agent) -> asyncio.Future[Any]:
    """Return a future that is done when the connection of an open agent closes.

    If the SDK has an unknown shape, the future is never done.
    """
    reader = getattr(agent.conversation.connection, "_reader_task", None)
    if isinstance(reader, asyncio.Future):
        return reader
    return asyncio.get_running_loop().create_future()


class _WatchedQueue(asyncio.Queue[Any]):
    def __init__(self, on_arrival: Callable[[], None]) -> None:
        super().__init__()
        self._on_arrival = on_arrival

    def _put(self, item: Any) -> None:  # One of the methods that a subclass may override.
        super()._put(item)
        self._on_arrival()
