"""The other end of `session_program`: starts it, sends it orders, and kills it."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
import sys
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Program", "ProgramDied"]


class ProgramDied(Exception):
    """Raised for an order whose program was killed before it answered."""


class Program:
    """A running `session_program`.

    Args:
        folder: its `state_dir`.
        base_url: the address of the model.
        max_awake: how many of its sessions may be awake.
    """

    def __init__(self, folder: Path, base_url: str, max_awake: int) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.soak.session_program",
                str(folder),
                base_url,
                str(max_awake),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._numbers = count()
        self._lock = threading.Lock()
        self._open: dict[int, concurrent.futures.Future[Any]] = {}
        self._is_dead = False
        self.ready: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._open[-1] = self.ready
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, **order: Any) -> concurrent.futures.Future[Any]:
        """Send an order, and return the future of its answer."""
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            if self._is_dead:
                answer.set_exception(ProgramDied())
                return answer
            number = next(self._numbers)
            self._open[number] = answer
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps({"n": number, **order}) + "\n")
                self._process.stdin.flush()
            except OSError:  # It has just been killed; the reader fails the future.
                pass
        return answer

    def kill(self) -> None:
        """Kill the program with SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def stop(self) -> None:
        """Let the program end by itself, and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            facts = json.loads(line)
            answer = self._open.pop(facts["n"])
            if "ok" in facts:
                answer.set_result(facts["ok"])
            else:
                answer.set_exception(RuntimeError(facts["error"]))
        with self._lock:
            self._is_dead = True
            for answer in self._open.values():
                answer.set_exception(ProgramDied())
