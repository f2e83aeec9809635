"""`Fiber`: one simulated thread and its event loop.

An actor, a client and a worker each run in a fiber where a program would give them a thread. The
callbacks of a fiber run in the order in which they became ready, as on any asyncio loop. The
schedule chooses only which fiber takes the next step, so real threads could run in the same order.

Only one fiber of a simulation runs at a time, so this module needs no locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from agy_actors.testing.simulation.errors import SimulationAborted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from agy_actors.testing.simulation.threads import SimulationThread

__all__ = ["Fiber", "FiberScheduler", "Handle"]

_PRUNE_AT = 16
"""Tasks of a fiber before finished ones are removed from its list. Arbitrary."""


class Handle:
    """A scheduled callback: what `asyncio.Handle` and `asyncio.TimerHandle` are elsewhere."""

    __slots__ = ("args", "callback", "context", "direct", "fiber", "gone", "order", "time")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context,
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.gone = False

    def __lt__(self, other: Handle) -> bool:
        return (self.time, self.order) < (other.time, other.order)

    # Only timers have these. `FiberScheduler.add_timer` sets them.
    time: float
    order: int
    fiber: Fiber
    direct: bool
    """Whether the scheduler calls it, and not the fiber: it ends a wait in the middle of a step."""

    def cancel(self) -> None:
        """Prevent the call."""
        self.gone = True

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self.gone

    def when(self) -> float:
        """Return the virtual time of a timer."""
        return self.time


class FiberScheduler(Protocol):
    """What a fiber needs of the scheduler."""

    clock: float
    """The virtual time, in seconds since the start."""
    current: Fiber | None
    """The fiber that runs."""
    context: contextvars.Context
    """What a new fiber's context is copied from."""
    ready_queue: deque[Fiber]
    next_order: Callable[[], int]
    """Returns 1, 2, 3 and so on."""

    def add_timer(self, fiber: Fiber, when: float, handle: Handle) -> None:
        """Call a handle in its fiber at a virtual time."""

    def start_worker(self, name: str, work: Callable[[], object]) -> None:
        """Call a function that may block in a new fiber."""

    def note_error(self, fiber: Fiber, context: dict[str, Any]) -> None:
        """Log what a callback raised."""


class _Numbered:
    """Hashes by a number, so that sets of these have the same order in every run."""

    _number: int

    def __hash__(self) -> int:
        return self._number


class _Future(_Numbered, asyncio.Future[Any]):
    def __init__(self, number: int, loop: Any) -> None:
        self._number = number
        super().__init__(loop=loop)

    __hash__ = _Numbered.__hash__


class _Task(_Numbered, asyncio.Task[Any]):
    def __init__(self, number: int, coro: Any, loop: Any, **options: Any) -> None:
        self._number = number  # Before the constructor, which adds the task to a set.
        super().__init__(coro, loop=loop, **options)

    __hash__ = _Numbered.__hash__


class Fiber(asyncio.AbstractEventLoop):
    """One simulated thread, and its event loop."""

    agy_actors_functions_may_block = True
    """Functions may block here as on a thread. Only a coroutine that blocks causes a warning."""

    def __init__(self, scheduler: FiberScheduler, name: str, number: int, subject: object) -> None:
        self.scheduler = scheduler
        self.name = name
        self.number = number
        """From 0, in the order in which fibers start."""
        self.subject = subject
        """The actor or client that runs in this fiber; `None` for a worker."""
        self.queue: deque[Handle] = deque()
        self.is_ready = False
        """Whether it is in the ready queue."""
        self.parked: SimulationThread | None = None
        """The thread that holds its stack while it blocks, or is preempted, in a step."""
        self.blocked_on: object = None
        """What it waits for while it blocks."""
        self.is_client = False
        """Whether the simulation continues until this fiber ends."""
        self.started_by: Fiber | None = scheduler.current
        self.closed = False
        self.tasks: list[_Task] = []
        self._prune_at = _PRUNE_AT
        self._async_generators: list[Any] = []

    def __repr__(self) -> str:
        return f"<Fiber {self.name}>"

    # The interface of an event loop.

    def time(self) -> float:
        """Return the virtual time, in seconds since the start."""
        return self.scheduler.clock

    def call_soon(  # type: ignore[override] # a handle of our own
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Append a callback to the queue."""
        if self.closed:
            raise RuntimeError("Event loop is closed")  # asyncio's words
        handle = Handle(callback, args, context or contextvars.copy_context())
        self.queue.append(handle)
        if not self.is_ready and self.parked is None:
            self.is_ready = True
            self.scheduler.ready_queue.append(self)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Call a callback after `delay` seconds of virtual time."""
        return self.call_at(self.scheduler.clock + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Call a callback at a virtual time."""
        if self.closed:
            raise RuntimeError("Event loop is closed")
        handle = Handle(callback, args, context or contextvars.copy_context())
        self.scheduler.add_timer(self, when, handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """Create a future of this loop."""
        return _Future(self.scheduler.next_order(), self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **_: Any,
    ) -> asyncio.Task[Any]:
        """Create a task. It always takes its first step later, never during this call."""
        task = _Task(self.scheduler.next_order(), coro, self, name=name, context=context)
        self.tasks.append(task)
        if len(self.tasks) >= self._prune_at:
            self.prune_tasks()
            self._prune_at = max(_PRUNE_AT, 2 * len(self.tasks))
        return task

    def prune_tasks(self) -> None:
        """Remove finished tasks from the list of tasks."""
        self.tasks[:] = [task for task in self.tasks if not task.done()]

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call a function in a new fiber, for any executor, and return a future."""
        del executor
        answer = self.create_future()

        def work() -> None:
            result, failure = None, None
            try:
                result = func(*args)
            except SimulationAborted:
                raise
            except BaseException as error:  # noqa: BLE001 (the future gets it)
                failure = error
            with contextlib.suppress(RuntimeError):  # The loop is closed: no task waits.
                self.call_soon(_set_outcome, answer, result, failure)

        self.scheduler.start_worker(f"{self.name}'s worker", work)
        return answer

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what a callback raised."""
        self.scheduler.note_error(self, context)

    default_exception_handler = call_exception_handler

    def get_debug(self) -> bool:
        """Return `False`."""
        return False

    def is_running(self) -> bool:
        """Return whether the loop is open. An open loop counts as running."""
        return not self.closed

    def is_closed(self) -> bool:
        """Return whether the loop is closed."""
        return self.closed

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: a fiber has no executor."""

    async def shutdown_asyncgens(self) -> None:
        """Close the async generators that have started and not finished."""
        generators, self._async_generators = self._async_generators, []
        for generator in generators:
            await generator.aclose()

    # The end of the fiber.

    def note_async_generator(self, generator: Any) -> None:
        """Remember an async generator that starts on this loop."""
        self._async_generators = [
            other for other in self._async_generators if other.ag_frame is not None
        ]
        self._async_generators.append(generator)

    def unfinished_tasks(self, besides: asyncio.Task[Any] | None = None) -> list[asyncio.Task[Any]]:
        """Return the tasks that have not finished, except one, oldest first."""
        return [task for task in self.tasks if task is not besides and not task.done()]

    def close(self) -> None:
        """Close the loop, and drop the callbacks in its queue."""
        self.closed = True
        self.queue.clear()
        self.tasks.clear()


def _set_outcome(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    elif isinstance(error, StopIteration):  # As asyncio: a future cannot hold it.
        answer.set_exception(RuntimeError("coroutine raised StopIteration"))
    else:
        answer.set_exception(error)
