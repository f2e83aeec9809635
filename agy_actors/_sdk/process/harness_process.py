"""`HarnessProcess`: a `localharness` process whose end takes a bounded time.

The SDK's connection (google-antigravity 0.1.22) uses its process like a `subprocess.Popen`, and
waits for its end for up to three minutes inside a coroutine. This class replaces it: after a
bounded wait it kills the process, it reads the standard error, and it closes the pipes, which the
SDK leaves to the garbage collector.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["READER_THREADS", "HarnessProcess", "ends_within", "signal_group", "was_killed"]

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has no SIGKILL.
_POLL_INTERVAL = 0.002
"""Seconds between two checks whether a process has ended, where the system cannot wait for that.
Arbitrary."""
_MAX_WAIT = 60.0  # Seconds of one wait. Arbitrary: `poll` takes at most some weeks.

READER_THREADS = "agy_actors-"
"""The prefix of the names of threads that read from a harness."""


class HarnessProcess:
    """Replaces the `subprocess.Popen` that the SDK's connection expects.

    Args:
        popen: the process, with pipes for its three streams.
        grace: seconds that `wait` gives it to end by itself before it kills it.
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
        """Wait for the end, and kill the process after its grace."""
        grace = self._grace if timeout is None else min(timeout, self._grace)
        if ends_within(self._popen, grace):
            # Its children should have ended with its input. This ends those that did not.
            signal_group(self._popen, signal.SIGTERM)
        else:
            signal_group(self._popen)
        return self._popen.wait()

    def terminate(self) -> None:
        self._popen.terminate()

    def kill(self) -> None:
        signal_group(self._popen)

    def dispose(self) -> None:
        """Kill the process if it still runs, and close its pipes."""
        signal_group(self._popen)
        self._popen.wait()
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(BrokenPipeError):  # It has unsent data for a dead process.
                pipe.close()
        self.stderr.close_when_read()


def signal_group(popen: subprocess.Popen[bytes], what: int = _KILL) -> None:
    """Send a signal to a process and its children, such as MCP servers.

    Before the process has been waited for, its id cannot belong to another process or group. After
    that, this sends nothing.
    """
    if popen.returncode is not None:
        return
    try:
        os.killpg(popen.pid, what)
    except (AttributeError, OSError):  # It leads no group, or the system has no groups.
        popen.send_signal(what)


def ends_within(popen: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until a process ends, without reaping it: no other process gets its id."""
    if popen.returncode is not None:
        return True
    if os.name != "posix":
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(seconds)
        return popen.returncode is not None
    deadline = time.monotonic() + seconds
    while not _has_ended(popen):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        _wait_for_end(popen, left)
    return True


def _has_ended(popen: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(ChildProcessError):  # Another thread has reaped it.
        return bool(os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG))
    return True


def _wait_for_end(popen: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until a process ends, or for some time and at most `seconds`."""
    try:
        descriptor = os.pidfd_open(popen.pid)
    except (AttributeError, OSError):  # Only Linux has it; no descriptor may be left.
        time.sleep(min(seconds, _POLL_INTERVAL))
        return
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        ended.poll(math.ceil(min(seconds, _MAX_WAIT) * 1000))
    finally:
        os.close(descriptor)


def was_killed(popen: subprocess.Popen[bytes]) -> bool:
    """Return whether a signal from outside ended a process, and not a fault of its own."""
    code = popen.returncode
    if code is None and os.name == "posix":
        with contextlib.suppress(ChildProcessError):  # Another thread has just reaped it.
            status = os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if status is not None and status.si_code == os.CLD_KILLED:
                code = -status.si_status
    code = popen.returncode if code is None else code
    return code in (-_KILL, -signal.SIGTERM)


class _Tee:
    """Passes each line of standard error on while the SDK's thread reads it."""

    def __init__(
        self, stream: IO[bytes], on_line: Callable[[str], None], on_death: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._on_line = on_line
        self._on_death = on_death
        self._reading = False

    def __iter__(self) -> Iterator[bytes]:
        self._reading = True
        # The SDK names these threads `harness-stderr`. What it logs there is about our agents.
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
        output = self._stream.read()
        for line in output.decode("utf-8", errors="replace").splitlines():
            self._on_line(line)
        return output

    def close_when_read(self) -> None:
        """Close the stream, unless a thread reads it: that thread closes it at its end."""
        if not self._reading:
            self._stream.close()
