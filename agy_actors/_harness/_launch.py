"""Starts the `localharness` of an SDK agent in our own way.

The SDK starts it in a coroutine that reads the process's output synchronously, keeps
the process out of reach until it is connected, and leaves it behind when the start is
cancelled. Its strategy starts the process in one method, for which ours is put; all
else is the SDK's. Where the SDK has another shape than the one known here, or the agent
is of a kind without a `localharness`, the SDK starts it as it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import platform
import struct
import subprocess
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, cast

from google.antigravity.connections.local import local_connection
from google.antigravity.proto import localharness_pb2 as _untyped_pb2
from loguru import logger

from agy_actors._harness._context import lend_variables, watch_denials
from agy_actors._harness._process import READER_THREADS, HarnessProcess, signal_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import Agent

    from agy_actors._harness._context import Variables

__all__ = ["Harness"]

T = TypeVar("T")

_pb2: Any = _untyped_pb2  # Its classes are made at import, unknown to type checkers.

_TAIL = 20  # Lines of standard error kept for an error message; arbitrary.
_REAP = 1.0  # Seconds for a killed process to be gone: it takes milliseconds.
_READER_GRACE = 1.0  # Seconds to read what a killed process left behind; arbitrary.


class Harness:
    """The `localharness` process of one SDK agent, if it has one.

    Its methods are for the loop that the agent lives on. The callbacks are called by
    the thread that reads the process's standard error.

    Args:
        grace: seconds for the process to end by itself before it is killed.
        on_line: called with each line of its standard error.
        on_death: called once when it is gone, however it went.
        variables: returns the context variables, with their values, for tools and hooks.
        on_denial: called with the reason, on the agent's loop, when a hook denies a prompt.
    """

    def __init__(
        self,
        *,
        grace: float,
        on_line: Callable[[str], None],
        on_death: Callable[[], None],
        variables: Callable[[], Variables],
        on_denial: Callable[[str], None],
    ) -> None:
        self._grace = grace
        self._on_denial = on_denial
        self._variables = variables
        self._on_line = on_line
        self._on_death = on_death
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._popen: subprocess.Popen[bytes] | None = None
        self._process: HarnessProcess | None = None
        self._shaken = threading.Event()

    @property
    def pid(self) -> int | None:
        """The process id, while the process has not been disposed of."""
        return None if self._process is None else self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines of the process's standard error."""
        return "\n".join(self._tail)

    def adopt(self, agent: Agent) -> None:
        """Have `agent`, which has not been opened yet, start its process here."""
        config: Any = agent._config  # noqa: SLF001
        create: Callable[..., Any] = config.create_strategy

        def create_strategy(**runners: Any) -> Any:
            for runner in runners.values():
                lend_variables(runner, self._variables)
            watch_denials(runners["hook_runner"], self._on_denial)
            strategy = create(**runners)
            if _is_of_known_shape(strategy):

                async def spawn(**options: Any) -> Any:
                    return await self._spawn(strategy, **options)

                strategy._spawn_harness_and_connect_ws = spawn  # noqa: SLF001
            return strategy

        # Past pydantic, which knows no such field; the agent's own copy of the config.
        object.__setattr__(config, "create_strategy", create_strategy)

    def kill(self) -> None:
        """End the process at once, if there is one. Callable from any thread."""
        if self._popen is not None:
            signal_group(self._popen)

    def reap(self) -> None:
        """End the process, and see to it that nothing of it is left. From any thread.

        Its pipes are for `dispose` to close, on the loop they belong to.
        """
        popen = self._popen
        if popen is not None:
            signal_group(popen)
            with contextlib.suppress(subprocess.TimeoutExpired):
                popen.wait(_REAP)

    def dispose(self) -> None:
        """Leave nothing of the process behind: not itself, no pipe."""
        if self._process is not None:
            self._process.dispose()
            self._process = None
        elif self._popen is not None:
            _close(self._popen, self._shaken)
        self._popen = None

    async def _spawn(self, strategy: Any, *, use_interactions_api: bool = False) -> Any:
        greeting, env = _greeting(strategy, use_interactions_api=use_interactions_api)
        popen = self._popen = subprocess.Popen(  # noqa: ASYNC220, S603 (forks and returns at once)
            [strategy._binary_path],  # noqa: SLF001
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            # Ctrl-C in a terminal goes to a whole group; ending agents is for their owner.
            process_group=0 if os.name == "posix" else None,
        )
        shaken = self._shaken = threading.Event()
        answer = await _in_daemon_thread(lambda: _shake_hands(popen, greeting, shaken))
        self._process = HarnessProcess(
            popen, grace=self._grace, on_line=self._hear, on_death=self._on_death
        )
        ws, url = await strategy._connect_websocket(  # noqa: SLF001
            answer.port, answer.api_key, self._process
        )
        return self._process, ws, url

    def _hear(self, line: str) -> None:
        self._tail.append(line)
        self._on_line(line)


def _is_of_known_shape(strategy: object) -> bool:
    if not isinstance(strategy, local_connection.LocalConnectionStrategy):
        return False
    spawn = getattr(strategy, "_spawn_harness_and_connect_ws", None)
    known = (
        inspect.iscoroutinefunction(spawn)
        and set(inspect.signature(spawn).parameters) == {"use_interactions_api"}
        and hasattr(strategy, "_connect_websocket")
        and all(hasattr(strategy, name) for name in ("_binary_path", "_save_dir", "_env"))
    )
    if not known:
        logger.warning(
            "This release of google-antigravity starts its harness in an unknown way;"
            " starts and stops are not bounded in time"
        )
    return known


def _greeting(strategy: Any, *, use_interactions_api: bool) -> tuple[bytes, dict[str, str] | None]:
    env = {str(name): str(value) for name, value in (strategy._env or {}).items()}  # noqa: SLF001
    config = _pb2.InputConfig(
        storage_directory=strategy._save_dir or "",  # noqa: SLF001
        client_info=_pb2.ClientInfo(
            language="python",
            version=local_connection._get_sdk_version(),  # noqa: SLF001
            language_version=platform.python_version(),
            os=platform.system().lower(),
            os_version=platform.release(),
        ),
        env=env,
    )
    if use_interactions_api:
        config.use_interactions_api = True
    serialized = config.SerializeToString()
    return (
        struct.pack("<I", len(serialized)) + serialized,
        {**os.environ, **env} if strategy._env is not None else None,  # noqa: SLF001
    )


def _in_daemon_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run blocking work without the interpreter ever waiting for it.

    Not `asyncio.to_thread`: the threads of an executor are joined at exit, for as long
    as a harness that says nothing is given to start.
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

    threading.Thread(target=run, name=f"{READER_THREADS}start", daemon=True).start()
    return done


def _shake_hands(popen: subprocess.Popen[bytes], greeting: bytes, over: threading.Event) -> Any:
    """Exchange configurations over the process's pipes. Blocks; ended by killing it."""
    try:
        return _exchange(popen, greeting)
    finally:
        over.set()


def _exchange(popen: subprocess.Popen[bytes], greeting: bytes) -> Any:
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
        raise RuntimeError(
            f"localharness ended before it was ready: {words or '(it said nothing)'}"
        )
    (length,) = struct.unpack("<I", header)
    answer = _pb2.OutputConfig()
    answer.ParseFromString(popen.stdout.read(length))
    return answer


def _close(popen: subprocess.Popen[bytes], shaken: threading.Event) -> None:
    signal_group(popen)
    popen.wait()
    # A pipe cannot be closed while a thread reads it: that would wait for the reader. Its
    # end came with the process, unless a child of that has the pipe, too.
    if not shaken.wait(_READER_GRACE):
        logger.warning("A child of localharness outlives it and keeps its pipes open")
        return
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
