"""`Strand`: the event loop of one simulated thread.

A strand is what a thread is elsewhere: an actor's, a client's, a worker's. Its callbacks
run in the order in which they became ready, as on any asyncio loop; what is drawn is which
strand takes its next step. So a simulated schedule is one that real threads may have.

All strands of a simulation run on one thread at a time, so nothing here is locked.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator

    from agy_actors.testing._simulation_scheduler import Scheduler
    from agy_actors.testing._simulation_threads import Carrier

__all__ = ["Handle", "Strand", "Timers"]


class Handle:
    """A callback that is to be called: what `asyncio.Handle` and its `TimerHandle` are."""

    __slots__ = ("args", "callback", "context", "direct", "gone", "order", "strand", "time")

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

    # Of timers alone; set when they are added.
    time: float
    order: int
    strand: Strand
    direct: bool
    """Whether the scheduler calls it, and not the strand: it ends a wait in mid-step."""

    def cancel(self) -> None:
        """Have it not called."""
        self.gone = True

    def cancelled(self) -> bool:
        """Tell whether it was cancelled."""
        return self.gone

    def when(self) -> float:
        """Return the virtual time of a timer."""
        return self.time


class _Numbered:
    """Hashes by a number, so that no set of them has an order that differs between runs."""

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
        self._number = number  # First: the constructor puts the task into a set.
        super().__init__(coro, loop=loop, **options)

    __hash__ = _Numbered.__hash__


class Strand(asyncio.AbstractEventLoop):
    """One simulated thread, and its event loop."""

    def __init__(self, scheduler: Scheduler, name: str, number: int, subject: object) -> None:
        self.scheduler = scheduler
        self.name = name
        self.number = number
        """From 0, in the order of their start."""
        self.subject = subject
        """The actor, client or call whose strand this is."""
        self.queue: deque[Handle] = deque()
        self.waiting_in_ring = False
        """Whether it is among those that may take a step."""
        self.parked: Carrier | None = None
        """The thread that holds its stack, while it blocks or was preempted in a step."""
        self.blocked_on: object = None
        """What it waits for while it blocks."""
        self.is_client = False
        """Whether the simulation goes on until this has ended."""
        self.started_by: Strand | None = scheduler.current
        self.closed = False
        self.tasks: list[_Task] = []
        self._prune_at = 16
        self._async_generators: list[Any] = []

    def __repr__(self) -> str:
        return f"<Strand {self.name}>"

    @property
    def asleep(self) -> bool:
        """Whether it waits for something to do."""
        return not self.queue and self.parked is None

    # What asyncio asks of a loop.

    def time(self) -> float:
        """Return the virtual time, in seconds since the start."""
        return self.scheduler.clock

    def call_soon(  # type: ignore[override] # a handle of our own
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Append a callback to what is to be called."""
        if self.closed:
            raise RuntimeError("Event loop is closed")  # asyncio's words
        handle = Handle(callback, args, context or contextvars.copy_context())
        self.queue.append(handle)
        if not self.waiting_in_ring and self.parked is None:
            self.waiting_in_ring = True
            self.scheduler.ring.append(self)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Have a callback called after `delay` seconds of virtual time."""
        return self.call_at(self.scheduler.clock + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Have a callback called at a virtual time."""
        if self.closed:
            raise RuntimeError("Event loop is closed")
        handle = Handle(callback, args, context or contextvars.copy_context())
        self.scheduler.add_timer(self, when, handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of this loop."""
        return _Future(self.scheduler.next_order(), self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **_: Any,
    ) -> asyncio.Task[Any]:
        """Make a task of a coroutine. It takes its first step later, never at once."""
        task = _Task(self.scheduler.next_order(), coro, self, name=name, context=context)
        tasks = self.tasks
        tasks.append(task)
        if len(tasks) >= self._prune_at:
            tasks[:] = [task for task in tasks if not task.done()]
            self._prune_at = max(16, 2 * len(tasks))
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call a function on a strand of its own, whatever the executor."""
        del executor
        return self.scheduler.call_beside(self, func, args)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what a callback raised."""
        self.scheduler.note_error(self, context)

    default_exception_handler = call_exception_handler

    def get_debug(self) -> bool:
        """Return `False`."""
        return False

    def is_running(self) -> bool:
        """Tell whether the loop is open: it is always about to run."""
        return not self.closed

    def is_closed(self) -> bool:
        """Tell whether its actor has come to its end."""
        return self.closed

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is none."""

    async def shutdown_asyncgens(self) -> None:
        """Close the async generators that were left in the middle."""
        generators, self._async_generators = self._async_generators, []
        for generator in generators:
            await generator.aclose()

    # Its end.

    def note_async_generator(self, generator: Any) -> None:
        """Note an async generator that was begun on this loop."""
        self._async_generators = [
            other for other in self._async_generators if other.ag_frame is not None
        ]
        self._async_generators.append(generator)

    def leftovers(self, besides: asyncio.Task[Any] | None = None) -> list[asyncio.Task[Any]]:
        """Return the tasks that have not ended, oldest first."""
        return [task for task in self.tasks if task is not besides and not task.done()]

    def close(self) -> None:
        """Call nothing any more."""
        self.closed = True
        self.queue.clear()
        self.tasks.clear()


class Timers:
    """The timers of all strands, by their time and then by the order of their making."""

    def __init__(self) -> None:
        self._heap: list[Handle] = []
        self._prune_at = 64

    def __iter__(self) -> Iterator[Handle]:
        return (handle for handle in self._heap if not _is_void(handle))

    def add(self, handle: Handle) -> None:
        """Add a timer."""
        heapq.heappush(self._heap, handle)
        if len(self._heap) >= self._prune_at:
            self._heap = [handle for handle in self._heap if not _is_void(handle)]
            heapq.heapify(self._heap)
            self._prune_at = max(64, 2 * len(self._heap))

    def next_time(self) -> float | None:
        """Return the time of the next timer, or `None` if there is none."""
        heap = self._heap
        while heap and _is_void(heap[0]):
            heapq.heappop(heap)
        return heap[0].time if heap else None

    def pop_due(self, now: float) -> list[Handle]:
        """Take the timers whose time has come, in order."""
        heap, due = self._heap, []
        while heap and heap[0].time <= now:
            handle = heapq.heappop(heap)
            if not _is_void(handle):
                due.append(handle)
        return due


def _is_void(handle: Handle) -> bool:
    return handle.gone or handle.strand.closed
