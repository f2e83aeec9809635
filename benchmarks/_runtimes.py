"""Actors that do next to nothing, of each runtime; and what is no actor, as the limit."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Protocol

import pykka

from agy_actors._kernel import AsyncioActor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ASK_ONLY", "BLOCKING", "Reply", "Worker"]


class Reply(Protocol):
    """What comes later."""

    def get(self) -> Any:
        """Wait for it."""


class Worker(Protocol):
    """What works for threads: it answers with what it is given."""

    def ask(self, message: Any, *, block: bool = True) -> Any:
        """Send, and wait for the answer; without `block` it is a `Reply`."""

    def tell(self, message: Any) -> None:
        """Send."""

    def stop(self) -> Any:
        """Let it do what it was sent, end it, and wait for the end."""


class _Echo:
    def on_receive(self, message: Any) -> Any:
        return message


class _Ours(_Echo, AsyncioActor):
    pass


class _Pykkas(_Echo, pykka.ThreadingActor):
    pass


class _QueueWorker:
    """A thread that reads a `queue.Queue`: what one writes without a library.

    It has no errors, no supervision and no end of waiting if it dies.
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
    """Two threads and two locks: no way from thread to thread and back is shorter."""

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
"""What can be asked in every way."""

ASK_ONLY: dict[str, Callable[[], Worker]] = {"bare hand-off": _HandOff}
"""What holds one message, and so can only be asked, and wait."""
