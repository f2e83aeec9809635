"""Which strand takes the next step, and when time goes on.

Guarantees:

*   One strand runs at a time, and each of its steps is whole, but for the places where it
    blocks (and, with `preempt`, where it puts a message): there any other may come between.
*   Who is ready stands in a ring, in the order in which it became so. A schedule draws from
    it wherever there is a choice; choice 0 is the oldest, as a single queue would do.
*   Time stands still while anybody is ready, and then jumps to the next timer.
*   The same steps follow from the same choices: nothing here asks for an address, a hash, a
    real clock or a thread's own pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from loguru import logger

from agy_actors._kernel import AsyncioActor
from agy_actors.testing._simulation_errors import (
    SimulationAborted,
    SimulationDeadlock,
    SimulationLivelock,
)
from agy_actors.testing._simulation_loop import Handle, Strand, Timers
from agy_actors.testing._simulation_threads import Crew
from agy_actors.testing._simulation_trace import NOT_DRAWN, Trace
from agy_actors.testing._simulation_waits import waits_of

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Sequence

__all__ = ["Gate", "Limits", "Schedule", "Scheduler"]

_TICKS = 100
"""Jumps of the clock without a message that are no sign of a deadlock yet, however long
they are. Arbitrary: one long sleep is one jump."""

_DRAIN = AsyncioActor._drain  # noqa: SLF001 (to name the message that a step handles)
_set_running_loop = asyncio._set_running_loop  # noqa: SLF001 (documented for loops like ours)


class Ready(Protocol):
    """A strand that may take the next step."""

    number: int
    """Its own, from 0, in the order of their start."""


class Schedule(Protocol):
    """Draws what comes next."""

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Return a position, from 0 to below `width` (or what is that by modulo).

        Args:
            width: among how many, two at least.
            ready: those that are ready, the one that has been so for longest first; empty
                where values are drawn from (`Simulation.choose`).
        """
        ...


class Limits:
    """Where a simulation gives up.

    Args:
        steps: how many steps it may take.
        time: how many seconds of virtual time it may take.
        patience: after how many seconds of virtual time without any message, while all
            clients wait, it counts as deadlocked, whatever timers tick.
        trace: how many events are kept for the trace.
    """

    def __init__(self, *, steps: int, time: float, patience: float, trace: int) -> None:
        self.steps = steps
        self.time = time
        self.patience = patience
        self.trace = trace


class Gate:
    """A gate of the kernel's (see `agy_actors._kernel.Host`), in virtual time."""

    __slots__ = ("_open", "_scheduler", "_waiting", "what")

    def __init__(self, scheduler: Scheduler, what: object) -> None:
        self._scheduler = scheduler
        self._open = False
        self._waiting: Strand | None = None
        self.what = what

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until it is open, in virtual time."""
        if not self._open and blocking and timeout != 0:
            self._wait(timeout)
        passed, self._open = self._open, False
        return passed

    def release(self) -> None:
        """Open it."""
        if self._open:
            raise RuntimeError("release unlocked lock")
        self._open = True
        self._let_go()

    def _wait(self, timeout: float) -> None:
        scheduler = self._scheduler
        strand = self._waiting = scheduler.running_strand("wait")
        timer = None
        if timeout > 0:
            timer = Handle(self._let_go, (), scheduler.context)
            scheduler.add_timer(strand, scheduler.clock + timeout, timer, direct=True)
        try:
            scheduler.block(strand, self.what)
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()

    def _let_go(self) -> None:
        strand, self._waiting = self._waiting, None
        if strand is not None:
            self._scheduler.make_ready(strand)


class Scheduler:
    """Runs strands until it is told that it is over."""

    def __init__(
        self,
        schedule: Schedule,
        limits: Limits,
        *,
        preempt: bool,
        context: contextvars.Context,
        stuck: Callable[[], None],
    ) -> None:
        self.clock = 0.0
        self.ring: deque[Strand] = deque()
        self.strands: dict[Strand, None] = {}
        """Those that have not ended, in the order of their start."""
        self.current: Strand | None = None
        self.context = context
        self.preempt = preempt
        self.drawing = True
        """Whether choices are drawn; else all of them are 0."""
        self.choices: list[int] = []
        self.widths: list[int] = []
        """Among how many each choice was made."""
        self.steps = 0
        self.trace = Trace(limits.trace)
        self.failure: BaseException | None = None
        self.over = False
        self.last_progress = 0.0
        self._progress_seen = 0.0
        self._jumps = 0
        self._schedule = schedule
        self._limits = limits
        self._stuck = stuck
        self._timers = Timers()
        self._orders = count(1)
        self.next_order = self._orders.__next__
        self._numbers = count()
        self._crew = Crew(self._drive)
        self._drawn = NOT_DRAWN
        self._preset: Strand | None = None
        """Who is next, if that was drawn when the strand before was held up."""

    # Strands.

    def new_strand(self, name: str, subject: object) -> Strand:
        """Make a strand; it is ready as soon as something is called on it."""
        # What it does not have (sockets, processes, signals) raises NotImplementedError.
        strand = Strand(self, name, next(self._numbers), subject)  # type: ignore[abstract] # pyright: ignore[reportAbstractUsage]
        self.strands[strand] = None
        return strand

    def end_strand(self, strand: Strand) -> None:
        """Close a strand; what is to be called on it is dropped, as by a loop that is closed."""
        strand.close()
        if strand.waiting_in_ring:
            strand.waiting_in_ring = False
            self.ring.remove(strand)
        self.strands.pop(strand, None)

    def call_beside(
        self, strand: Strand, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        """Call a function on a strand of its own, and return the future of its result."""
        answer = strand.create_future()
        worker = self.new_strand(f"{strand.name}'s worker", None)

        def settle(result: Any, error: BaseException | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            elif isinstance(error, StopIteration):  # As asyncio: a future cannot hold it.
                answer.set_exception(RuntimeError("coroutine raised StopIteration"))
            else:
                answer.set_exception(error)

        def work() -> None:
            result, failure = None, None
            try:
                result = function(*args)
            except SimulationAborted:
                raise
            except BaseException as error:  # noqa: BLE001 (it belongs to who waits)
                failure = error
            self.end_strand(worker)
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
                strand.call_soon(settle, result, failure)

        worker.call_soon(work, context=self.context.copy())
        return answer

    def running_strand(self, verb: str) -> Strand:
        """Return the strand that runs.

        Raises:
            RuntimeError: none does: the call comes from outside the simulation.
        """
        strand = self.current
        if strand is None:
            raise RuntimeError(
                f"code outside a simulation cannot {verb} in it: call it in the scenario, or in"
                " a client of the simulation"
            )
        return strand

    def note_error(self, strand: Strand, context: dict[str, Any]) -> None:
        """Note what a callback raised, as asyncio does: nobody else is to suffer from it."""
        error = context.get("exception")
        self.trace.add((self.clock, strand, "has an error in", None, error, NOT_DRAWN))
        logger.opt(exception=error).error("{} in {}", context.get("message"), strand.name)

    # Drawing.

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Draw one of several, and note it."""
        choice = self._schedule.choose(width, ready) % width
        self.choices.append(choice)
        self.widths.append(width)
        return choice

    # Running.

    def run(self) -> None:
        """Run until it is over. Call it once, on the thread that is to be the first."""
        hooks = sys.get_asyncgen_hooks()
        loop = asyncio._get_running_loop()  # noqa: SLF001 (as `_set_running_loop`)
        try:
            self._drive()
            self._unwind()
        finally:
            _set_running_loop(loop)
            sys.set_asyncgen_hooks(*hooks)
            self._crew.dismiss()
            self.current = None

    def finish(self, failure: BaseException | None = None) -> None:
        """Let it be over; of several failures the first counts."""
        if self.failure is None:
            self.failure = failure
        self.over = True

    def _drive(self) -> None:
        sys.set_asyncgen_hooks(firstiter=self._note_async_generator, finalizer=None)
        ring, step = self.ring, self._step
        try:
            while not self.over:
                strand, self._preset = self._preset, None
                if strand is None:
                    ready = len(ring)
                    if not ready:
                        self._advance()
                        continue
                    choice = self.choose(ready, ring) if ready > 1 and self.drawing else 0
                    self._drawn = choice, ready
                    if choice:
                        strand = ring[choice]
                        del ring[choice]
                    else:
                        strand = ring.popleft()
                strand.waiting_in_ring = False
                if strand.parked is None:
                    step(strand)
                else:
                    self._crew.resume(strand.parked)
        except BaseException as error:  # noqa: BLE001 (on whichever thread: `run` raises it)
            self.finish(error)

    def _step(self, strand: Strand) -> None:
        # With `_drive` the hottest code here.
        queue = strand.queue
        handle = queue.popleft()
        while handle.gone:
            if not queue:
                return
            handle = queue.popleft()
        if queue:
            self._append(strand)
        self.steps += 1
        if self.steps > self._limits.steps:
            raise SimulationLivelock(f"no end after {self._limits.steps} steps{self._waits()}")
        if strand.is_client:
            self.last_progress = self.clock
        self.current = strand
        callback = handle.callback
        message = None
        if getattr(callback, "__func__", None) is _DRAIN:
            message = _next_message(callback.__self__)  # type: ignore[attr-defined]
        self.trace.add((self.clock, strand, "step", callback, message, self._drawn))
        _set_running_loop(strand)
        try:
            handle.context.run(callback, *handle.args)
        except BaseException as error:  # noqa: BLE001 (as asyncio: of the callback alone)
            self._contain(strand, error)
        if queue and not strand.waiting_in_ring and not strand.closed:
            self._append(strand)

    def _contain(self, strand: Strand, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):  # Most likely somebody's Ctrl-C.
            self.finish(error)
        elif not isinstance(error, SimulationAborted):
            self.note_error(strand, {"message": "a callback failed", "exception": error})

    def _append(self, strand: Strand) -> None:
        strand.waiting_in_ring = True
        self.ring.append(strand)

    def _note_async_generator(self, generator: Any) -> None:
        if self.current is not None:
            self.current.note_async_generator(generator)

    # Time.

    def add_timer(
        self, strand: Strand, when: float, handle: Handle, *, direct: bool = False
    ) -> None:
        """Have a handle called on its strand at a time; directly, where it ends a wait."""
        handle.time = when
        handle.order = self.next_order()
        handle.strand = strand
        handle.direct = direct
        self._timers.add(handle)

    def _advance(self) -> None:
        when = self._timers.next_time()
        if when is None or self._is_stagnant(when):
            self._stuck()
            return
        if when > self._limits.time:
            raise SimulationLivelock(
                f"no end within {self._limits.time:g} seconds of virtual time{self._waits()}"
            )
        self.clock = max(self.clock, when)
        for handle in self._timers.pop_due(self.clock):
            if handle.direct:
                handle.callback()
                continue
            strand = handle.strand
            strand.queue.append(handle)
            if not strand.waiting_in_ring and strand.parked is None:
                self._append(strand)

    def _is_stagnant(self, when: float) -> bool:
        """Tell whether timers have ticked for long, and to no avail for any client."""
        if self.last_progress != self._progress_seen:
            self._progress_seen, self._jumps = self.last_progress, 0
        self._jumps += 1
        return (
            self._jumps > _TICKS
            and when - self.last_progress > self._limits.patience
            and not any(handle.strand.is_client for handle in self._timers)
        )

    # Blocking in the middle of a step.

    def block(self, strand: Strand, what: object) -> None:
        """Let others run until the strand is made ready again, and drawn.

        Raises:
            SimulationAborted: the simulation is over.
        """
        if self.over:
            raise SimulationAborted
        if strand.waiting_in_ring:
            strand.waiting_in_ring = False
            self.ring.remove(strand)
        strand.blocked_on = what
        self.trace.add((self.clock, strand, "waits for", None, what, NOT_DRAWN))
        self._park(strand)

    def make_ready(self, strand: Strand) -> None:
        """Have a strand that blocks go on when it is drawn."""
        if not strand.waiting_in_ring:
            self._append(strand)

    def point(self) -> None:
        """Let others come between here, if that is drawn."""
        strand, ring = self.current, self.ring
        if strand is None or not self.drawing or self.over:
            return
        others = [other for other in ring if other is not strand]
        if not others:
            return
        choice = self.choose(len(others) + 1, [strand, *others])
        if not choice:
            return
        self._drawn = (choice, len(others) + 1)
        self._preset = others[choice - 1]
        if strand.waiting_in_ring:
            ring.remove(strand)
        ring.remove(self._preset)
        ring.appendleft(strand)  # Next, unless it is drawn otherwise.
        strand.waiting_in_ring = True
        self.trace.add((self.clock, strand, "is held up", None, None, self._drawn))
        self._park(strand)

    def _park(self, strand: Strand) -> None:
        carrier = self._crew.running
        strand.parked = carrier
        self._crew.take_over_from(carrier)
        strand.parked = None
        strand.blocked_on = None
        self.current = strand
        if self.over:
            raise SimulationAborted
        self.trace.add((self.clock, strand, "goes on", None, None, self._drawn))

    # Its end.

    def _unwind(self) -> None:
        """Have all who still wait leave their stacks."""
        for strand in list(self.strands):
            while strand.parked is not None:
                self._crew.unwind(strand.parked)

    def deadlock(self, what: str) -> SimulationDeadlock:
        """Make the error that says who waits for whom."""
        return SimulationDeadlock(f"{what}{self._waits()}")

    def _waits(self) -> str:
        return "".join(f"\n  {line}" for strand in self.strands for line in waits_of(strand))


def _next_message(actor: AsyncioActor) -> object:
    inbox = actor.actor_inbox
    if inbox.control:
        return inbox.control[0]
    if inbox._turns and actor._turn is None and actor._turns_open:  # noqa: SLF001 (see `_DRAIN`)
        return inbox._turns[0]  # noqa: SLF001
    return None
