"""A `localharness` process that cannot hold anybody up.

The SDK's connection uses its process like a `subprocess.Popen`, and waits for its end
for up to three minutes inside a coroutine (DESIGN, F8). This stands in for it: the
wait is bounded, then the process is killed; its standard error is listened to; and
its pipes are closed, which the SDK leaves to the garbage collector.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["READER_THREADS", "HarnessProcess", "ends_within", "signal_group"]

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has none.
_LOOK_EVERY = 0.002  # Seconds from one look to the next whether a process has ended.

READER_THREADS = "agy_actors-"
"""How the names of threads begin that read what a harness says."""


class HarnessProcess:
    """Stands in for the `subprocess.Popen` that the SDK's connection expects.

    Args:
        popen: the process, with pipes for its three streams.
        grace: seconds for it to end by itself once waited for, before it is killed.
        on_line: called with each line of its standard error, by the reading thread.
        on_death: called when its standard error ends, by the reading thread.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        *,
        grace: float,
        on_line: Callable[[str], None],
        on_death: Callable[[], None],
    ) -> None:
        assert popen.stdin is not None
        assert popen.stdout is not None
        assert popen.stderr is not None
        self._popen = popen
        self._grace = grace
        self.pid = popen.pid
        self.stdin: IO[bytes] = popen.stdin
        self.stdout: IO[bytes] = popen.stdout
        self.stderr = _Tee(popen.stderr, on_line, on_death)

    @property
    def returncode(self) -> int | None:
        return self._popen.returncode

    def poll(self) -> int | None:
        return self._popen.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, killing the process when its grace is over."""
        grace = self._grace if timeout is None else min(timeout, self._grace)
        if ends_within(self._popen, grace):
            # What it started was told by the end of its input; this is for what did not listen.
            signal_group(self._popen, signal.SIGTERM)
        else:
            signal_group(self._popen)
        return self._popen.wait()

    def terminate(self) -> None:
        self._popen.terminate()

    def kill(self) -> None:
        signal_group(self._popen)

    def dispose(self) -> None:
        """End the process now if it still runs, and close its pipes."""
        signal_group(self._popen)
        self._popen.wait()
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(BrokenPipeError):  # It held what a dead process won't read.
                pipe.close()
        self.stderr.close_when_read()


def signal_group(popen: subprocess.Popen[bytes], what: int = _KILL) -> None:
    """Send a signal to a process and to all that it has started, such as MCP servers.

    Until it has been waited for, its id is its own, and that of its group. After that
    nothing is sent.
    """
    if popen.returncode is not None:
        return
    try:
        os.killpg(popen.pid, what)
    except (AttributeError, OSError):  # It leads no group, or the system has none.
        popen.send_signal(what)


def ends_within(popen: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a process to end, without taking note of it: its id stays its own."""
    if popen.returncode is not None:
        return True
    if os.name != "posix":
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(seconds)
        return popen.returncode is not None
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(ChildProcessError):
            if not os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_LOOK_EVERY)
                continue
        return True


class _Tee:
    """Standard error, listened to while the SDK's thread reads it."""

    def __init__(
        self, stream: IO[bytes], on_line: Callable[[str], None], on_death: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._on_line = on_line
        self._on_death = on_death
        self._reading = False

    def __iter__(self) -> Iterator[bytes]:
        self._reading = True
        # The SDK calls all of them `harness-stderr`; what it logs there is of our agents.
        threading.current_thread().name = f"{READER_THREADS}stderr"
        try:
            for line in self._stream:
                text = line.decode("utf-8", errors="replace").rstrip()
                self._on_line(text)
                yield line
        finally:
            self._stream.close()
            self._on_death()

    def read(self) -> bytes:
        """Read to the end, as the SDK does when a start fails."""
        said = self._stream.read()
        for line in said.decode("utf-8", errors="replace").splitlines():
            self._on_line(line)
        return said

    def close_when_read(self) -> None:
        """Close the stream, by its reader if it has one: that finds its end by itself."""
        if not self._reading:
            self._stream.close()
