"""Runs a documented web application under its server."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

import agy_actors
from tests import programs
from tests.harnesses import PATIENCE, has_ended, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors.testing import ScriptedModel

__all__ = [
    "DJANGO",
    "FASTAPI",
    "FLASK",
    "FLASK_PRELOADED",
    "LONG_PATIENCE",
    "Command",
    "Server",
    "serve",
    "wait_long",
]

Command = tuple[str, ...]
"""The module of a server, and its arguments."""

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

_GUNICORN = ("gunicorn", "--config", "gunicorn_conf.py", "--bind", "127.0.0.1:0")
FLASK = (*_GUNICORN, "web_flask:app")
FLASK_PRELOADED = (*_GUNICORN, "--preload", "web_flask:app")
DJANGO = (*_GUNICORN, "web_django:application")
FASTAPI = (
    *("uvicorn", "--workers", "2", "--timeout-worker-healthcheck", "100", "--port", "0"),
    "web_fastapi:app",
)

LONG_PATIENCE = 100.0
"""Seconds for workers to start, and for answers meanwhile. Arbitrary: each worker of uvicorn
imports all packages, for seconds of processor time, on a machine that may be busy."""

_ADDRESS = re.compile(r"(?:Listening at:|running on) \(?http://127\.0\.0\.1:(\d+)")
_WORKER = re.compile(r"Booting worker with pid: (\d+)|Started server process \[(\d+)\]")
_LISTENING = re.compile(r"Listening at: |Application startup complete")
_ENDING = re.compile(r"Handling signal: term|Received SIGTERM")


def wait_long(condition: Callable[[], bool]) -> None:
    """Wait for a condition that has no event, for `LONG_PATIENCE`."""
    deadline = time.monotonic() + LONG_PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.02)


class Server:
    """A server and its processes.

    Args:
        command: the command that starts it.
        folder: for its files.
        model: the model of the application's agents.
        variables: more variables of its environment.
    """

    def __init__(
        self, command: Command, folder: Path, model: ScriptedModel, variables: dict[str, str]
    ) -> None:
        self.conversations = folder / "conversations"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self._log = folder / "log"
        self._mark = ("WEB_APPLICATION", str(uuid.uuid4()))
        with self._log.open("w") as log:
            self._popen = programs.Popen(
                [sys.executable, "-m", *command],
                cwd=EXAMPLES,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": str(Path(agy_actors.__file__).parents[1]),
                    "OPENAI_BASE_URL": f"{model.base_url}/v1",
                    "OPENAI_MODEL": "scripted",
                    "STATE_DIR": str(self.conversations),
                    "TMPDIR": str(self.temporary),
                    "HOME": str(folder),  # gunicorn creates a socket there.
                    "TIMEOUT": str(LONG_PATIENCE),
                    **dict([self._mark]),
                    **variables,
                },
            )
        self._process = psutil.Process(self._popen.pid)
        self._seen = {self._process}

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def port(self) -> int:
        """The port, after `wait_for_workers`."""
        found = _ADDRESS.search(self.log)
        assert found is not None
        return int(found[1])

    @property
    def workers(self) -> set[int]:
        """The process ids of all workers that have started."""
        return {int(gunicorn or uvicorn) for gunicorn, uvicorn in _WORKER.findall(self.log)}

    def wait_for_workers(self, count: int) -> None:
        """Wait until workers have started, and the server listens."""
        wait_long(lambda: len(self.workers) >= count)
        wait_long(lambda: _LISTENING.search(self.log) is not None)

    def wait_for_reload(self, old: set[int]) -> None:
        """Wait until other workers have replaced old ones."""
        self.wait_for_workers(2 * len(old))
        wait_long(lambda: not any(map(psutil.pid_exists, old)))

    def workers_with_agents(self) -> set[int]:
        """Return the process ids of the workers that have a process of agents now."""
        found = set()
        for pid in self.workers:
            with contextlib.suppress(psutil.NoSuchProcess):  # It has ended.
                if psutil.Process(pid).children():
                    found.add(pid)
        return found

    def running(self) -> list[psutil.Process]:
        """Return its processes that run, and those that it has left behind."""
        self._note_processes()
        return [process for process in self._seen if not has_ended(process)]

    def _note_processes(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):  # It has ended.
            self._seen.update(self._process.children(recursive=True))
        name, value = self._mark
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # It ended just now, or is another user's.
                if process.environ().get(name) == value:
                    self._seen.add(process)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._note_processes()
        self._process.send_signal(number)

    def begin_end(self) -> None:
        """Send SIGTERM, and wait until the server handles it."""
        self.send(signal.SIGTERM)
        until(lambda: _ENDING.search(self.log) is not None)

    def check_end(self) -> None:
        """Wait for the end, and check that it was graceful and left nothing."""
        assert self._popen.wait(PATIENCE) == 0
        until(lambda: not self.running())
        assert "Traceback" not in self.log
        assert "WARNING" not in self.log
        assert list(self.temporary.iterdir()) == []
        assert list(self.conversations.rglob("*.lock")) == []

    def kill(self) -> None:
        """Kill all its processes."""
        for process in self.running():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._popen.wait()


@contextlib.contextmanager
def serve(
    command: Command, folder: Path, model: ScriptedModel, **variables: str
) -> Iterator[Server]:
    """Run a server, and kill what is left of it."""
    server = Server(command, folder, model, variables)
    try:
        server.wait_for_workers(2 if command is FASTAPI else 4)
        yield server
    except BaseException:
        print(server.log)  # noqa: T201 (pytest shows it)
        raise
    finally:
        server.kill()
