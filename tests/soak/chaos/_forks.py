"""Forks: of a program that is then killed, and of the soak itself.

A child of the soak only tries one of its parent's references and exits at once. It has only one of
the parent's threads, so nothing else is safe.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, ClassVar

import psutil

from agy_actors import Chat, Send, Supervisor
from tests.soak.chaos._plan import Fault
from tests.soak.chaos._trial import SOON, Trial, has_ended, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Forks"]

_FORKED = "ForkedProcessError"


class Forks(Trial):
    """Forks the soak and other programs."""

    fault: ClassVar[str] = "forks"

    def run_round(self) -> None:
        """Fork the soak, or run a program that forks and is then killed."""
        if self.rounds % 4 == 0:
            self._kill_forking_program("before" if self.rounds % 8 else "after")
        self._fork_soak()

    # A program that is killed while its child lives.

    def _kill_forking_program(self, when: str) -> None:
        command = [sys.executable, "-m", "tests.soak.chaos._forking_program"]
        with subprocess.Popen(
            [*command, self._ground.model.base_url, when], stdout=subprocess.PIPE, text=True
        ) as program:
            try:
                assert program.stdout is not None
                line = program.stdout.readline()
            finally:
                program.kill()
        if not line:
            self._blame(f"the program that forks {when} its agent's creation did not come up")
            return
        facts = json.loads(line)
        child = psutil.Process(facts["child"])
        for pid in facts["harnesses"]:
            self._check_ended(pid, when)
        if has_ended(child):
            self._blame("the forked child ended with its parent, so that nothing was shown")
        child.kill()
        self.outcomes[f"SIGKILL of a program that forked {when}"] += 1

    def _check_ended(self, pid: int, when: str) -> None:
        try:
            process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            return
        if not wait_until(lambda: has_ended(process), SOON):
            self._blame(f"a harness outlived the SIGKILL of a program that forked {when}")
            process.kill()

    # The soak's own children.

    def _fork_soak(self) -> None:
        model = self._ground.model
        with Supervisor.start(name="parent") as supervisor:
            agent = supervisor.create_agent(model.openai_config())
            pool = supervisor.create_pool(model.openai_config(), 1)
            future = agent.ask(Chat(self._prompt(Fault.SILENCE).text), block=False)
            uses: dict[str, Callable[[], object]] = {
                "ask": lambda: agent.ask(Chat("hi"), timeout=60.0),
                "ask without waiting": lambda: agent.ask(Chat("hi"), block=False),
                "tell": lambda: agent.tell(Send("hi")),
                "stream": lambda: agent.stream("hi"),
                "stop of an agent": agent.stop,
                "future": lambda: future.get(timeout=60.0),
                "pool's ask": lambda: pool.ask(Chat("hi"), timeout=60.0),
                "pool's map": lambda: list(pool.map(["hi"])),
                "pool's members": pool.members,
                "create_agent": lambda: supervisor.create_agent(model.openai_config()),
                "children": supervisor.children,
                "stop": supervisor.stop,
            }
            for name in self._chance.sample(sorted(uses), 3):
                self._try_in_child(name, uses[name])
            pool.ask(Chat("hi"), timeout=60.0)  # The parent's work as before.

    def _try_in_child(self, name: str, use: Callable[[], object]) -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            _use_and_leave(use, writer)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            self._blame(f"{name} in a forked child did not return within {SOON:.0f} s")
        elif not said.startswith(_FORKED):
            self._blame(f"{name} in a forked child: {said}")
        elif str(os.getpid()) not in said:
            self._blame(f"{name} in a forked child does not name its parent: {said}")
        else:
            self.outcomes[_FORKED] += 1


def _use_and_leave(use: Callable[[], object], writer: int) -> None:
    """Try an operation, print the result, and end the process without clean-up."""
    said = ""
    try:
        signal.alarm(int(SOON))  # Ends this process, if nothing else does.
        try:
            said = f"returned {use()!r}"
        except BaseException as error:  # noqa: BLE001 (it is the outcome)
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
    finally:
        os._exit(0)
