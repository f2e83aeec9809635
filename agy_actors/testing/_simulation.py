"""`Simulation`: the very same actors in one thread's time, in a drawn order of steps.

What runs is the program's own: its actors, agents, supervisors and pools, on the kernel's
own code. Only what the kernel asks its host for is another: threads, their order, clocks,
waiting, and what is random in names. See `_simulation_scheduler` for the guarantees.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from agy_actors._kernel import AsyncioActor, ReplyFuture, current_host, fail, host_context, resolve
from agy_actors.testing._schedules import Fifo, Given
from agy_actors.testing._simulation_errors import SimulationAborted, SimulationLeak
from agy_actors.testing._simulation_mailbox import SimulatedMailbox
from agy_actors.testing._simulation_scheduler import Gate, Limits, Scheduler
from agy_actors.testing._simulation_token import read_token, write_token
from agy_actors.testing._simulation_trace import NOT_DRAWN, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from agy_actors._kernel import Mailbox
    from agy_actors.testing._simulation_loop import Strand
    from agy_actors.testing._simulation_scheduler import Schedule
    from agy_actors.testing._simulation_trace import Trace

__all__ = ["Client", "Simulation"]

T = TypeVar("T")

_EPOCH = 1_767_225_600.0
"""What the clock on the wall shows when a simulation starts: the first second of 2026."""


class Client(Generic[T]):
    """Code that calls actors in a simulation, as a thread of the program would."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.future: ReplyFuture[T] = ReplyFuture()
        """Of what it returns."""
        self.future.about = (f"the end of {name}", name)

    def __repr__(self) -> str:
        return f"<Client {self.name}>"

    def result(self, timeout: float | None = None) -> T:
        """Wait for its end and return what it returned, in virtual time."""
        return self.future.get(timeout=timeout)

    def __await__(self) -> Any:
        return self.future.__await__()


class Simulation:
    """Runs a scenario once, in the order that a schedule draws.

    It is a `Host`. What differs from real threads: an actor handles one message in each
    step of its own; time stands still while anything can run; blocking calls of
    agy_actors (`ask`, `get`, `stop`, streams) take virtual time. What is not: a real
    `time.sleep`, a lock or a queue of the standard library, and threads that a scenario
    starts by itself. They would hold all up: use clients, futures and `sleep` here.

    Args:
        schedule: draws what comes next; by default whoever is ready for longest.
        seed: of the `random` module, from which backoffs take their jitter.
        preempt: whether a strand may be held up also where it puts a message, in the
            middle of a step. It finds more, and takes a switch of threads each time.
        max_steps: after which the simulation counts as one that comes to no end.
        max_time: seconds of virtual time, likewise.
        patience: seconds of virtual time without a message while all clients wait for a
            reply, after which they count as deadlocked whatever timers tick.
        trace: how many events are kept for `trace`, the last ones.

    One simulation runs one scenario. Its parts may be looked at afterwards.
    """

    batch: ClassVar[int] = 1
    mailbox_type: type[Mailbox] | None = SimulatedMailbox

    def __init__(
        self,
        schedule: Schedule | None = None,
        *,
        seed: int = 0,
        preempt: bool = False,
        max_steps: int = 200_000,
        max_time: float = 1e6,
        patience: float = 3600.0,
        trace: int = 10_000,
    ) -> None:
        self.schedule = schedule or Fifo()
        self.seed = seed
        self.preempt = preempt
        self._context = host_context(self)
        self._scheduler = Scheduler(
            self.schedule,
            Limits(steps=max_steps, time=max_time, patience=patience, trace=trace),
            preempt=preempt,
            context=self._context,
            stuck=self._be_stuck,
        )
        self._counts: Counter[str] = Counter()
        self._open_clients = 0
        self._ending = False
        self._exits: dict[Strand, Callable[[], None]] = {}
        self._futures: list[ReplyFuture[Any]] = []
        """Of all asks and clients."""

    @classmethod
    def replay(cls, token: str, **options: Any) -> Self:
        """Make a simulation that does again what one did that failed.

        Args:
            token: what the failure came with.
            options: others than the token's own `seed` and `preempt`.

        Raises:
            ValueError: it is no token, or one of another version of agy_actors.
        """
        choices, seed, preempt = read_token(token)
        return cls(Given(choices), seed=seed, preempt=preempt, **options)

    @staticmethod
    def current() -> Simulation | None:
        """Return the simulation in which the calling code runs, if it does."""
        host = current_host()
        return host if isinstance(host, Simulation) else None

    # For who runs it.

    def run(self, scenario: Callable[[Simulation], Any]) -> Any:
        """Run a scenario to its end and return what it returns.

        The scenario is the first client. When it and all other clients have ended, the
        actors that still run are stopped.

        Args:
            scenario: a function of the simulation, with or without `async`.

        Raises:
            SimulationDeadlock: nobody can go on, and somebody waits.
            SimulationLivelock: it comes to no end.
            SimulationLeak: it has ended, and an ask is still unanswered.
            BaseException: what the scenario or another client raised. The trace and the
                token to replay it are in its notes.
        """
        if self._scheduler.steps:
            raise RuntimeError("a simulation runs once: make another one")
        state = random.getstate()
        random.seed(self.seed)
        main = self.client(scenario, self, name="main")
        try:
            self._scheduler.run()
            self._clear_up()
        finally:
            random.setstate(state)
        failure = self._scheduler.failure
        if failure is None:
            failure = self._leak()
        if failure is not None:
            failure.add_note(self.report())
            raise failure
        return main.future.get(timeout=0)

    def report(self) -> str:
        """Return the trace and the token, as a failure shows them."""
        deviations = sum(map(bool, self.choices))
        return (
            f"the simulated schedule, with {deviations} deviations from first come, first served"
            f" in {len(self.choices)} choices:\n{self.trace}\n"
            f"replay it with Simulation.replay({self.token!r}).run(...)"
        )

    @property
    def trace(self) -> Trace:
        """What happened: printed, one line for each step and what was done in it."""
        return self._scheduler.trace

    @property
    def choices(self) -> Sequence[int]:
        """What was drawn so far."""
        return self._scheduler.choices

    @property
    def widths(self) -> Sequence[int]:
        """Among how many each of the choices was made."""
        return self._scheduler.widths

    @property
    def steps(self) -> int:
        """How many steps were taken so far."""
        return self._scheduler.steps

    @property
    def token(self) -> str:
        """What replays this run, in the same version of agy_actors and of the scenario."""
        return write_token(self.choices, seed=self.seed, preempt=self.preempt)

    # For scenarios, and whatever else runs in the simulation.

    @property
    def now(self) -> float:
        """The virtual time, in seconds since the start."""
        return self._scheduler.clock

    def client(
        self, function: Callable[..., Any], *args: Any, name: str | None = None
    ) -> Client[Any]:
        """Start code that runs beside: a function, or a coroutine function.

        A function may block in calls of agy_actors, as on a thread of its own. What either
        raises ends the simulation, which then raises it.

        Args:
            function: called with `args`.
            args: for the function.
            name: what it is called in the trace.
        """
        client: Client[Any] = Client(name or self._name(function))
        strand = self._scheduler.new_strand(client.name, client)
        strand.is_client = True
        self._futures.append(client.future)
        self._open_clients += 1

        def begin() -> None:
            try:
                result = function(*args)
            except SimulationAborted:
                raise
            except BaseException as error:  # noqa: BLE001 (it is raised by `run`)
                self._end_client(strand, client, None, error)
                return
            if inspect.iscoroutine(result):
                task = strand.create_task(result)
                task.add_done_callback(
                    lambda task: self._end_client(strand, client, *_outcome(task))
                )
            else:
                self._end_client(strand, client, result, None)

        strand.call_soon(begin, context=self._context.copy())
        return client

    def sleep(self, seconds: float) -> None:
        """Let virtual time go by, in code that may block; a coroutine uses `asyncio.sleep`."""
        self.new_gate(f"{seconds:g} seconds to go by").acquire(timeout=max(seconds, 1e-9))

    def choose(self, first: T, /, *others: T) -> T:
        """Draw one of some values; the first is the one of the undisturbed schedule."""
        scheduler = self._scheduler
        if not others or not scheduler.drawing:
            return first
        options = (first, *others)
        choice = scheduler.choose(len(options), ())
        self.note("draws", options[choice])
        return options[choice]

    def note(self, what: str, detail: object = None) -> None:
        """Write a line into the trace."""
        scheduler = self._scheduler
        scheduler.trace.add((self.now, scheduler.current, what, None, detail, NOT_DRAWN))

    # What the kernel asks of its host.

    def monotonic(self) -> float:
        """Return the virtual time."""
        return self._scheduler.clock

    def time(self) -> float:
        """Return the virtual time of the clock on the wall."""
        return _EPOCH + self._scheduler.clock

    def thread_id(self) -> int:
        """Return the number of the strand that runs, as none of a real thread's."""
        current = self._scheduler.current
        return -1 if current is None else -2 - current.number

    def new_gate(self, what: object) -> Gate:
        """Make a gate to wait at in virtual time."""
        return Gate(self._scheduler, what)

    def number(self, kind: str) -> int:
        """Return the next number of a kind in this simulation."""
        self._counts[kind] += 1
        return self._counts[kind]

    def new_id(self) -> str:
        """Return the next of the ids that are the same in each run."""
        return f"{self.number('id'):032x}"

    def run_actor(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        *,
        on_exit: Callable[[], None],
        name: str,
        daemon: bool,
    ) -> None:
        """Start a strand that runs `main()` to its end. See `Host.run_actor`."""
        del daemon
        self._scheduler.running_strand("start an actor")
        actor = getattr(main, "__self__", None)
        label = self._label(actor, name)
        strand = self._scheduler.new_strand(label, actor)
        if isinstance(actor, AsyncioActor) and isinstance(actor.actor_inbox, SimulatedMailbox):
            actor.actor_inbox.label = label
        self._exits[strand] = on_exit
        self._scheduler.trace.add(
            (self.now, self._scheduler.current, "starts", None, label, NOT_DRAWN)
        )
        task = strand.create_task(main(), context=self._context.copy())
        task.add_done_callback(lambda task: self._after_main(strand, task))

    def note_put(self, mailbox: SimulatedMailbox, message: object) -> None:
        """Note that a message is about to be put into a mailbox."""
        scheduler = self._scheduler
        if scheduler.preempt:
            scheduler.point()
        scheduler.last_progress = scheduler.clock
        scheduler.trace.add(
            (scheduler.clock, scheduler.current, "put", mailbox, message, NOT_DRAWN)
        )

    def note_ask(self, mailbox: SimulatedMailbox, message: object, reply_to: object) -> None:
        """Note that a mailbox took a message, and who waits for its reply."""
        if isinstance(reply_to, ReplyFuture):
            self._futures.append(reply_to)
            if reply_to.about is None:
                reply_to.about = (message, mailbox)

    # Ends.

    def _name(self, function: Callable[..., Any]) -> str:
        name = getattr(function, "__name__", type(function).__name__)
        number = self.number(f"client {name}")
        return name if number == 1 else f"{name}-{number}"

    @staticmethod
    def _label(actor: object, name: str) -> str:
        named = isinstance(actor, AsyncioActor) and "urn:" not in actor.caller_name()
        return actor.caller_name() if named and isinstance(actor, AsyncioActor) else name

    def _end_client(
        self, strand: Strand, client: Client[Any], result: Any, error: BaseException | None
    ) -> None:
        scheduler = self._scheduler
        scheduler.end_strand(strand)
        if error is not None:
            scheduler.trace.add((self.now, strand, "ends with", None, error, NOT_DRAWN))
            fail(client.future, error)
            scheduler.finish(error)
            return
        resolve(client.future, result)
        self._open_clients -= 1
        if not self._open_clients:
            self._end_actors()

    def _end_actors(self) -> None:
        """Stop those that clients started, the youngest first, then whoever is left."""
        scheduler = self._scheduler
        self._ending = True
        scheduler.drawing = False
        actors = [
            strand for strand in scheduler.strands if isinstance(strand.subject, AsyncioActor)
        ]
        roots = [s for s in actors if s.started_by is None or s.started_by.is_client]
        for strand in reversed(roots or actors):
            actor = strand.subject
            assert isinstance(actor, AsyncioActor)
            self._context.copy().run(actor.actor_ref.stop, block=False)
        if not scheduler.strands:
            scheduler.finish()

    def _after_main(self, strand: Strand, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._scheduler.note_error(strand, {"message": "an actor failed", "exception": error})
        if strand.leftovers():
            closing = strand.create_task(self._cancel_leftovers(strand))
            closing.add_done_callback(lambda _: self._exit(strand))
        else:
            self._exit(strand)

    async def _cancel_leftovers(self, strand: Strand) -> None:

        leftovers = strand.leftovers(asyncio.current_task())
        for task in leftovers:
            task.cancel()
        if leftovers:
            await asyncio.wait(leftovers)
        await strand.shutdown_asyncgens()

    def _exit(self, strand: Strand) -> None:
        self._scheduler.end_strand(strand)
        self._scheduler.trace.add((self.now, strand, "ends", None, None, NOT_DRAWN))
        self._context.copy().run(self._exits.pop(strand))
        if self._ending:
            live = [s for s in self._scheduler.strands if isinstance(s.subject, AsyncioActor)]
            if not live:
                self._scheduler.finish()
            elif not any(s.started_by is None or s.started_by.is_client for s in live):
                self._end_actors()

    def _be_stuck(self) -> None:
        scheduler = self._scheduler
        if self._ending:
            what = "the scenario has ended, and an actor does not"
        else:
            what = "nothing can go on, and somebody waits"
        scheduler.finish(scheduler.deadlock(what))

    def _clear_up(self) -> None:
        """Leave nothing of a simulation that failed: no task, no registered actor, no ask."""
        for strand in list(self._scheduler.strands):
            for task in strand.leftovers():
                task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
                with contextlib.suppress(BaseException):
                    task.get_coro().close()
            self._scheduler.end_strand(strand)
            on_exit = self._exits.pop(strand, None)
            if on_exit is not None:
                with contextlib.suppress(BaseException):
                    self._context.copy().run(on_exit)
        if self._scheduler.failure is not None:
            for future in self._futures:
                future.cancel()

    def _leak(self) -> SimulationLeak | None:
        open_asks = [future for future in self._futures if not future.done()]
        if not open_asks:
            return None
        asks = "".join(f"\n  {describe(future)}" for future in open_asks)
        return SimulationLeak(f"the scenario has ended, and nobody ever answered{asks}")


def _outcome(task: asyncio.Task[Any]) -> tuple[Any, BaseException | None]:
    if task.cancelled():
        return None, asyncio.CancelledError()
    error = task.exception()
    return (None, error) if error is not None else (task.result(), None)
