"""Interrupts waits of the calling thread, as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

from agy_actors._actors.runtime import ThreadRuntime, use_runtime
from tests.harnesses import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["ERRORS", "Interrupted", "ctrl_c", "interrupted", "interrupted_at_reply"]


class Interrupted(BaseException):
    """An interruption that is not an `Exception`, as some libraries raise."""


ERRORS = [KeyboardInterrupt, SystemExit, Interrupted]


class _InterruptedGate:
    def __init__(self, error: type[BaseException], when: Callable[[], object]) -> None:
        self._error = error
        self._when = when

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        del blocking, timeout
        self._when()
        raise self._error

    def release(self) -> None:
        """Do nothing: no thread waits."""


class _InterruptingRuntime(ThreadRuntime):
    def __init__(self, error: type[BaseException], when: Callable[[Any], object]) -> None:
        self._error = error
        self._when = when

    def new_gate(self, what: object) -> Any:
        return _InterruptedGate(self._error, lambda: self._when(what))


@contextlib.contextmanager
def interrupted(error: type[BaseException], when: Callable[[], object]) -> Iterator[None]:
    """Make each wait of this thread raise `error` in this block, as soon as `when` returns."""
    with use_runtime(_InterruptingRuntime(error, lambda _: when())):
        yield


@contextlib.contextmanager
def interrupted_at_reply(error: type[BaseException]) -> Iterator[None]:
    """Make each wait of this thread for a reply raise `error` after the reply has arrived."""
    with use_runtime(_InterruptingRuntime(error, lambda future: until(future.done))):
        yield


@contextlib.contextmanager
def ctrl_c(when: Callable[[], object]) -> Iterator[None]:
    """Send SIGINT to the main thread in this block, as soon as `when` returns."""
    received = threading.Event()

    def receive(number: int, frame: FrameType | None) -> None:
        if not received.is_set():
            received.set()
            signal.default_int_handler(number, frame)

    def press() -> None:
        when()
        # CPython misses a signal that arrives just before a wait for a lock: send it again.
        while not received.wait(0.05):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, receive)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
