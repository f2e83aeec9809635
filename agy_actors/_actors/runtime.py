"""`Runtime`: the interface to threads, loops and clocks.

Actors use the operating system's threads and time, and everything else that differs from run
to run, only through a `Runtime` and through the event loop that it runs them on: delays and
deadlines use the loop's own clock, and blocking calls wait at a gate. So the same actors run on
real threads or, with another runtime, one step at a time in a drawn order and in virtual time
(`agy_actors.testing.Simulation`).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
import uuid
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from loguru import logger

from agy_actors._actors.daemon_executor import DAEMON_EXECUTOR
from agy_actors._actors.event_loop import new_event_loop, unfinished_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = [
    "Gate",
    "Runtime",
    "ThreadRuntime",
    "current_runtime",
    "runtime_context",
    "use_runtime",
    "wait_at_gate",
]

_Lock = type(threading.Lock())

_LOOK = 1.0
"""Seconds for which the main thread waits at a gate before it looks for signals. Arbitrary: a
person who presses Ctrl-C notices no shorter delay, and the check costs microseconds."""


class Gate(Protocol):
    """A thread waits at it until another thread opens it: a `threading.Lock`, or a model."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until the gate is open, and shut it; return `False` after a timeout."""
        ...

    def release(self) -> None:
        """Open the gate.

        Raises:
            RuntimeError: it is open.
        """
        ...


def wait_at_gate(gate: Gate, timeout: float | None) -> bool:
    """Wait until a gate is open, shut it, and return whether it opened within `timeout` seconds.

    The main thread wakes each second to run signal handlers. CPython runs them
    when the operating system interrupts a wait for a lock, and before and after it: so a signal
    that comes just before the wait begins, or that another thread receives, would be handled only
    when the wait is over. Ctrl-C would be lost in an `ask` that waits for as long as it takes.
    """
    if type(gate) is not _Lock:
        return gate.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))
    # Most waits end in this one, on any thread: to ask which thread this is costs more.
    first = _LOOK if timeout is None or timeout > _LOOK else timeout
    if gate.acquire(True, first):
        return True
    left = threading.TIMEOUT_MAX if timeout is None else min(timeout, threading.TIMEOUT_MAX) - first
    if threading.get_ident() != threading.main_thread().ident:
        return gate.acquire(timeout=left)
    deadline = time.monotonic() + left
    while left > _LOOK:
        if gate.acquire(timeout=_LOOK):
            return True
        left = deadline - time.monotonic()
    return gate.acquire(timeout=max(0.0, left))


class Runtime(Protocol):
    """What actors run on: threads, loops and clocks."""

    batch: ClassVar[int]
    """The number of messages that an actor handles before its loop gets to its other work."""

    mailbox_type: type[Any] | None
    """The type of mailboxes, if it is not `Mailbox` itself."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""
        ...

    def time(self) -> float:
        """Return the seconds since the epoch."""
        ...

    def thread_id(self) -> int:
        """Return a value that identifies the running thread among the running ones."""
        ...

    def new_gate(self, what: object) -> Gate:
        """Make a shut gate, for waiting for `what`."""
        ...

    def number(self, kind: str) -> int:
        """Return the next number, from 1, for the name of an object of a kind."""
        ...

    def new_id(self) -> str:
        """Return 32 hexadecimal digits that no other call returns, here or elsewhere."""
        ...

    def run_actor(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        *,
        on_exit: Callable[[], None],
        name: str,
        daemon: bool,
    ) -> None:
        """Run `main()` to its end on an event loop, beside the caller.

        Args:
            main: makes the coroutine that runs the actor from its start to its end.
            on_exit: called last, when the loop and its descriptors are gone.
            name: the actor's name, for people.
            daemon: whether the interpreter may end without waiting for it.
        """

    def run_beside(self, function: Callable[[], object]) -> None:
        """Call a function that may block on a thread of its own.

        Its exceptions are lost. The interpreter may end without waiting for it.

        Raises:
            RuntimeError: no thread can be started.
        """


class ThreadRuntime:
    """Runs each actor on a thread of its own, with an event loop of its own."""

    batch: ClassVar[int] = 100
    """Arbitrary: long enough to spread the cost of a loop cycle, short enough (well below
    a millisecond) for a stream."""

    mailbox_type: type[Any] | None = None

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    def time(self) -> float:
        """Return `time.time()`."""
        return time.time()

    def thread_id(self) -> int:
        """Return `threading.get_ident()`."""
        return threading.get_ident()

    def new_gate(self, what: object) -> Gate:  # noqa: ARG002 (it says nothing to a lock)
        """Make a lock that is held."""
        gate = threading.Lock()
        gate.acquire()
        return gate

    def number(self, kind: str) -> int:
        """Return the next number in the whole process."""
        return next(_numbers.setdefault(kind, count(1)))

    def new_id(self) -> str:
        """Return a random UUID."""
        return uuid.uuid4().hex

    def run_actor(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        *,
        on_exit: Callable[[], None],
        name: str,
        daemon: bool,
    ) -> None:
        """Start a thread that runs `main()` to its end. See `Runtime.run_actor`."""
        # Made here, so that the starter gets the error if descriptors or threads run out.
        loop = new_event_loop()

        def run() -> None:
            _runtime.set(self)
            try:
                _run_to_end(loop, main)
            finally:
                on_exit()

        try:
            threading.Thread(target=run, name=name, daemon=daemon).start()
        except BaseException:
            loop.close()
            raise

    def run_beside(self, function: Callable[[], object]) -> None:
        """Start a worker thread that calls `function`. See `Runtime.run_beside`."""
        DAEMON_EXECUTOR.submit(runtime_context(self).run, function)


_numbers: dict[str, count[int]] = {}
_runtime: contextvars.ContextVar[Runtime] = contextvars.ContextVar("agy_actors_runtime")
_THREADS = ThreadRuntime()


def current_runtime() -> Runtime:
    """Return the runtime that actors started here and now run on."""
    return _runtime.get(_THREADS)


@contextlib.contextmanager
def use_runtime(runtime: Runtime) -> Iterator[None]:
    """Start the actors of this block, and the actors that they start, on `runtime`."""
    token = _runtime.set(runtime)
    try:
        yield
    finally:
        _runtime.reset(token)


def runtime_context(runtime: Runtime) -> contextvars.Context:
    """Return the context of a new thread of `runtime`. It holds only the runtime."""
    context = contextvars.Context()
    context.run(_runtime.set, runtime)
    return context


def _run_to_end(
    loop: asyncio.AbstractEventLoop, main: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    loop.set_default_executor(DAEMON_EXECUTOR)
    try:
        _run_contained(loop, loop.create_task(_whole(main)))
    finally:
        loop.close()


async def _whole(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    # In one run of the loop: a second one would cost as much as a short-lived actor.
    try:
        await main()
    finally:
        loop = asyncio.get_running_loop()
        if len(unfinished_tasks(loop)) > 1:  # Not only this one.
            await _cancel_leftovers(loop)
        await loop.shutdown_asyncgens()


def _run_contained(loop: asyncio.AbstractEventLoop, until: asyncio.Future[Any]) -> None:
    """Run the loop until a future is done, even if tasks on the loop raise."""
    while True:
        try:
            loop.run_until_complete(until)
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio lets these two escape from any task on the loop. They end the task that raised
            # them; its actor and all other actors continue.
            logger.warning("Contained {!r} raised by a task of an actor", error)
            if until.done():
                return
        except asyncio.CancelledError:
            logger.warning("The main task of an actor was cancelled: the actor ends")
            return
        else:
            return


async def _cancel_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    current = asyncio.current_task()
    leftovers = [task for task in unfinished_tasks(loop) if task is not current]
    for task in leftovers:
        task.cancel()
    await asyncio.wait(leftovers)
    for task in leftovers:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).warning("A task ended with an error while its actor ended")
