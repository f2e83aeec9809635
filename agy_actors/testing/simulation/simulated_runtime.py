"""`SimulatedRuntime`: what actors use in a simulation in place of threads and clocks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._actors.runtime import runtime_context
from agy_actors.testing.simulation.actor_fibers import ActorFibers
from agy_actors.testing.simulation.gate import Gate
from agy_actors.testing.simulation.open_asks import OpenAsks
from agy_actors.testing.simulation.scheduler import Scheduler
from agy_actors.testing.simulation.simulated_mailbox import SimulatedMailbox
from agy_actors.testing.simulation.trace import NOT_DRAWN

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors.testing.simulation.scheduler import Limits
    from agy_actors.testing.simulation.schedules import Schedule

__all__ = ["SimulatedRuntime"]

_EPOCH = 1_767_225_600.0
"""What the wall clock shows when a simulation starts: the first second of 2026, in UTC."""


class SimulatedRuntime:
    """Runs actors in fibers, in virtual time. See the protocol in `_actors.runtime`.

    Args:
        schedule: chooses the next fiber.
        limits: when to give up.
        preempt: whether a fiber may be preempted where it puts a message.
        simulation: the `Simulation` that this runtime belongs to.
    """

    batch: ClassVar[int] = 1
    """Messages that an actor handles in one step."""
    mailbox_type: type[Any] | None = SimulatedMailbox
    """The type of its actors' mailboxes."""

    def __init__(
        self, schedule: Schedule, limits: Limits, *, preempt: bool, simulation: object
    ) -> None:
        self.simulation = simulation
        self.scheduler = Scheduler(
            schedule,
            limits,
            preempt=preempt,
            context=runtime_context(self),
            on_stuck=self._finish_stuck,
        )
        self.actors = ActorFibers(self.scheduler)
        self.asks = OpenAsks()
        self._counts: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<SimulatedRuntime: {self.scheduler}, {self.actors}, {self.asks}>"

    def monotonic(self) -> float:
        """Return the virtual time."""
        return self.scheduler.clock

    def time(self) -> float:
        """Return the virtual time of the wall clock."""
        return _EPOCH + self.scheduler.clock

    def thread_id(self) -> int:
        """Return a number for the running fiber. It is negative, unlike that of a real thread."""
        current = self.scheduler.current
        return -1 if current is None else -2 - current.number

    def new_gate(self, what: object) -> Gate:
        """Create a closed gate in virtual time."""
        return Gate(self.scheduler, what)

    def number(self, kind: str) -> int:
        """Return the next number of a kind in this simulation, from 1."""
        self._counts[kind] += 1
        return self._counts[kind]

    def new_id(self) -> str:
        """Return a new id. The ids of a simulation are the same in each run."""
        return f"{self.number('id'):032x}"

    def run_actor(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        *,
        on_exit: Callable[[], None],
        name: str,
        daemon: bool,
    ) -> None:
        """Run `main()` to its end in a new fiber."""
        del daemon
        self.actors.start(main, on_exit, name)

    def run_beside(self, function: Callable[[], object]) -> None:
        """Call a function that may block in a new fiber."""
        self.scheduler.start_worker("a worker", function)

    # What mailboxes tell.

    def note_put(self, mailbox: SimulatedMailbox, message: object) -> None:
        """Note that a message is about to be put. The calling fiber may be preempted here."""
        scheduler = self.scheduler
        if scheduler.preempt:
            scheduler.preemption_point()
        scheduler.progress.last = scheduler.clock
        # Not `scheduler.note`: its second object is the mailbox.
        scheduler.trace.add(
            (scheduler.clock, scheduler.current, "put", mailbox, message, NOT_DRAWN)
        )

    def note_ask(self, mailbox: SimulatedMailbox, message: object, reply_to: object) -> None:
        """Note that a mailbox accepted a message."""
        self.asks.add_ask(mailbox, message, reply_to)

    def _finish_stuck(self) -> None:
        if self.actors.ending:
            what = "the scenario has ended, and an actor does not"
        else:
            what = "no fiber can continue, and at least one waits"
        self.scheduler.finish(self.scheduler.deadlock(what))
