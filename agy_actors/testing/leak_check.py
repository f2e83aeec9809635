"""`LeakCheck`: finds actors, threads, processes and unanswered asks that a test leaves behind.

The pytest plugin and the tests of agy_actors use it.

Threads and processes that Python or another library keeps for the whole program are not leaks:

*   a daemon thread that code of the standard library or of an installed package starts, such as
    the feeder of a `multiprocessing.Queue` or the monitor of a progress bar. The caller of
    `Thread.start` decides, so a thread that a test itself starts to run a library's function is a
    leak. Threads of agy_actors, of pykka and of the SDK always count;
*   a thread that `threading` did not start (a `_DummyThread`): its end cannot be observed;
*   the resource tracker and the fork server of `multiprocessing`, and those of joblib.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pykka

import agy_actors
from agy_actors._actors.future import ReplyFuture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["EXECUTORS", "PATIENCE", "TOOLS", "LeakCheck"]

PATIENCE = 5.0
"""Seconds that threads and processes get to end after a test. Arbitrary; only a test that fails
waits that long."""

TOOLS = ("pytest", "pydevd", "execnet")
"""Prefixes of the names of threads of pytest, its plugins and debuggers."""

EXECUTORS = ("asyncio_", "ThreadPoolExecutor")
"""Prefixes of the names of executors' threads, which wait for work until the program ends."""

_INTERVAL = 0.01
"""Seconds between two checks of processes and futures. Arbitrary."""

_HELPERS = re.compile(r"\bfrom \S*\b(resource_tracker|forkserver) import main\b")
"""Matches the command lines of the helper processes of `multiprocessing` (CPython 3.11 to 3.13) and
of joblib's copy of it."""

_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()
"""Whether the kernel lists the children of threads."""

_ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
_THIS_FILE = __file__
_PACKAGES = ("site-packages", "dist-packages")
_STANDARD_LIBRARY = tuple(
    f"{os.path.realpath(sysconfig.get_path(name))}{os.sep}" for name in ("stdlib", "platstdlib")
)
_OUR_FOLDERS = tuple(
    f"{Path(str(module.__file__)).resolve().parent}{os.sep}" for module in (agy_actors, pykka)
)
_SDK = f"{os.sep}google{os.sep}antigravity{os.sep}"


class LeakCheck:
    """Compares the state after a test with the state before it.

    Args:
        may_stay: prefixes of the names of threads that may outlive the test.
        patience: the seconds that threads and processes get to end; by default `PATIENCE`.
    """

    def __init__(self, may_stay: tuple[str, ...] = TOOLS, patience: float | None = None) -> None:
        self._may_stay = may_stay
        self._patience = PATIENCE if patience is None else patience
        self._process = psutil.Process()
        self._threads = set(threading.enumerate())
        self._of_libraries: set[threading.Thread] = set()
        self._actors = {ref.actor_urn for ref in pykka.ActorRegistry.get_all()}
        self._processes = set(_descendants(self._process))
        self._unanswered: dict[int, ReplyFuture[Any]] = {}
        """The futures without a reply, by id. These references are strong, because an actor that
        drops an ask leaves no other reference to its future."""

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Record each new future, and each daemon thread that a library starts."""
        make, finish = ReplyFuture.__init__, ReplyFuture._finish  # noqa: SLF001 (ours)
        start = threading.Thread.start
        unanswered, of_libraries = self._unanswered, self._of_libraries

        # Each change of the dict and the set is one atomic operation, so they need no lock. A fork
        # could copy a lock while it is held.
        def make_and_note(future: ReplyFuture[Any]) -> None:
            make(future)
            unanswered[id(future)] = future

        def finish_and_note(future: ReplyFuture[Any], *args: Any, **options: Any) -> bool:
            finished = finish(future, *args, **options)
            if finished:
                unanswered.pop(id(future), None)
            return finished

        def start_and_note(thread: threading.Thread) -> None:
            if thread.daemon and _is_of_library(sys._getframe(1)):  # noqa: SLF001 (no other way)
                of_libraries.add(thread)
            start(thread)

        _replace(ReplyFuture, "__init__", make_and_note)
        _replace(ReplyFuture, "_finish", finish_and_note)
        _replace(threading.Thread, "start", start_and_note)
        try:
            yield
        finally:
            _replace(ReplyFuture, "__init__", make)
            _replace(ReplyFuture, "_finish", finish)
            _replace(threading.Thread, "start", start)

    def complaints(self) -> list[str]:
        """Stop the actors that are left, give the rest time to end, and describe all leaks."""
        deadline = time.monotonic() + self._patience
        return [
            *self._left_actors(),
            *self._left_threads(deadline),
            *self._left_processes(deadline),
            *self._left_asks(deadline),
        ]

    def _left_actors(self) -> Iterator[str]:
        for ref in pykka.ActorRegistry.get_all():
            if ref.actor_urn in self._actors:
                continue
            yield f"actor {ref} was not stopped"
            try:
                ref.stop(timeout=self._patience)
            except pykka.Timeout:
                yield f"actor {ref} could not be stopped within {self._patience:g} seconds"

    def _left_threads(self, deadline: float) -> Iterator[str]:
        for thread in filter(self._counts, threading.enumerate()):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                yield f"thread {thread.name!r}{' (daemon)' * thread.daemon} still runs"

    def _counts(self, thread: threading.Thread) -> bool:
        return not (
            thread in self._threads
            or thread in self._of_libraries
            or thread is threading.current_thread()
            or isinstance(thread, threading._DummyThread)  # noqa: SLF001 (no public name)
            or thread.name.startswith(self._may_stay)
        )

    def _left_processes(self, deadline: float) -> Iterator[str]:
        left = self._new_processes()
        while left and time.monotonic() < deadline:
            time.sleep(_INTERVAL)
            left = self._new_processes()
        # The name without the arguments, which may contain a secret.
        for process, name in left:
            yield f"process {process.pid} ({name}) still runs"

    def _new_processes(self) -> list[tuple[psutil.Process, str]]:
        found = []
        for process in _descendants(self._process):
            # It may end at any time, and is not a leak then.
            with contextlib.suppress(psutil.NoSuchProcess):
                if process not in self._processes and self._still_runs(process):
                    found.append((process, process.name()))
        return found

    def _still_runs(self, process: psutil.Process) -> bool:
        # Not `psutil.wait_procs`: it would take the exit code from the code that waits for it.
        if process.status() in _ENDED:
            return False
        # A worker of the fork server has the same command line, but another parent.
        is_helper = process.ppid() == self._process.pid and any(
            map(_HELPERS.search, process.cmdline())
        )
        return not is_helper

    def _left_asks(self, deadline: float) -> Iterator[str]:
        left = self._pending()
        while left and time.monotonic() < deadline:
            time.sleep(_INTERVAL)
            left = self._pending()
        for future in left:
            yield f"{future!r} was never answered"

    def _pending(self) -> list[ReplyFuture[Any]]:
        # Derived futures (such as pykka's `map`) are computed when their result is read.
        return [
            future
            for future in list(self._unanswered.values())
            if not future.done() and future._get_hook is None  # noqa: SLF001 (ours)
        ]


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    """Return the children of a process, their children, and so on.

    psutil reads the parents of all processes of the machine, which takes longer than many tests.
    Linux lists the children of each thread (since 3.5, CONFIG_PROC_CHILDREN).
    """
    if not _LISTS_CHILDREN:
        return process.children(recursive=True)
    found: list[psutil.Process] = []
    pids = [process.pid]
    for pid in pids:
        for child in _children(pid):
            # It may end at any time.
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(child))
                pids.append(child)
    return found


def _children(pid: int) -> set[int]:
    tasks = Path("/proc", str(pid), "task")
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # The process has ended.
        while True:
            threads = set(tasks.iterdir())
            for thread in threads:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    found.update(map(int, (thread / "children").read_text().split()))
            # When a thread ends, its children go to another one, whose list may have been read.
            if set(tasks.iterdir()) == threads:
                break
    return found


def _is_of_library(frame: FrameType | None) -> bool:
    """Return whether the code that starts a thread belongs to a library."""
    while frame is not None and frame.f_code.co_filename in (threading.__file__, _THIS_FILE):
        frame = frame.f_back
    if frame is None:
        return False
    file = os.path.realpath(frame.f_code.co_filename)
    if file.startswith(_OUR_FOLDERS) or _SDK in file:
        return False
    installed = any(part in _PACKAGES for part in Path(file).parts)
    return installed or file.startswith(_STANDARD_LIBRARY)


def _replace(owner: type, name: str, function: Callable[..., Any]) -> None:
    # Type checkers reject an assignment to a method.
    setattr(owner, name, function)
