"""A second program that uses the agents of the first. Run by the trial of two programs.

    python -m tests.soak.chaos._other_program BASE_URL STATE_DIR

It reads one request per line from its standard input, as JSON, and prints one result for each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil

from agy_actors import AgyActorsError, Chat, Supervisor, SupervisorRef
from benchmarks._model import Model
from tests.soak.chaos._trial import end_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OtherProgram", "ask_by_name", "leave_by_name"]

_TIMEOUT = 10.0  # Seconds for one turn. Arbitrary.
_END = 60.0  # Seconds for the end of the program. Arbitrary; only a failure takes as long.


def ask_by_name(
    supervisor: SupervisorRef,
    config: Any,
    name: str,
    prompt: str,
    idle_timeout: float | None = None,
) -> tuple[str, str]:
    """Ask an agent, which is created if necessary; return the outcome, and the reply or the
    error."""
    try:
        agent = supervisor.children().get(name)
        if agent is None or not agent.is_alive():
            agent = supervisor.create_agent(config, name, idle_timeout=idle_timeout, timeout=60.0)
        return "answer", agent.ask(Chat(prompt, timeout=_TIMEOUT), timeout=3 * _TIMEOUT).text
    except AgyActorsError as error:
        return end_of(error), str(error)


def leave_by_name(supervisor: SupervisorRef, name: str) -> tuple[str, str]:
    """End an agent, if there is one, which releases its conversation."""
    if name in supervisor.children():
        supervisor.shutdown_agent(name, timeout=60.0)
    return "left", name


class OtherProgram:
    """The second program, for the first one."""

    def __init__(self, base_url: str, state_dir: Path) -> None:
        command = [sys.executable, "-m", "tests.soak.chaos._other_program"]
        self._process = subprocess.Popen(
            [*command, base_url, str(state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def order(self, **order: str) -> tuple[str, str]:
        """Send a request, and return the result.

        Raises:
            RuntimeError: the program has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the other program ended with {self._process.wait()}")
        what, text = json.loads(line)
        return what, text

    def kill(self) -> list[psutil.Process]:
        """End the program by SIGKILL, and return the processes that it had started."""
        started = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._close()
        return started

    def end(self) -> bool:
        """Let the program end by itself; return whether it did."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return False
        finally:
            self._close()
        return True

    def _close(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _main(base_url: str, state_dir: str) -> None:
    config = Model(base_url).config()
    with Supervisor.start(state_dir=state_dir) as supervisor:
        for line in sys.stdin:
            order = json.loads(line)
            name = order["agent"]
            if order["do"] == "ask":
                outcome = ask_by_name(supervisor, config, name, order["prompt"])
            else:
                outcome = leave_by_name(supervisor, name)
            print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
