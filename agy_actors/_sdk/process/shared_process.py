"""A `localharness` process that several conversations share."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, ClassVar, Protocol

from agy_actors._sdk.process.harness_process import (
    READER_THREADS,
    HarnessProcess,
    ends_within,
    was_killed,
)
from agy_actors._sdk.process.spawn import SpawnedProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors._sdk.process.spawn import Address, Kind

__all__ = ["STDERR_LINES", "Lessee", "PopenStandIn", "SharedProcess"]

_LAG = 1.0
"""Seconds during which a line may be about a conversation that has left in the middle of a turn.
Such lines come within milliseconds. Arbitrary."""

STDERR_LINES = 20
"""Lines of standard error that are kept for error messages. Arbitrary."""


class Lessee(Protocol):
    """A conversation on a process. All methods are called on any thread."""

    def has_turn(self, /) -> bool:
        """Return whether a line of the process may be about it: it has a turn, or just had one."""
        ...

    def note_line(self, line: str, alone: bool, /) -> None:
        """Take a line of the process's standard error, which may be about any lessee.

        Args:
            line: the line.
            alone: whether the line cannot be about another lessee.
        """

    def note_death(self, /) -> None:
        """Take note that the process is gone."""


class SharedProcess:
    """A process from its start to its end.

    All methods except `has_ended`, `was_killed`, `handshake`, `end` and `kill` are for the thread
    of its owner.

    Args:
        kind: what to start it with.
        grace: seconds for it to end by itself before it is killed.
        on_death: called when it is gone, by the thread that reads its standard error.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, kind: Kind, *, grace: float, on_death: Callable[[], None]) -> None:
        self._spawned = SpawnedProcess(kind)
        self._grace = grace
        self._on_death = on_death
        self._process: HarnessProcess | None = None
        self._reader: threading.Thread | None = None
        self._lessees: tuple[Lessee, ...] = ()
        """The reader thread reads it. So it is replaced and never changed."""
        self._last_left = -math.inf
        """When a lessee last left in the middle of a turn, on the monotonic clock."""
        self._address: Address | None = None
        self.tail: deque[str] = deque(maxlen=STDERR_LINES)
        """The last lines of its standard error."""

    def __repr__(self) -> str:
        state = "up" if self._process is not None else "starting"
        return f"<SharedProcess {self.pid}: {state}, {len(self._lessees)} conversations>"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._spawned.popen.pid

    @property
    def address(self) -> Address:
        """Where it accepts connections. Only after `handshake`."""
        assert self._address is not None
        return self._address

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone, also if nothing has noticed yet."""
        return ends_within(self._spawned.popen, 0.0)

    @property
    def was_killed(self) -> bool:
        """Whether a signal from outside ended it. Only after its end."""
        return was_killed(self._spawned.popen)

    def handshake(self) -> None:
        """Wait until it has started. Blocks; killing the process ends the wait.

        Raises:
            ProcessEnded: it ended before it was ready.
        """
        self._address = self._spawned.handshake()

    def start_reading(self) -> None:
        """Start the thread that reads its standard error. Only after `handshake`."""
        process = self._process = HarnessProcess(
            self._spawned.popen,
            grace=self._grace,
            on_line=self._note_line,
            on_death=self._report_death,
        )
        self._reader = threading.Thread(
            target=lambda: deque(process.stderr, maxlen=0),
            name=f"{READER_THREADS}stderr",
            daemon=True,
        )
        self._reader.start()

    def add(self, lessee: Lessee) -> None:
        """Report lines and the end of the process to a lessee from now on."""
        self._lessees = (*self._lessees, lessee)

    def remove(self, lessee: Lessee) -> None:
        """Report nothing more to a lessee."""
        if lessee.has_turn():
            self._last_left = time.monotonic()
        self._lessees = tuple(other for other in self._lessees if other is not lessee)

    def kill(self) -> None:
        """Kill it and all processes that it has started. Thread-safe."""
        if self._process is None:
            self._spawned.close()
        else:
            self._process.kill()

    def end(self) -> None:
        """Close its input, kill it if it runs after its grace, and close its pipes. Blocks.

        The process ends by itself when its input is closed.
        """
        process = self._process
        if process is None:
            self._spawned.close()
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()
        process.dispose()
        if self._reader is not None:
            self._reader.join(self._grace)

    def kill_and_report(self) -> None:
        """Kill it, and report its death to its lessees without waiting for its end."""
        self.kill()
        self._report_death()

    def _note_line(self, line: str) -> None:
        self.tail.append(line)
        lessees = self._lessees
        active = [lessee for lessee in lessees if lessee.has_turn()]
        just_left = time.monotonic() - self._last_left <= _LAG
        for lessee in lessees:
            alone = not just_left and all(other is lessee for other in active)
            lessee.note_line(line, alone)

    def _report_death(self) -> None:
        lessees, self._lessees = self._lessees, ()
        for lessee in lessees:
            lessee.note_death()
        self._on_death()


class PopenStandIn:
    """Replaces the `subprocess.Popen` of an SDK connection that does not own its process.

    At its end, the connection waits for this and finds that it has ended already.
    """

    stdin: ClassVar[None] = None
    stdout: ClassVar[None] = None
    returncode: ClassVar[int] = 0

    def __init__(self, pid: int, on_kill: Callable[[], None]) -> None:
        self.pid = pid
        self.stderr = _EmptyStderr()
        self._on_kill = on_kill

    def poll(self) -> int:
        """Return the exit code of success."""
        return 0

    def wait(self, timeout: float | None = None) -> int:  # noqa: ARG002 (the signature of Popen)
        """Return at once."""
        return 0

    def kill(self) -> None:
        """Sever the connection."""
        self._on_kill()

    terminate = kill


class _EmptyStderr:
    """An empty standard error: the lines of a shared process belong to no single connection."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def read(self) -> bytes:
        """Return nothing."""
        return b""
