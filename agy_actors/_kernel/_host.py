"""The seam for threads, loops and clocks.

Actors reach the operating system's threads and time through a `Host` and through
the event loop that it runs them on, and through nothing else: delays and deadlines
use the loop's own clock. So the same actors run on real threads or, with another
host, on one deterministic loop with a virtual clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from loguru import logger

from agy_actors._kernel._loop import new_event_loop
from agy_actors._kernel._workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["Host", "ThreadHost", "current_host", "use_host"]


class Host(Protocol):
    """Where actors run, and whose time they live in."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""
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

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

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


def _run_to_end(
    loop: asyncio.AbstractEventLoop, main: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    asyncio.set_event_loop(loop)
    loop.set_default_executor(WORKERS)
    try:
        _run_contained(loop, loop.create_task(main()))
    finally:
        try:
            _cancel_leftovers(loop)
            _run_contained(loop, loop.create_task(loop.shutdown_asyncgens()))
        finally:
            asyncio.set_event_loop(None)
            loop.close()


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


def _cancel_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    leftovers = asyncio.all_tasks(loop)
    if not leftovers:
        return
    for task in leftovers:
        task.cancel()
    _run_contained(loop, loop.create_task(_wait_for(leftovers)))
    for task in leftovers:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).warning("A task ended with an error while its actor ended")


async def _wait_for(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)
