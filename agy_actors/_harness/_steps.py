"""Notices what the harness sends, when nobody waits for it, too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from google.antigravity.connections.local import local_connection
from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import Agent

__all__ = ["disconnected", "interrupt", "watch_steps"]


def watch_steps(agent: Agent, on_arrival: Callable[[], None]) -> None:
    """Have `on_arrival` called, on the agent's loop, when something of a turn has come.

    Args:
        agent: an open agent, of which nothing has come yet. If it is of a kind without a
            `localharness`, nothing will be noticed.
        on_arrival: must not raise.
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
            " triggers begin go unseen"
        )


def interrupt(agent: Agent, error: Exception) -> None:
    """Have an error raised to whoever reads the steps of an agent, after those that have come.

    Args:
        agent: an open agent. If it is of a kind without a `localharness`, nothing is raised.
        error: what to raise.
    """
    processor: Any = getattr(agent.conversation.connection, "_processor", None)
    queue = getattr(processor, "step_queue", None)
    if isinstance(queue, asyncio.Queue):
        queue.put_nowait(error)


def disconnected(agent: Agent) -> asyncio.Future[Any]:
    """Return what is done when the connection of an open agent is closed, if that is known."""
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
