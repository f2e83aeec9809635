"""`Threads`: runs a scenario on real threads."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, TypeAlias

import pykka

from agy_actors._actors.future_owner import fail, resolve
from agy_actors._actors.runtime import ThreadRuntime, runtime_context
from agy_actors.testing import Client, RandomSchedules, Simulation, explore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from agy_actors.testing.simulation.schedules import Schedule

SCALE = 0.002
"""Real seconds per virtual second. Arbitrary: many times longer than a message takes, and so short
that a scenario can be repeated thousands of times."""

PATIENCE = 30.0
"""Real seconds after which a scenario counts as hung. Arbitrary: a busy machine must
not reach it, and the time limit of a test must be longer."""


JITTER = 0.0003
"""The longest delay of a client's start, in real seconds: a few times longer than the start of a
thread, so that clients begin in another order than they are started."""


class ThreadsHang(BaseException):
    """Raised when threads of a scenario do not end. It shows the stack of each.

    A `BaseException`, so that Hypothesis does not shrink the example: each attempt
    would wait for the whole time again.
    """


class _DaemonThreads(ThreadRuntime):
    """Runs actors on daemon threads, so that a hanging one does not block the exit."""

    def run_actor(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        *,
        on_exit: Callable[[], None],
        name: str,
        daemon: bool,
    ) -> None:
        super().run_actor(main, on_exit=on_exit, name=name, daemon=True)


_RUNTIME = _DaemonThreads()


class Threads:
    """Runs a scenario on real threads. It has the methods of `Simulation` that scenarios use.

    Args:
        schedule: not used, since the operating system decides. The parameter is
            here so that the same call creates either world.
        preempt: whether threads switch as often as the interpreter allows.
        jitter: draws the delay of each client's start; by default there is no delay.
    """

    def __init__(
        self,
        schedule: Schedule | None = None,
        *,
        preempt: bool = False,
        jitter: random.Random | None = None,
    ) -> None:
        del schedule
        self.preempt = preempt
        self.jitter = jitter
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._open_clients = 0
        self._failures: list[BaseException] = []
        self._over = threading.Event()
        """Set when all clients have ended, or one has failed."""

    def run(self, scenario: Callable[[Threads], Any]) -> Any:
        """Run a scenario to its end and return what it returns.

        When it and all other clients have ended, or one has failed, the actors that were
        it started and that still run are stopped, and all threads are joined.

        Raises:
            ThreadsHang: they did not end.
            BaseException: what the scenario or another client raised first.
        """
        remains = _Remains()
        with switching_often() if self.preempt else contextlib.nullcontext():
            self._started = time.monotonic()
            main = self.client(scenario, self, name="main")
            self._over.wait(PATIENCE)
            hanging = remains.clear_up(self._started + PATIENCE)
        failure = next(iter(self._failures), None)
        if hanging:
            raise ThreadsHang("".join(hanging)) from failure
        if failure is not None:
            raise failure
        return main.result(timeout=0)

    @property
    def now(self) -> float:
        """The virtual seconds since the start."""
        return (time.monotonic() - self._started) / SCALE

    def client(
        self, function: Callable[..., Any], *args: Any, name: str | None = None
    ) -> Client[Any]:
        """Start a thread that calls a function, or runs a coroutine function on its own loop."""
        client: Client[Any] = Client(name or str(getattr(function, "__name__", "client")))
        with self._lock:
            self._open_clients += 1
            late = 0.0 if self.jitter is None else self.jitter.uniform(0, JITTER)

        def run() -> None:
            if late:
                time.sleep(late)
            runtime_context(_RUNTIME).run(self._run_client, client, function, args)

        threading.Thread(target=run, name=client.name, daemon=True).start()
        return client

    def sleep(self, seconds: float) -> None:
        """Sleep for some virtual seconds."""
        time.sleep(seconds * SCALE)

    def _run_client(
        self, client: Client[Any], function: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        try:
            result = function(*args)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
        except BaseException as error:  # noqa: BLE001 (it is raised by `run`)
            self._failures.append(error)
            fail(client.future, error)
        else:
            resolve(client.future, result)
        with self._lock:
            self._open_clients -= 1
            if self._failures or not self._open_clients:
                self._over.set()


World: TypeAlias = Simulation | Threads
"""Where a scenario runs."""

WorldType: TypeAlias = type[Simulation] | type[Threads]


def seconds(number: float) -> float:
    """Return the real or virtual seconds to wait for a number of virtual seconds."""
    return number if Simulation.current() is not None else number * SCALE


def simulated(world: World) -> bool:
    """Return whether the world is a simulation, whose time and order are exact."""
    return isinstance(world, Simulation)


def explore_in(
    world: WorldType,
    scenario: Callable[[Any], Any],
    strategy: type[RandomSchedules] = RandomSchedules,
    *,
    seed: int = 0,
    runs: int,
    preempt: bool = False,
) -> None:
    """Run a scenario in many schedules, or equally often on real threads."""
    if world is Simulation:
        explore(scenario, strategy(seed), runs=runs, preempt=preempt)
        return
    jitter = random.Random(seed)
    for _ in range(runs):
        Threads(preempt=preempt, jitter=jitter).run(scenario)


@contextlib.contextmanager
def switching_often() -> Iterator[None]:
    """Let threads switch a thousand times as often as by default."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


class _Remains:
    """The threads and actors that a scenario leaves running."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._actors = set(pykka.ActorRegistry.get_all())

    def clear_up(self, deadline: float) -> list[str]:
        """Stop the actors, join the threads, and describe those that run at the deadline."""
        while threads := set(threading.enumerate()) - self._threads:
            if time.monotonic() > deadline:
                return [_describe(thread) for thread in threads]
            for ref in set(pykka.ActorRegistry.get_all()) - self._actors:
                ref.stop(block=False)
            # Not for as long as it takes: an actor may have been started just now.
            threads.pop().join(0.1)
        return []


def _describe(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    stack = traceback.format_stack(frame) if frame is not None else ["  (no frame)\n"]
    return f"\n{thread.name} still runs:\n{''.join(stack)}"
