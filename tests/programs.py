"""Runs Python programs in processes whose start costs little: see `tests.forkserver`."""

from __future__ import annotations

import atexit
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests import forkserver

__all__ = ["Popen", "left_running", "run"]

_ROOT = Path(__file__).parents[1]
_running: set[_Status] = set()


class _Server:
    """Starts the fork server when the first program is started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._owner = 0
        self.variables: dict[str, str] = {}

    def start_program(self, streams: list[int], connection: socket.socket) -> None:
        with self._lock:
            if self._control is None or self._owner != os.getpid():
                self._control = self._start()
                self._owner = os.getpid()
            socket.send_fds(self._control, [b"x"], [*streams, connection.fileno()])

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.variables = dict(os.environ)
        with theirs:
            code = f"from tests.forkserver import main; main({theirs.fileno()})"
            subprocess.run(
                [sys.executable, "-c", code],
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
            )
        atexit.register(ours.close)  # Then the server ends.
        return ours


_server = _Server()


class _Status:
    """The status of a program, which the server sends when it has ended."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._status: int | None = None

    def get(self, *, block: bool) -> int | None:
        """Return the status, or None if the program still runs."""
        if self._status is None and (block or select.select([self._connection], [], [], 0)[0]):
            self._status = forkserver.receive(self._connection)
            self._connection.close()
            _running.discard(self)
        return self._status


def left_running(patience: float) -> list[str]:
    """Describe the programs that still run after some seconds."""
    deadline = time.monotonic() + patience
    while _running and time.monotonic() < deadline:
        for status in list(_running):
            status.get(block=False)
        time.sleep(0.01 if _running else 0)
    return [f"program {status.pid} still runs" for status in _running]


class Popen(subprocess.Popen[Any]):
    """A Python program in a forked process; for the rest like `subprocess.Popen`.

    Args:
        arguments: `sys.executable`, options `-W`, and `-c CODE`, `-m MODULE` or a script, and the
            arguments of that.
        terminal: make standard input the terminal of the process, which must start a session.
        closed: the standard streams (0, 1, 2) that are closed.
        options: those of `subprocess.Popen` for streams, text, environment, folder and session.
    """

    def __init__(
        self,
        arguments: list[str],
        *,
        terminal: bool = False,
        closed: tuple[int, ...] = (),
        **options: Any,
    ) -> None:
        self._terminal = terminal
        self._closed = closed
        super().__init__(arguments, **options)

    def _execute_child(  # noqa: PLR0917 (as the standard library calls it)
        self,
        args: list[str],
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: Any,
        cwd: Any,
        env: dict[str, str] | None,
        startupinfo: Any,
        creationflags: Any,
        shell: Any,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        restore_signals: bool,
        gid: Any,
        gids: Any,
        uid: Any,
        umask: int,
        start_new_session: bool,
        process_group: int,
    ) -> None:
        unsupported = (executable, preexec_fn, pass_fds, shell, gid, gids, uid)
        assert not any(unsupported), unsupported
        assert (close_fds, restore_signals, umask, process_group) == (True, True, -1, -1)
        request = {
            **_parsed(args),
            "variables": _variables(env),
            "folder": os.fspath(cwd or Path.cwd()),
            "new_session": start_new_session,
            "terminal": self._terminal,
            "closed": self._closed,
        }
        streams = [
            number if given == -1 else given
            for number, given in enumerate((p2cread, c2pwrite, errwrite))
        ]
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                _server.start_program(streams, theirs)
            forkserver.send(ours, request)
            self.pid = forkserver.receive(ours)
        except BaseException:
            ours.close()
            raise
        finally:
            self._close_pipe_fds(  # type: ignore[attr-defined]
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite
            )
        self._child_created = True
        self._status = _Status(self.pid, ours)
        _running.add(self._status)

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid and self.returncode is None:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        status = self._status.get(block=not wait_flags)
        return (0, 0) if status is None else (self.pid, status)


def run(
    arguments: list[str],
    *,
    input: Any = None,  # noqa: A002 (its name in `subprocess`)
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as `subprocess.run` does."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options["stdout"] = options["stderr"] = subprocess.PIPE
    with Popen(arguments, **options) as program:
        try:
            out, err = program.communicate(input, timeout)
        except BaseException:
            program.kill()
            raise
    done = subprocess.CompletedProcess(arguments, program.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _parsed(args: list[str]) -> dict[str, list[str]]:
    python, *arguments = map(os.fspath, args)
    assert python == sys.executable
    warnings = []
    while arguments[0] == "-W":
        warnings.append(arguments[1])
        del arguments[:2]
    assert arguments[0] in {"-c", "-m"} or arguments[0].endswith(".py"), arguments
    return {"arguments": arguments, "warnings": warnings}


def _variables(env: dict[str, str] | None) -> dict[str, str]:
    variables = dict(os.environ if env is None else env)
    of_server = _server.variables or os.environ
    for name, value in variables.items():
        if name.startswith("PYTHON") and name not in forkserver.FOLLOWED_VARIABLES:
            assert of_server.get(name) == value, f"{name} needs a fresh interpreter"
    return variables
