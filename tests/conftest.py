"""What holds for every test: it leaves nothing behind. And what most of them need."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import hypothesis
import psutil
import pykka
import pytest

from agy_actors import Supervisor
from agy_actors._kernel import ReplyFuture
from agy_actors.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors import SupervisorRef

PATIENCE = 5.0
"""Seconds that threads and processes get to end after their test. Arbitrary; only a
test that fails ever waits for so long."""

# What else the machine does must fail no example.
hypothesis.settings.register_profile("agy_actors", deadline=None)
hypothesis.settings.load_profile("agy_actors")

_MAY_STAY = ("pytest_timeout", "pytest-timeout", "pydevd", "tqdm_monitor")
_THIS_PROCESS = psutil.Process()


class Leftovers:
    """What there was before a test, and what it must not leave behind."""

    def __init__(self) -> None:
        self.threads = set(threading.enumerate())
        self.children = {child.pid for child in _THIS_PROCESS.children()}
        self.actors = set(pykka.ActorRegistry.get_all())
        self._futures: weakref.WeakSet[ReplyFuture[Any]] = weakref.WeakSet()
        self._lock = threading.RLock()  # Futures are made on every thread.

    def track(self, future: ReplyFuture[Any]) -> None:
        """Watch over a future that the test made."""
        with self._lock:
            self._futures.add(future)

    def complaints(self) -> list[str]:
        """Name what is left, after a while: an end takes its time."""
        return [*self._actors(), *self._threads_and_processes(), *self._unanswered()]

    def _actors(self) -> Iterator[str]:
        for ref in pykka.ActorRegistry.get_all():
            if ref in self.actors:
                continue
            yield f"actor {ref} was not stopped"
            try:
                ref.stop(timeout=PATIENCE)
            except pykka.Timeout:
                yield f"actor {ref} could not be stopped within {PATIENCE} seconds"

    def _threads_and_processes(self) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        threads = [thread for thread in threading.enumerate() if self._is_new(thread)]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        complaints = [
            f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''} still runs"
            for thread in threads
            if thread.is_alive()
        ]
        children = [
            child
            for child in _THIS_PROCESS.children(recursive=True)
            if child.pid not in self.children
        ]
        _, alive = psutil.wait_procs(children, timeout=max(0.0, deadline - time.monotonic()))
        complaints += [f"child process {_describe(child)} still runs" for child in alive]
        return complaints

    def _unanswered(self) -> list[str]:
        with self._lock:
            futures = list(self._futures)
        # Derived futures (pykka's `map` and its like) are computed when asked for.
        pending = [future for future in futures if not future.done() and not future._get_hook]
        return [f"{future!r} was never answered" for future in pending]

    def _is_new(self, thread: threading.Thread) -> bool:
        if thread in self.threads or thread is threading.current_thread():
            return False
        return not thread.name.startswith(_MAY_STAY)


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({' '.join(process.cmdline())[:200]})"
    except psutil.Error:
        return str(process.pid)


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves actors, threads, processes or unanswered asks behind."""
    leftovers = Leftovers()
    make: Callable[[ReplyFuture[Any]], None] = ReplyFuture.__init__

    def make_and_track(future: ReplyFuture[Any]) -> None:
        make(future)
        leftovers.track(future)

    monkeypatch.setattr(ReplyFuture, "__init__", make_and_track)

    yield

    complaints = leftovers.complaints()
    if complaints:
        pytest.fail("the test left behind:\n  " + "\n  ".join(complaints), pytrace=False)


@pytest.fixture(autouse=True)
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each agent of a test marked `own_processes` a process of its own."""
    if request.node.get_closest_marker("own_processes"):
        monkeypatch.setenv("AGY_ACTORS_CONVERSATIONS_PER_PROCESS", "1")


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def supervisor(model: ScriptedModel) -> Iterator[SupervisorRef]:
    with Supervisor.start() as supervisor:
        yield supervisor
