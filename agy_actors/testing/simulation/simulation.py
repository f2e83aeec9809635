"""`Simulation`: runs a program's own actors one step at a time, in virtual time.

Actors, agents, supervisors and pools run unchanged. Only what they ask of the runtime differs:
threads, the order of steps, clocks, waits and random names. See the module `scheduler` for the
guarantees.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Self, TypeVar

from agy_actors._actors.runtime import current_runtime
from agy_actors.testing.errors import MisuseError
from agy_actors.testing.simulation.client import ClientFibers
from agy_actors.testing.simulation.errors import SimulationLivelock
from agy_actors.testing.simulation.scheduler import Limits
from agy_actors.testing.simulation.schedules import Fifo, ReplayChoices
from agy_actors.testing.simulation.simulated_runtime import SimulatedRuntime
from agy_actors.testing.simulation.token import read_token, write_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agy_actors.testing.simulation.client import Client
    from agy_actors.testing.simulation.schedules import Schedule
    from agy_actors.testing.simulation.trace import Trace

__all__ = ["Simulation"]

T = TypeVar("T")


class Simulation:
    """Runs a scenario once, in the order that a schedule chooses.

    Differences from real threads: an actor handles one message in each step, no time passes
    while anything can run, and blocking calls of agy_actors (`ask`, `get`, `stop`, streams) take
    virtual time.

    Not simulated: a real `time.sleep`, locks and queues of the standard library, and threads that
    a scenario starts. Each of these blocks the whole simulation. Use clients, futures and `sleep`.

    Args:
        schedule: chooses the next step; by default first come, first served.
        seed: the seed of the `random` module, which gives backoffs their jitter.
        preempt: whether code may also be preempted where it puts a message, in the middle of a
            step. It finds more bugs, and each preemption takes a switch of threads.
        max_steps: steps after which the simulation counts as endless.
        max_time: seconds of virtual time after which the simulation counts as endless.
        patience: seconds of virtual time without a message, while all clients wait for a reply,
            after which the clients count as deadlocked even if timers still fire.
        trace: how many events `trace` keeps. It drops older ones.

    A simulation runs one scenario. Its properties stay readable afterwards. It is not thread-safe:
    use it in the thread that made it, and in the code that it runs.
    """

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
        limits = Limits(steps=max_steps, time=max_time, patience=patience, trace=trace)
        self._runtime = SimulatedRuntime(self.schedule, limits, preempt=preempt, simulation=self)
        self._scheduler = self._runtime.scheduler
        self._clients = ClientFibers(self._scheduler, self._runtime.actors.stop_all)

    def __repr__(self) -> str:
        return f"<Simulation: {self._runtime}, {self._clients}>"

    @classmethod
    def replay(cls, token: str, **options: Any) -> Self:
        """Make a simulation that repeats a failed one.

        Args:
            token: the token in the notes of the failure.
            options: the options of the failed simulation, except `seed` and `preempt`, which are
                in the token.

        Raises:
            InvalidArgument: it is not a token, or a token of another version of agy_actors.
        """
        choices, seed, preempt = read_token(token)
        return cls(ReplayChoices(choices), seed=seed, preempt=preempt, **options)

    @staticmethod
    def current() -> Simulation | None:
        """Return the simulation that runs the calling code, or `None` outside a simulation."""
        runtime = current_runtime()
        if not isinstance(runtime, SimulatedRuntime):
            return None
        assert isinstance(runtime.simulation, Simulation)
        return runtime.simulation

    # For the code that runs a simulation.

    def run(self, scenario: Callable[[Simulation], Any]) -> Any:
        """Run a scenario to its end and return its result.

        The scenario is the first client. When it and all other clients have ended, the actors
        that still run are stopped.

        Args:
            scenario: a function or coroutine function that takes the simulation.

        Raises:
            SimulationDeadlock: nothing can continue, and some code waits.
            SimulationLivelock: the simulation exceeds `max_steps` or `max_time`.
            SimulationLeak: the scenario has ended, and an ask has no reply.
            MisuseError: the simulation has run before.
            BaseException: what the scenario or another client raised. The trace and the token to
                replay it are in the notes of each of these errors, except `MisuseError`.
        """
        scheduler = self._scheduler
        if scheduler.steps:
            raise MisuseError("a simulation runs once: make another one")
        state = random.getstate()
        random.seed(self.seed)
        main = self.client(scenario, self, name="main")
        try:
            scheduler.run()
            self._runtime.actors.clear_up()
            if scheduler.failure is not None:
                self._runtime.asks.cancel()
        finally:
            random.setstate(state)
        failure = scheduler.failure or self._runtime.asks.leak()
        if failure is not None:
            failure.add_note(self.report())
            raise failure
        return main.future.get(timeout=0)

    def report(self) -> str:
        """Return the trace and the token, as in the notes of a failure."""
        deviations = sum(map(bool, self.choices))
        endless = isinstance(self._scheduler.failure, SimulationLivelock)
        return (
            f"the simulated schedule, with {deviations} deviations from first come, first served"
            f" in {len(self.choices)} choices:\n"
            f"{self.trace.show(similar=endless)}\n"
            f"replay it with Simulation.replay({self.token!r}).run(...)"
        )

    @property
    def trace(self) -> Trace:
        """What happened. As text it has one line for each event."""
        return self._scheduler.trace

    @property
    def choices(self) -> Sequence[int]:
        """The choices of the schedule so far."""
        return self._scheduler.choices

    @property
    def widths(self) -> Sequence[int]:
        """The number of options of each of the choices."""
        return self._scheduler.widths

    @property
    def steps(self) -> int:
        """The number of steps so far."""
        return self._scheduler.steps

    @property
    def token(self) -> str:
        """What replays this run, with the same scenario and the same version of agy_actors."""
        return write_token(self.choices, seed=self.seed, preempt=self.preempt)

    # For scenarios, and all code that runs in the simulation.

    @property
    def now(self) -> float:
        """The virtual time, in seconds since the start."""
        return self._scheduler.clock

    def client(
        self, function: Callable[..., Any], *args: Any, name: str | None = None
    ) -> Client[Any]:
        """Start another client: code that runs concurrently, as on a thread of its own.

        An error that it raises ends the simulation, and `run` raises it.

        Args:
            function: a function, which may block in calls of agy_actors, or a coroutine function.
            args: the arguments of the function.
            name: its name in the trace; by default the name of the function.
        """
        client = self._clients.start(name or self._name(function), function, *args)
        self._runtime.asks.add(client.future)
        return client

    def sleep(self, seconds: float) -> None:
        """Block for some seconds of virtual time. In a coroutine, use `asyncio.sleep`."""
        gate = self._runtime.new_gate(f"{seconds:g} seconds to pass")
        gate.acquire(timeout=max(seconds, 1e-9))

    def choose(self, first: T, /, *others: T) -> T:
        """Let the schedule choose a value, and return it. `Fifo` chooses the first.

        Args:
            first: a value.
            others: more values.
        """
        scheduler = self._scheduler
        if not others or not scheduler.drawing:
            return first
        options = (first, *others)
        choice = scheduler.choose(len(options), ())
        self.note("draws", options[choice])
        return options[choice]

    def note(self, what: str, detail: object = None) -> None:
        """Add a line to the trace.

        Args:
            what: a verb, such as "reads".
            detail: its object; `None` for none.
        """
        self._scheduler.note(self._scheduler.current, what, detail)

    def _name(self, function: Callable[..., Any]) -> str:
        name = getattr(function, "__name__", type(function).__name__)
        number = self._runtime.number(f"client {name}")
        return name if number == 1 else f"{name}-{number}"
