"""Begins `localharness` processes: what with, the exchange of greetings, and the end of one.

The SDK does this in a coroutine that reads the process's output synchronously, keeps the
process out of reach until it is connected, and leaves it behind when the start is
cancelled.
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

from agy_actors._harness._process import READER_THREADS, signal_group
from agy_actors._kernel import forks

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Address", "Booting", "Kind", "ProcessEnded", "in_daemon_thread", "kind_of"]

T = TypeVar("T")

_pb2: Any = _untyped_pb2  # Its classes are made at import, unknown to type checkers.

_READER_GRACE = 1.0  # Seconds to read what a killed process left behind; arbitrary.


class ProcessEnded(RuntimeError):
    """A process ended before it was ready."""


class Kind(NamedTuple):
    """What a process is started with. All that is alike may share one (DESIGN, F12)."""

    binary: str
    greeting: bytes
    env: tuple[tuple[str, str], ...] | None
    """All of its environment; `None` for this process's own."""


class Address(NamedTuple):
    """Where a process takes connections, and the key that it wants for them."""

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
    # Deterministic, so that what is alike looks alike.
    serialized = config.SerializeToString(deterministic=True)
    return Kind(
        binary=str(strategy._binary_path),  # noqa: SLF001
        greeting=struct.pack("<I", len(serialized)) + serialized,
        env=tuple(sorted({**os.environ, **env}.items())) if strategy._env is not None else None,  # noqa: SLF001
    )


@functools.cache
def _sdk_version() -> str:
    return str(local_connection._get_sdk_version())  # noqa: SLF001 (it reads files each time)


class Booting:
    """A process that was begun just now, up to its answer.

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
            # Ctrl-C in a terminal goes to a whole group; ending agents is for their owner.
            process_group=0 if os.name == "posix" else None,
        )
        self._greeting = kind.greeting
        self._shaken = threading.Event()

    def shake_hands(self) -> Address:
        """Exchange configurations over the process's pipes. Blocks; ended by killing it.

        Raises:
            ProcessEnded: it ended before it was ready.
        """
        try:
            return _exchange(self.popen, self._greeting)
        finally:
            self._shaken.set()

    def close(self) -> None:
        """Leave nothing of the process behind: not itself, no pipe."""
        popen = self.popen
        signal_group(popen)
        popen.wait()
        # A pipe cannot be closed while a thread reads it: that would wait for the reader.
        # Its end came with the process, unless a child of that has the pipe, too.
        if not self._shaken.wait(_READER_GRACE):
            logger.warning("A child of localharness outlives it and keeps its pipes open")
            return
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def in_daemon_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Run blocking work without the interpreter ever waiting for it.

    Not `asyncio.to_thread`: the threads of a stock executor are joined at exit, for as
    long as a harness that says nothing is given to start.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
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
        except Exception as failure:  # noqa: BLE001 (it belongs to who waits)
            error = failure
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=f"{READER_THREADS}{name}", daemon=True).start()
    return done


def _exchange(popen: subprocess.Popen[bytes], greeting: bytes) -> Address:
    assert popen.stdin is not None
    assert popen.stdout is not None
    assert popen.stderr is not None
    # Where it ended at once, what it said of that is read below.
    with contextlib.suppress(BrokenPipeError):
        popen.stdin.write(greeting)
        popen.stdin.flush()
    header = popen.stdout.read(4)
    if len(header) < 4:  # noqa: PLR2004 (a length of four bytes)
        words = popen.stderr.read().decode("utf-8", errors="replace").strip()
        raise ProcessEnded(
            f"localharness ended before it was ready: {words or '(it said nothing)'}"
        )
    (length,) = struct.unpack("<I", header)
    answer = _pb2.OutputConfig()
    answer.ParseFromString(popen.stdout.read(length))
    return Address(answer.port, answer.api_key)
