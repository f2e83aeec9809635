"""The other world of a scenario: real threads, in whatever order they come to run."""

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

from agy_actors._kernel import ThreadHost, fail, host_context, resolve
from agy_actors.testing import Client, RandomSchedules, Simulation, explore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from agy_actors.testing._simulation_scheduler import Schedule

SCALE = 0.002
"""Real seconds in a virtual one. Arbitrary: many times what a message takes, and so little
that a scenario can be repeated thousands of times."""

PATIENCE = 30.0
"""Real seconds for a scenario, after which it counts as hung. Arbitrary: a busy machine must
not come to it, and the time limit of a test must come later."""


JITTER = 0.0003
"""Real seconds that a client may begin late, at most: a few times what it takes to start a
thread, so that the order in which they are started is not the one in which they begin."""


class ThreadsHang(BaseException):
    """Raised when threads of a scenario do not end. It says where each of them is.

    A `BaseException`, so that Hypothesis does not try for a simpler example: each attempt
    would wait for as long again.
    """


class _DaemonThreads(ThreadHost):
    """Real threads as ever, but one that hangs does not keep the interpreter from its end."""

    def run_actor(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        *,
        on_exit: Callable[[], None],
        name: str,
        daemon: bool,
    ) -> None:
        super().run_actor(main, on_exit=on_exit, name=name, daemon=True)


_HOST = _DaemonThreads()


class Threads:
    """Runs a scenario on real threads. It has what scenarios use of a `Simulation`.

    Args:
        schedule: not used: the operating system and the interpreter draw their own. It is
            here so that either world is made by the same call.
        preempt: whether threads change places as often as the interpreter lets them.
        jitter: draws how late each client begins; by default they begin at once.
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
        """Set when no client is open any more, or when one has failed."""

    def run(self, scenario: Callable[[Threads], Any]) -> Any:
        """Run a scenario to its end and return what it returns.

        When it and all other clients have ended, or one has failed, the actors that were
        started meanwhile and still run are stopped, and all threads are waited for.

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
        """The seconds since the start, in the scenario's own measure."""
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
            host_context(_HOST).run(self._run_client, client, function, args)

        threading.Thread(target=run, name=client.name, daemon=True).start()
        return client

    def sleep(self, seconds: float) -> None:
        """Let so much time go by, in the scenario's own measure."""
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
    """Return what a scenario is to wait for so many seconds: less, on real threads."""
    return number if Simulation.current() is not None else number * SCALE


def simulated(world: World) -> bool:
    """Tell whether time and order are the schedule's alone, and exact."""
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
    """Run a scenario in many schedules, or as often on real threads."""
    if world is Simulation:
        explore(scenario, strategy(seed), runs=runs, preempt=preempt)
        return
    jitter = random.Random(seed)
    for _ in range(runs):
        Threads(preempt=preempt, jitter=jitter).run(scenario)


@contextlib.contextmanager
def switching_often() -> Iterator[None]:
    """Let threads change places a thousand times as often as they do by default."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


class _Remains:
    """What a scenario leaves running: the threads and actors that were not there before."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._actors = set(pykka.ActorRegistry.get_all())

    def clear_up(self, deadline: float) -> list[str]:
        """Stop the actors, wait for the threads, and tell of those left at the deadline."""
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
