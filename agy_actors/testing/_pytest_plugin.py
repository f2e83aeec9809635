"""Fixtures for pytest, which knows them as soon as agy_actors is installed.

Each fails its test if that leaves anything behind: a thread, a process, an actor, or an ask
that nobody has answered. A test that asks for none of them is none of our business.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors import ReplyFuture, SupervisorRef
    from agy_actors.testing import Exploration, ScriptedModel, Simulation

__all__ = ["agy_supervisor", "nothing_of_agy_actors_left", "scripted_model", "simulation"]

PATIENCE = 5.0
"""Seconds that threads and processes get to end after their test. Arbitrary; only a test
that fails ever waits for so long."""

_OF_OTHERS = ("pytest", "pydevd", "tqdm_monitor", "asyncio_", "ThreadPoolExecutor", "execnet")


class _Leftovers:
    """What there was before a test, and what it must not leave behind."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._actors = {ref.actor_urn for ref in pykka.ActorRegistry.get_all()}
        self._processes = set(_child_processes())
        self._futures: weakref.WeakSet[ReplyFuture[Any]] = weakref.WeakSet()
        self._lock = threading.RLock()

    def track(self, future: ReplyFuture[Any]) -> None:
        with self._lock:
            self._futures.add(future)

    def complaints(self) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        return [
            *self._left_actors(),
            *self._left_threads(deadline),
            *self._left_processes(deadline),
            *self._unanswered(),
        ]

    def _left_actors(self) -> Iterator[str]:
        for ref in pykka.ActorRegistry.get_all():
            if ref.actor_urn not in self._actors:
                yield f"actor {ref} was not stopped"
                try:
                    ref.stop(timeout=PATIENCE)
                except pykka.Timeout:
                    yield f"actor {ref} could not be stopped within {PATIENCE} seconds"

    def _left_threads(self, deadline: float) -> Iterator[str]:
        for thread in threading.enumerate():
            ours = thread not in self._threads and not thread.name.startswith(_OF_OTHERS)
            if not ours or thread is threading.current_thread():
                continue
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                yield f"thread {thread.name!r} still runs"

    def _left_processes(self, deadline: float) -> Iterator[str]:
        left = [pid for pid in _child_processes() if pid not in self._processes]
        while left and time.monotonic() < deadline:
            time.sleep(0.01)
            left = [pid for pid in _child_processes() if pid in left]
        for pid in left:
            yield f"process {pid} still runs"

    def _unanswered(self) -> Iterator[str]:
        with self._lock:
            futures = list(self._futures)
        for future in futures:
            # Derived futures (pykka's `map` and its like) are computed when asked for.
            if not future.done() and future._get_hook is None:  # noqa: SLF001 (ours)
                yield f"{future!r} was never answered"


def _child_processes() -> list[int]:
    """Return the process ids of this process's children, where the system tells."""
    found: list[int] = []
    tasks = Path("/proc/self/task")
    for task in tasks.iterdir() if tasks.is_dir() else ():
        with contextlib.suppress(OSError):  # The thread has just ended, or the system is another.
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


@pytest.fixture
def nothing_of_agy_actors_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if it leaves threads, processes, actors or unanswered asks behind."""
    from agy_actors import ReplyFuture  # noqa: PLC0415 (pytest is to start without it)

    leftovers = _Leftovers()
    make: Callable[[ReplyFuture[Any]], None] = ReplyFuture.__init__

    def make_and_track(future: ReplyFuture[Any]) -> None:
        make(future)
        leftovers.track(future)

    monkeypatch.setattr(ReplyFuture, "__init__", make_and_track)
    yield
    complaints = leftovers.complaints()
    if complaints:
        pytest.fail("the test left behind:\n  " + "\n  ".join(complaints), pytrace=False)


@pytest.fixture
def scripted_model(nothing_of_agy_actors_left: None) -> Iterator[ScriptedModel]:  # noqa: ARG001
    """A model on a port of this machine, for real agents. See `agy_actors.testing`."""
    from agy_actors.testing import ScriptedModel  # noqa: PLC0415

    with ScriptedModel() as model:
        yield model


@pytest.fixture
def agy_supervisor(nothing_of_agy_actors_left: None) -> Iterator[SupervisorRef]:  # noqa: ARG001
    """A supervisor, which is stopped after the test."""
    from agy_actors import Supervisor  # noqa: PLC0415

    with Supervisor.start() as supervisor:
        yield supervisor


@pytest.fixture
def simulation(nothing_of_agy_actors_left: None) -> _Simulate:  # noqa: ARG001
    """Run scenarios: `simulation.run(scenario)` once, `simulation.explore(scenario)` often."""
    return _Simulate()


class _Simulate:
    """Makes simulations for a test."""

    def run(self, scenario: Callable[[Simulation], Any], **options: Any) -> Any:
        """Run a scenario in a `Simulation` made with these options, and return its result."""
        from agy_actors.testing import Simulation  # noqa: PLC0415

        return Simulation(**options).run(scenario)

    def replay(self, token: str, scenario: Callable[[Simulation], Any], **options: Any) -> Any:
        """Run a scenario as the token says. See `Simulation.replay`."""
        from agy_actors.testing import Simulation  # noqa: PLC0415

        return Simulation.replay(token, **options).run(scenario)

    def explore(self, scenario: Callable[[Simulation], Any], **options: Any) -> Exploration:
        """Run a scenario in many schedules. See `agy_actors.testing.explore`."""
        from agy_actors.testing import explore  # noqa: PLC0415

        return explore(scenario, **options)
