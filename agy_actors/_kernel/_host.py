"""The seam for threads, loops and clocks.

Actors reach the operating system's threads and time, and all else that differs from run
to run, through a `Host` and through the event loop that it runs them on, and through
nothing else: delays and deadlines use the loop's own clock, whoever blocks does so on a
gate. So the same actors run on real threads or, with another host, one step at a time in
a drawn order and in virtual time (`agy_actors.testing.Simulation`).
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

from agy_actors._kernel._loop import new_event_loop
from agy_actors._kernel._workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from agy_actors._kernel._mailbox import Mailbox

__all__ = ["Gate", "Host", "ThreadHost", "current_host", "host_context", "use_host"]


class Gate(Protocol):
    """What one thread waits at until another lets it pass: a `threading.Lock`, or a model."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until the gate is open, and shut it; return `False` if the time ran out."""
        ...

    def release(self) -> None:
        """Open the gate.

        Raises:
            RuntimeError: it is open.
        """
        ...


class Host(Protocol):
    """Where actors run, and whose time they live in."""

    batch: ClassVar[int]
    """Messages taken up before an actor's loop gets to its other work."""

    mailbox_type: type[Mailbox] | None
    """What mailboxes are made of, if not of `Mailbox` itself."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""
        ...

    def time(self) -> float:
        """Return the seconds since the epoch."""
        ...

    def thread_id(self) -> int:
        """Return what tells the running thread from all others that run."""
        ...

    def new_gate(self, what: object) -> Gate:
        """Make a gate that is shut, to wait there for `what`."""
        ...

    def number(self, kind: str) -> int:
        """Return the next of the numbers, from 1, that things of a kind are called by."""
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
            main: makes the coroutine that is an actor's whole life.
            on_exit: called last, when the loop and its descriptors are gone.
            name: what the actor is called, for people.
            daemon: whether the interpreter may end without waiting for it.
        """


class ThreadHost:
    """Runs each actor on a thread of its own, with an event loop of its own."""

    batch: ClassVar[int] = 100
    """Arbitrary: long enough to spread the cost of a loop cycle, short enough (well below
    a millisecond) for a stream."""

    mailbox_type: type[Mailbox] | None = None

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
        """Start a thread that runs `main()` to its end. See `Host.run_actor`."""
        # Made here, so that a lack of descriptors or threads is the starter's to see.
        loop = new_event_loop()

        def run() -> None:
            _host.set(self)
            try:
                _run_to_end(loop, main)
            finally:
                on_exit()

        try:
            threading.Thread(target=run, name=name, daemon=daemon).start()
        except BaseException:
            loop.close()
            raise


_numbers: dict[str, count[int]] = {}
_host: contextvars.ContextVar[Host] = contextvars.ContextVar("agy_actors_host")
_THREADS = ThreadHost()


def current_host() -> Host:
    """Return the host that actors started here and now run on."""
    return _host.get(_THREADS)


@contextlib.contextmanager
def use_host(host: Host) -> Iterator[None]:
    """Start the actors of this block (and theirs) on `host`."""
    token = _host.set(host)
    try:
        yield
    finally:
        _host.reset(token)


def host_context(host: Host) -> contextvars.Context:
    """Return what a thread of `host` begins with: an empty context but for the host."""
    context = contextvars.Context()
    context.run(_host.set, host)
    return context


def _run_to_end(
    loop: asyncio.AbstractEventLoop, main: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    asyncio.set_event_loop(loop)
    loop.set_default_executor(WORKERS)
    try:
        _run_contained(loop, loop.create_task(_whole(main)))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _whole(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    # In one run of the loop: to start and end another would cost as much as a short life.
    try:
        await main()
    finally:
        await _cancel_leftovers()
        await asyncio.get_running_loop().shutdown_asyncgens()


def _run_contained(loop: asyncio.AbstractEventLoop, until: asyncio.Future[Any]) -> None:
    """Run the loop until a future is done, whatever the tasks on the loop raise."""
    while True:
        try:
            loop.run_until_complete(until)
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio lets these two escape from any task on the loop. They end the task
            # that raised them; its actor and all others go on.
            logger.warning("Contained {!r} raised by a task of an actor", error)
            if until.done():
                return
        except asyncio.CancelledError:
            logger.warning("The main task of an actor was cancelled: the actor ends")
            return
        else:
            return


async def _cancel_leftovers() -> None:
    leftovers = asyncio.all_tasks() - {asyncio.current_task()}
    if not leftovers:
        return
    for task in leftovers:
        task.cancel()
    await asyncio.wait(leftovers)
    for task in leftovers:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).warning("A task ended with an error while its actor ended")
