"""Starts `localharness` processes, and exchanges the handshake with them.

The SDK (google-antigravity 0.1.22) does this in a coroutine that reads the process's output
synchronously, gives no access to the process before it is connected, and leaves the process running
when the start is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import platform
import struct
import subprocess
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from google.antigravity.connections.local import local_connection
from google.antigravity.proto import localharness_pb2 as _untyped_pb2
from loguru import logger

from agy_actors._actors import forks
from agy_actors._actors.errors import AgyActorsError
from agy_actors._sdk.process.harness_process import (
    READER_THREADS,
    ends_within,
    signal_group,
    was_killed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Address", "Kind", "ProcessEnded", "SpawnedProcess", "in_daemon_thread", "kind_of"]

T = TypeVar("T")

_pb2: Any = _untyped_pb2  # Its classes are made at import, unknown to type checkers.

_READER_GRACE = 1.0  # Seconds to read the remaining output of a killed process; arbitrary.


class ProcessEnded(AgyActorsError, RuntimeError):
    """Raised when a process ended before it was ready."""

    was_killed = False
    """Whether a signal from outside ended it, and not a fault of its own."""


class Kind(NamedTuple):
    """What a process is started with. Conversations of the same kind may share a process."""

    binary: str
    greeting: bytes
    env: tuple[tuple[str, str], ...] | None
    """Its whole environment; `None` for that of this process."""


class Address(NamedTuple):
    """Where a process accepts connections, and the key that they need."""

    port: int
    api_key: str


def kind_of(strategy: Any, *, use_interactions_api: bool = False) -> Kind:
    """Return the kind of process that a strategy of the SDK would start."""
    env = {str(name): str(value) for name, value in (strategy._env or {}).items()}  # noqa: SLF001
    config = _pb2.InputConfig(
        storage_directory=strategy._save_dir or "",  # noqa: SLF001
        client_info=_pb2.ClientInfo(
            language="python",
            version=_sdk_version(),
            language_version=platform.python_version(),
            os=platform.system().lower(),
            os_version=platform.release(),
        ),
        env=env,
    )
    if use_interactions_api:
        config.use_interactions_api = True
    # Deterministic, so that equal configurations have equal bytes.
    serialized = config.SerializeToString(deterministic=True)
    return Kind(
        binary=str(strategy._binary_path),  # noqa: SLF001
        greeting=struct.pack("<I", len(serialized)) + serialized,
        env=tuple(sorted({**os.environ, **env}.items())) if strategy._env is not None else None,  # noqa: SLF001
    )


@functools.cache
def _sdk_version() -> str:
    return str(local_connection._get_sdk_version())  # noqa: SLF001 (it reads files each time)


class SpawnedProcess:
    """A process that has just been started, until its handshake.

    Args:
        kind: what to start it with.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, kind: Kind) -> None:
        self.popen = forks.OwnPopen(
            [kind.binary],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if kind.env is None else dict(kind.env),
            # Ctrl-C in a terminal goes to the whole process group, but the owner ends its agents.
            process_group=0 if os.name == "posix" else None,
        )
        self._greeting = kind.greeting
        self._handshake_over = threading.Event()

    def handshake(self) -> Address:
        """Exchange configurations over the process's pipes. Blocks; killing the process ends it.

        Raises:
            ProcessEnded: it ended before it was ready.
        """
        try:
            return _exchange(self.popen, self._greeting)
        finally:
            self._handshake_over.set()

    def close(self) -> None:
        """Kill the process, and close its pipes."""
        popen = self.popen
        signal_group(popen)
        popen.wait()
        # Closing a pipe while a thread reads it would wait for the reader. The reader ends with the
        # process, unless a child of the process has the pipe, too.
        if not self._handshake_over.wait(_READER_GRACE):
            logger.warning("A child of localharness outlives it and keeps its pipes open")
            return
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def in_daemon_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Run blocking work in a daemon thread.

    Not `asyncio.to_thread`: the interpreter joins the threads of its executor at exit, and would
    wait until the start timeout of a harness that does not respond.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def set_outcome(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", result))

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as failure:  # noqa: BLE001 (the future gets it)
            error = failure
        with contextlib.suppress(RuntimeError):  # The loop is closed: no task waits.
            loop.call_soon_threadsafe(set_outcome, result, error)

    threading.Thread(target=run, name=f"{READER_THREADS}{name}", daemon=True).start()
    return done


def _exchange(popen: subprocess.Popen[bytes], greeting: bytes) -> Address:
    assert popen.stdin is not None
    assert popen.stdout is not None
    assert popen.stderr is not None
    # If it ended at once, its error output is read below.
    with contextlib.suppress(BrokenPipeError):
        popen.stdin.write(greeting)
        popen.stdin.flush()
    header = popen.stdout.read(4)
    if len(header) < 4:  # noqa: PLR2004 (a length of four bytes)
        words = popen.stderr.read().decode("utf-8", errors="replace").strip()
        ended = ProcessEnded(f"localharness ended before it was ready: {words or '(no output)'}")
        ended.was_killed = ends_within(popen, _READER_GRACE) and was_killed(popen)
        raise ended
    (length,) = struct.unpack("<I", header)
    answer = _pb2.OutputConfig()
    answer.ParseFromString(popen.stdout.read(length))
    return Address(answer.port, answer.api_key)
