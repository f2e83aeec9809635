"""`Scheduler`: which fiber takes the next step, and when virtual time advances.

Guarantees:

*   One fiber runs at a time. Other fibers run in the middle of its step only where it blocks and,
    with `preempt`, where it puts a message.
*   Ready fibers stand in a queue, in the order in which they became ready. The schedule chooses
    one of them whenever there are several. Choice 0 is the oldest: first come, first served.
*   Time stands still while any fiber is ready, and then jumps to the next timer.
*   The same choices lead to the same steps: no decision depends on an address, a hash, the real
    time or the speed of a thread.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

from loguru import logger

from agy_actors.testing.errors import MisuseError
from agy_actors.testing.simulation.errors import (
    SimulationAborted,
    SimulationDeadlock,
    SimulationLivelock,
)
from agy_actors.testing.simulation.fiber import Fiber, Handle
from agy_actors.testing.simulation.mailbox_contents import handled_message
from agy_actors.testing.simulation.progress import Progress
from agy_actors.testing.simulation.repetitions import group_similar
from agy_actors.testing.simulation.threads import SimulationThreads
from agy_actors.testing.simulation.timers import Timers
from agy_actors.testing.simulation.trace import NOT_DRAWN, Trace
from agy_actors.testing.simulation.waits import waits_of

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Sequence

    from agy_actors.testing.simulation.schedules import Ready, Schedule

__all__ = ["Limits", "Scheduler"]

_set_running_loop = asyncio._set_running_loop  # noqa: SLF001 (documented for loops like ours)


class Limits:
    """The limits of a simulation.

    Args:
        steps: steps after which it counts as endless.
        time: seconds of virtual time after which it counts as endless.
        patience: seconds of virtual time without progress after which it counts as stuck.
        trace: how many events the trace keeps.
    """

    def __init__(self, *, steps: int, time: float, patience: float, trace: int) -> None:
        self.steps = steps
        self.time = time
        self.patience = patience
        self.trace = trace


class Scheduler:
    """Runs fibers until `finish` is called.

    Args:
        schedule: chooses the next fiber.
        limits: when to give up.
        preempt: whether a fiber may be preempted where it puts a message.
        context: what the contexts of new fibers are copied from.
        on_stuck: called when no fiber is ready and no timer helps. It calls `finish`.
    """

    def __init__(
        self,
        schedule: Schedule,
        limits: Limits,
        *,
        preempt: bool,
        context: contextvars.Context,
        on_stuck: Callable[[], None],
    ) -> None:
        self.clock = 0.0
        self.ready_queue: deque[Fiber] = deque()
        self.fibers: dict[Fiber, None] = {}
        """The fibers that have not ended, in the order in which they started."""
        self.current: Fiber | None = None
        self.context = context
        self.preempt = preempt
        self.drawing = True
        """Whether the schedule is asked for choices; if not, every choice is 0."""
        self.choices: list[int] = []
        self.widths: list[int] = []
        """The number of options of each choice."""
        self.steps = 0
        self.trace = Trace(limits.trace)
        self.progress = Progress(limits.patience)
        self.failure: BaseException | None = None
        self.over = False
        self.timers = Timers()
        self._schedule = schedule
        self._limits = limits
        self._on_stuck = on_stuck
        self._orders = count(1)
        self.next_order = self._orders.__next__
        self._numbers = count()
        self._threads = SimulationThreads(self._loop)
        self._drawn = NOT_DRAWN
        self._preset: Fiber | None = None
        """The next fiber, if that was chosen when the fiber before it was preempted."""

    def __repr__(self) -> str:
        state = "over" if self.over else "running"
        return f"<Scheduler: {state} at {self.clock:g} s, {self.steps} steps, {self.ready_queue}>"

    # Fibers.

    def new_fiber(self, name: str, subject: object) -> Fiber:
        """Create a fiber. It becomes ready when something is called on it."""
        # Sockets, processes and signals are not supported: they raise NotImplementedError.
        fiber = Fiber(self, name, next(self._numbers), subject)  # type: ignore[abstract] # pyright: ignore[reportAbstractUsage]
        self.fibers[fiber] = None
        return fiber

    def end_fiber(self, fiber: Fiber) -> None:
        """Close a fiber, and drop its remaining callbacks, as a closed event loop does."""
        fiber.close()
        self._remove_from_queue(fiber)
        self.fibers.pop(fiber, None)

    def start_worker(self, name: str, work: Callable[[], object]) -> None:
        """Call a function that may block in a new fiber. Its result and errors are dropped."""
        worker = self.new_fiber(name, None)

        def run() -> None:
            try:
                work()
            finally:
                self.end_fiber(worker)

        worker.call_soon(run, context=self.context.copy())

    def running_fiber(self, verb: str) -> Fiber:
        """Return the fiber that runs.

        Raises:
            MisuseError: no fiber runs: the call comes from outside the simulation.
        """
        fiber = self.current
        if fiber is None:
            raise MisuseError(
                f"code outside a simulation cannot {verb} in it: call it in the scenario, or in"
                " a client of the simulation"
            )
        return fiber

    def note(self, fiber: Fiber | None, what: str, detail: object = None) -> None:
        """Add an event to the trace."""
        self.trace.add((self.clock, fiber, what, None, detail, NOT_DRAWN))

    def note_error(self, fiber: Fiber, context: dict[str, Any]) -> None:
        """Log what a callback raised. As in asyncio, it affects nothing else."""
        error = context.get("exception")
        self.note(fiber, "has an error in", error)
        logger.opt(exception=error).error("{} in {}", context.get("message"), fiber.name)

    # Choices.

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Let the schedule choose one of several options, and record the choice."""
        choice = self._schedule.choose(width, ready) % width
        self.choices.append(choice)
        self.widths.append(width)
        return choice

    # The loop.

    def run(self) -> None:
        """Run until `finish` is called. Call it once; the calling thread is the first one."""
        hooks = sys.get_asyncgen_hooks()
        loop = asyncio._get_running_loop()  # noqa: SLF001 (as `_set_running_loop`)
        try:
            self._loop()
            self._unwind()
        finally:
            _set_running_loop(loop)
            sys.set_asyncgen_hooks(*hooks)
            self._threads.end()
            self.current = None

    def finish(self, failure: BaseException | None = None) -> None:
        """End the simulation. Of several failures the first one counts."""
        if self.failure is None:
            self.failure = failure
        self.over = True

    def _loop(self) -> None:
        sys.set_asyncgen_hooks(firstiter=self._note_async_generator, finalizer=None)
        queue, step = self.ready_queue, self._step
        try:
            while not self.over:
                fiber, self._preset = self._preset, None
                if fiber is None:
                    ready = len(queue)
                    if not ready:
                        self._advance()
                        continue
                    choice = self.choose(ready, queue) if ready > 1 and self.drawing else 0
                    self._drawn = choice, ready
                    if choice:
                        fiber = queue[choice]
                        del queue[choice]
                    else:
                        fiber = queue.popleft()
                fiber.is_ready = False
                if fiber.parked is None:
                    step(fiber)
                else:
                    self._threads.resume(fiber.parked)
        except BaseException as error:  # noqa: BLE001 (on any thread: `run` raises it)
            self.finish(error)

    def _step(self, fiber: Fiber) -> None:
        # This method and `_loop` take most of the time of a simulation.
        queue = fiber.queue
        handle = queue.popleft()
        while handle.gone:
            if not queue:
                return
            handle = queue.popleft()
        if queue:
            self._append(fiber)
        self.steps += 1
        if self.steps > self._limits.steps:
            raise SimulationLivelock(f"no end after {self._limits.steps} steps{self._waits()}")
        if fiber.is_client:
            self.progress.last = self.clock
        self.current = fiber
        callback = handle.callback
        message = handled_message(callback)
        self.trace.add((self.clock, fiber, "step", callback, message, self._drawn))
        _set_running_loop(fiber)
        try:
            handle.context.run(callback, *handle.args)
        except BaseException as error:  # noqa: BLE001 (as in asyncio: only the callback fails)
            self._contain(fiber, error)
        if queue and not fiber.is_ready and not fiber.closed:
            self._append(fiber)

    def _contain(self, fiber: Fiber, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):  # Most likely the user's Ctrl-C.
            self.finish(error)
        elif not isinstance(error, SimulationAborted):
            self.note_error(fiber, {"message": "a callback failed", "exception": error})

    def _append(self, fiber: Fiber) -> None:
        fiber.is_ready = True
        self.ready_queue.append(fiber)

    def _remove_from_queue(self, fiber: Fiber) -> None:
        if fiber.is_ready:
            fiber.is_ready = False
            self.ready_queue.remove(fiber)

    def _note_async_generator(self, generator: Any) -> None:
        if self.current is not None:
            self.current.note_async_generator(generator)

    # Virtual time.

    def add_timer(self, fiber: Fiber, when: float, handle: Handle, *, direct: bool = False) -> None:
        """Call a handle in its fiber at a virtual time.

        Args:
            fiber: the fiber.
            when: the virtual time.
            handle: the callback.
            direct: whether the scheduler itself calls it, because the fiber blocks.
        """
        handle.time = when
        handle.order = self.next_order()
        handle.fiber = fiber
        handle.direct = direct
        self.timers.add(handle)

    def _advance(self) -> None:
        when = self.timers.next_time()
        if when is None or self.progress.is_stuck(when, self.timers):
            self._on_stuck()
            return
        if when > self._limits.time:
            raise SimulationLivelock(
                f"no end within {self._limits.time:g} seconds of virtual time{self._waits()}"
            )
        self.clock = max(self.clock, when)
        for handle in self.timers.pop_due(self.clock):
            if handle.direct:
                handle.callback()
                continue
            fiber = handle.fiber
            fiber.queue.append(handle)
            if not fiber.is_ready and fiber.parked is None:
                self._append(fiber)

    # Fibers that block in the middle of a step.

    def block(self, fiber: Fiber, what: object) -> None:
        """Run other fibers until this one is made ready and chosen.

        Args:
            fiber: the running fiber.
            what: what it waits for.

        Raises:
            SimulationAborted: the simulation is over.
        """
        if self.over:
            raise SimulationAborted
        self._remove_from_queue(fiber)
        fiber.blocked_on = what
        self.note(fiber, "waits for", what)
        self._park(fiber)

    def make_ready(self, fiber: Fiber) -> None:
        """Make a blocked fiber ready to continue."""
        if not fiber.is_ready:
            self._append(fiber)

    def preemption_point(self) -> None:
        """Let the schedule choose whether another fiber runs before the current one continues."""
        fiber, queue = self.current, self.ready_queue
        if fiber is None or not self.drawing or self.over:
            return
        others = [other for other in queue if other is not fiber]
        if not others:
            return
        choice = self.choose(len(others) + 1, [fiber, *others])
        if not choice:
            return
        self._drawn = (choice, len(others) + 1)
        self._preset = others[choice - 1]
        self._remove_from_queue(fiber)
        queue.remove(self._preset)
        queue.appendleft(fiber)  # At position 0: it continues unless another is chosen.
        fiber.is_ready = True
        self.trace.add((self.clock, fiber, "is preempted", None, None, self._drawn))
        self._park(fiber)

    def _park(self, fiber: Fiber) -> None:
        thread = self._threads.running
        fiber.parked = thread
        self._threads.switch_from(thread)
        fiber.parked = None
        fiber.blocked_on = None
        self.current = fiber
        if self.over:
            raise SimulationAborted
        self.trace.add((self.clock, fiber, "continues", None, None, self._drawn))

    # The end.

    def _unwind(self) -> None:
        """Abort the fibers that still block, so that their threads leave their stacks."""
        for fiber in list(self.fibers):
            while fiber.parked is not None:
                self._threads.unwind(fiber.parked)

    def deadlock(self, what: str) -> SimulationDeadlock:
        """Create the error that shows what each fiber waits for."""
        return SimulationDeadlock(f"{what}{self._waits()}")

    def _waits(self) -> str:
        lines = [line for fiber in self.fibers for line in waits_of(fiber)]
        return "".join(f"\n  {line}" for line in group_similar(lines))
