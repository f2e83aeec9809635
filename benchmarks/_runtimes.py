"""Minimal actors of each runtime, and alternatives without actors as the lower limit."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Protocol

import pykka

from agy_actors._actors.actor import AsyncioActor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ASK_ONLY", "BLOCKING", "Reply", "Worker"]


class Reply(Protocol):
    """A reply that comes later."""

    def get(self) -> Any:
        """Wait for it."""


class Worker(Protocol):
    """A worker for threads, which answers with its message."""

    def ask(self, message: Any, *, block: bool = True) -> Any:
        """Send, and wait for the answer; without `block` it is a `Reply`."""

    def tell(self, message: Any) -> None:
        """Send."""

    def stop(self) -> Any:
        """End it after the messages that it was sent, and wait for the end."""


class _Echo:
    def on_receive(self, message: Any) -> Any:
        return message


class _Ours(_Echo, AsyncioActor):
    pass


class _Pykkas(_Echo, pykka.ThreadingActor):
    pass


class _QueueWorker:
    """A thread that reads a `queue.Queue`, as in a program without a library.

    It has no errors and no supervision, and if it dies, its askers wait for ever.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Any, queue.SimpleQueue[Any] | None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def ask(self, message: Any, *, block: bool = True) -> Any:
        reply: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._queue.put((message, reply))
        return reply.get() if block else reply

    def tell(self, message: Any) -> None:
        self._queue.put((message, None))

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            message, reply = item
            if reply is not None:
                reply.put(message)


class _HandOff:
    """Two threads and two locks: the shortest way from one thread to another and back."""

    def __init__(self) -> None:
        self._message: Any = None
        self._sent = threading.Lock()
        self._answered = threading.Lock()
        self._sent.acquire()
        self._answered.acquire()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def ask(self, message: Any, *, block: bool = True) -> Any:
        assert block, "it holds one message"
        self._message = (message,)
        self._sent.release()
        self._answered.acquire()
        return self._message

    def tell(self, message: Any) -> None:
        raise NotImplementedError("it holds one message")

    def stop(self) -> None:
        self._message = None
        self._sent.release()
        self._thread.join()

    def _work(self) -> None:
        while True:
            self._sent.acquire()
            if self._message is None:
                return
            (self._message,) = self._message
            self._answered.release()


BLOCKING: dict[str, Callable[[], Worker]] = {
    "agy_actors": _Ours.start,
    "pykka": _Pykkas.start,
    "queue.Queue": _QueueWorker,
}
"""The peers that support every kind of request."""

ASK_ONLY: dict[str, Callable[[], Worker]] = {"bare hand-off": _HandOff}
"""The peers that hold one message, and so support only a blocking ask."""
