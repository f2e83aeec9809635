"""Sessions in this program and in others that share its folder."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from google.antigravity.types import StepSource

from agy_actors import GetHistory, Supervisor
from agy_actors._sessions.session_keys import conversation_id_of, folder_of
from tests import programs
from tests.harnesses import until
from tests.sessions.session_program import HELD, NAME, READY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import SessionRef, Sessions
    from agy_actors.testing import ScriptedModel

__all__ = ["Program", "ProgramDied", "ProgramError", "files_of", "prompts_of", "run", "was_asked"]

PATIENCE = 60.0
"""Seconds for a program, whose start takes some. Arbitrary; only a test that fails takes longer."""

_ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def run(
    folder: Path, model: ScriptedModel, config: Any = None, **options: Any
) -> Iterator[Sessions]:
    """Run a supervisor with sessions in this program."""
    with Supervisor.start(state_dir=folder) as supervisor:
        yield supervisor.create_sessions(config or model.openai_config(), name=NAME, **options)


def prompts_of(session: SessionRef) -> list[str]:
    """Return the prompts of a session's conversation."""
    steps = session.ask(GetHistory(), timeout=PATIENCE)
    return [step.content for step in steps if step.source == StepSource.USER]


def was_asked(model: ScriptedModel, prompt: str) -> int:
    """Return how many requests of the model had a prompt."""
    return sum(request.prompt == prompt for request in model.requests)


def wait_until_asked(model: ScriptedModel, prompt: str, times: int = 1) -> None:
    until(lambda: was_asked(model, prompt) >= times)


def folder_in(state_dir: Path) -> Path:
    """Return the folder of the sessions."""
    return folder_of(state_dir, NAME)


def files_of(state_dir: Path, key: str) -> set[str]:
    """Return the suffixes of all files of a conversation, besides its lock."""
    name = conversation_id_of(key)
    found = [path for path in folder_in(state_dir).rglob("*") if name in str(path)]
    return {path.name.removeprefix(name) for path in found} - {".lock"}


class ProgramDied(Exception):
    """Raised for an order whose program ended before it answered."""


class ProgramError(Exception):
    """The error of an order: the name of its type, and its text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Program:
    """A running `session_program`. As a context manager it ends the program on leaving.

    Args:
        folder: its `state_dir`.
        model: its model.
        options: those of `create_sessions`.
    """

    def __init__(self, folder: Path, model: ScriptedModel, **options: Any) -> None:
        name = "tests.sessions.session_program"
        self._process = programs.Popen(
            [sys.executable, "-m", name, str(folder), model.base_url, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        self._numbers = count()
        self._lock = threading.Lock()
        self._is_dead = False
        self._open: dict[int, concurrent.futures.Future[Any]] = {}
        self._ready = self._expect(READY)
        self.held = self._expect(HELD)
        """The id of a request whose result is not saved, after the order `hold_results`."""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self._ready.result(PATIENCE)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.kill()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, do: str, **order: Any) -> concurrent.futures.Future[Any]:
        """Send an order, and return the future of its answer."""
        with self._lock:
            number = next(self._numbers)
            answer = self._expect(number)
            if self._is_dead:
                answer.set_exception(ProgramDied())
                return answer
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"n": number, "do": do, **order}) + "\n")
            self._process.stdin.flush()
        return answer

    def do(self, do: str, **order: Any) -> Any:
        """Send an order and wait for its answer."""
        return self.send(do, **order).result(PATIENCE)

    def kill(self) -> None:
        """Kill the program with SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    def _expect(self, number: int) -> concurrent.futures.Future[Any]:
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._open[number] = answer
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            facts = json.loads(line)
            answer = self._open.pop(facts["n"])
            if "ok" in facts:
                answer.set_result(facts["ok"])
            else:
                answer.set_exception(ProgramError(facts["error"], facts["text"]))
        with self._lock:
            self._is_dead = True
            for answer in self._open.values():
                answer.set_exception(ProgramDied())
