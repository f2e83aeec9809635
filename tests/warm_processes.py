"""Lets tests use a `localharness` process that was started before them.

A process takes 0.2 s of CPU from its start to its end (google-antigravity 0.1.22), more than the
rest of most tests. Here the first supervisor of a test gets a process that has served earlier
tests. A process is used again if all its conversations have ended cleanly, as in a program that
opens one conversation after another. A process that was killed or suspended is not used again, and
each further process of a test is its own.

`LeakCheck` compares with the state after these processes were started, so it still finds all
others. Tests marked `new_processes` use only processes of their own.

A process keeps the folder for conversations that it was started with. Here this is a link to the
folder of the supervisor that uses the process.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from google.antigravity.connections.local import local_connection
from google.antigravity.proto import localharness_pb2 as _untyped_pb2

from agy_actors._sdk.process import process_pool
from agy_actors._sdk.process.connect import is_responsive
from agy_actors._sdk.process.process_pool import ProcessPool
from agy_actors._sdk.process.shared_process import SharedProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._sdk.process.shared_process import Lessee
    from agy_actors._sdk.process.spawn import Kind

__all__ = ["pids", "pytest_runtest_setup", "pytest_sessionfinish", "warm_processes"]

_pb2: Any = _untyped_pb2  # Its classes are made at import, unknown to type checkers.

# Most processes live too briefly for the garbage collection of Go to pay. Those that serve many
# tests collect when they reach the limit: four workers keep a few such processes each.
os.environ.update(GOGC="off", GOMEMLIMIT="200MiB")

_SOME_FOLDER = "any"
"""Stands for the folder for conversations of a supervisor."""

_QUIET = 2.0
"""Seconds from the end of a conversation that was left in the middle of a turn until a process is
used again. `SharedProcess` reckons with late lines for one second."""

_UNAFFECTED = ("new_processes", "own_processes")
"""Markers of tests that use only processes of their own."""

_MAX_RETURNED = 4
"""Processes that are kept. While one is not quiet, another is used. Arbitrary."""

_BINARY = str(local_connection._get_default_binary_path(None))

_GRACE = 5.0
"""Seconds for a process to end by itself at the end of the tests. Arbitrary."""

_RESPONSE_TIME = 5.0
"""Seconds for a process to respond before a test. Arbitrary."""


class WarmProcess(SharedProcess):
    """A process that serves one supervisor after another."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._spoiled = False
        self._folder = Path(tempfile.mkdtemp(prefix="warm_process_"))
        self._link = self._folder / "conversations"
        """The folder for conversations that the process knows."""
        started = _with_folder(kind, str(self._link)) if _folder_of(kind) else kind
        super().__init__(started, grace=_GRACE, on_death=_do_nothing)
        super().handshake()
        super().start_reading()

    def give_to(self, kind: Kind, grace: float, on_death: Callable[[], None]) -> None:
        """Let the process serve a supervisor."""
        if folder := _folder_of(kind):
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(folder)
        self.tail.clear()
        assert self._process is not None
        self._grace = self._process._grace = grace
        self._on_death = on_death

    def spoil(self) -> None:
        """Keep the process from later tests."""
        self._spoiled = True

    def is_as_new(self) -> bool:
        """Return whether another supervisor may get it."""
        return not (self._spoiled or self._lessees or self.has_ended)

    def is_quiet(self) -> bool:
        """Return whether it says nothing more about turns that were broken off."""
        return time.monotonic() - self._last_left > _QUIET

    def responds(self) -> bool:
        """Return whether the process runs and responds."""
        try:
            stopped = psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False
        return not stopped and asyncio.run(is_responsive(self.address, _RESPONSE_TIME))

    def handshake(self) -> None:
        """Do nothing: that has been done."""

    def start_reading(self) -> None:
        """Do nothing: that has been done."""

    def kill(self) -> None:
        self._spoiled = True
        super().kill()

    def end(self) -> None:
        if not (self.is_as_new() and _stock.put(self)):
            self.end_now()

    def end_now(self) -> None:
        """End the process. Blocks."""
        super().end()
        shutil.rmtree(self._folder)


class _Stock:
    """The processes of this worker that no supervisor has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._returned: list[WarmProcess] = []
        self._ready: dict[Kind, WarmProcess] = {}
        """What the next test may use, by kind, which tells only whether there is a folder for
        conversations. Without one, conversations are not saved."""
        self._wanted: set[Kind] = set()
        """The kinds that tests have used."""
        self.open = False
        """Whether the present test may use the processes."""

    def pids(self) -> set[int]:
        """Return the ids of the processes. Only for tests that do not use them."""
        assert not self.open, "mark the test: new_processes"
        return {process.pid for process in [*self._returned, *self._ready.values()]}

    def fill(self) -> None:
        """Have a process of each kind ready: one that was returned, or a new one."""
        for kind in self._wanted - self._ready.keys():
            self._ready[kind] = self._find(kind) or WarmProcess(kind)

    def take(self, kind: Kind, *, grace: float, on_death: Callable[[], None]) -> SharedProcess:
        """Return a process that is ready, or a new one."""
        plain = _with_folder(kind, _SOME_FOLDER) if _folder_of(kind) else kind
        if plain.binary == _BINARY and plain.env is None and _surroundings() == _SURROUNDINGS:
            with self._lock:
                self._wanted.add(plain)
                process = self._ready.pop(plain, None)
            if process is not None:
                process.give_to(kind, grace, on_death)
                return process
        return SharedProcess(kind, grace=grace, on_death=on_death)

    def put(self, process: WarmProcess) -> bool:
        """Take a process back. Return whether it is needed."""
        with self._lock:
            needed = len(self._returned) < _MAX_RETURNED
            if needed:
                self._returned.append(process)
        return needed

    def clear(self) -> None:
        """End all processes."""
        for process in [*self._returned, *self._ready.values()]:
            process.end_now()

    def _find(self, kind: Kind) -> WarmProcess | None:
        for process in list(self._returned):
            if process.kind == kind and process.is_quiet():
                self._returned.remove(process)
                if process.responds():
                    return process
                process.end_now()
        return None


def _surroundings() -> tuple[Path, dict[str, str]]:
    """Return what a process inherits."""
    return Path.cwd(), {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AGY_ACTORS_", "PYTEST_"))  # They mean nothing to it.
    }


_stock = _Stock()
_SURROUNDINGS = _surroundings()


@pytest.hookimpl(tryfirst=True)  # Before the fixture that looks for leaks.
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start the processes that the test may use."""
    if _may_use(item):
        _stock.fill()


@pytest.fixture(autouse=True)
def warm_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the first supervisor of a test a process that runs already."""
    _stock.open = _may_use(request.node)
    if not _stock.open:
        return
    release = ProcessPool._release

    def spoil_and_release(pool: ProcessPool, lessee: Lessee, *, clean: bool) -> None:
        processes = [one for group in pool._groups.values() for one in group.processes.values()]
        for process in processes:
            if not clean and isinstance(process, WarmProcess) and lessee in process._lessees:
                process.spoil()
        release(pool, lessee, clean=clean)

    monkeypatch.setattr(process_pool, "SharedProcess", _stock.take)
    monkeypatch.setattr(ProcessPool, "_release", spoil_and_release)


def pids() -> set[int]:
    """Return the ids of the processes of which no test marked `new_processes` knows."""
    return _stock.pids()


def pytest_sessionfinish() -> None:
    """End all processes."""
    _stock.clear()


def _may_use(item: pytest.Item) -> bool:
    uses_a_model = "model" in getattr(item, "fixturenames", ())
    return uses_a_model and not any(map(item.get_closest_marker, _UNAFFECTED))


def _do_nothing() -> None:
    pass


def _config(kind: Kind) -> Any:
    config = _pb2.InputConfig()
    config.ParseFromString(kind.greeting[4:])
    return config


def _folder_of(kind: Kind) -> str:
    return str(_config(kind).storage_directory)


def _with_folder(kind: Kind, folder: str) -> Kind:
    config = _config(kind)
    config.storage_directory = folder
    serialized = config.SerializeToString(deterministic=True)
    return kind._replace(greeting=struct.pack("<I", len(serialized)) + serialized)
