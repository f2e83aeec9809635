"""Runs the command line in a process, with pipes or at a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

from agy_actors.cli.demo_prompts import DEMO_ANSWERS
from tests import programs

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from agy_actors.testing import ScriptedModel

PATIENCE = 40.0
"""Seconds to wait for output; below the limit of a test. Only a failing test waits this long."""

COMMAND = [sys.executable, "-m", "agy_actors.cli"]
CTRL_C, CTRL_D = b"\x03", b"\x04"
_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[=>])")


def at(model: ScriptedModel) -> list[str]:
    """Return the options for a scripted model."""
    return [f"--base-url={model.base_url}", "--model=scripted"]


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a command with pipes."""
    _restore_ctrl_c()
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return programs.Popen([*COMMAND, *arguments], text=True, **{**pipes, **options})


def run(*arguments: str, stdin: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return programs.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **options,
    )


def _restore_ctrl_c() -> None:
    """Restore SIGINT: a shell ignores it for background jobs, and child processes inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def demo_answer(prompt: str) -> str:
    return DEMO_ANSWERS.get(prompt, f"echo: {prompt}")


class Terminal:
    """A command with its own terminal; it ends with the `with` block."""

    def __init__(
        self, *arguments: str, variables: dict[str, str] | None = None, **options: Any
    ) -> None:
        _restore_ctrl_c()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
        self.process = programs.Popen(
            [*COMMAND, *arguments],
            start_new_session=True,
            terminal=True,  # Then Ctrl-C there is a signal to the command.
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **(variables or {})},
            **{**streams, **options},
        )
        os.close(slave)
        self.output = ""
        self.raw = ""
        """The same with all escapes."""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def types(self, keys: bytes | str) -> None:
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def shows(self, text: str) -> None:
        """Wait until it shows a text, after the text of the last call."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.output.find(text, self._seen)) < 0:
            assert self._read(deadline), f"{text!r} was not shown, but:\n{self.output}"
        self._seen = found + len(text)

    def ends(self) -> int:
        """Wait for its end and return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(max(0.0, deadline - time.monotonic()))

    def gets_ctrl_c_at_the_prompt(self) -> None:
        """Press Ctrl-C until the command starts a new line.

        Python's `input` misses a signal that arrives between its prompt and its wait for keys,
        until the next key. A user would press again.
        """
        shown = len(self.output)
        for _ in range(5):
            self.types(CTRL_C)
            deadline = time.monotonic() + PATIENCE / 10
            while self._read(deadline):
                if "\n" in self.output[shown:]:
                    return
        raise AssertionError(f"Ctrl-C did nothing:\n{self.output}")

    def _read(self, deadline: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # On Linux: the other end is closed.
            return False
        # A character or an escape may be split: the texts that tests wait for contain neither.
        self.raw += data.decode(errors="replace")
        self.output += _ESCAPE.sub("", data.decode(errors="replace"))
        return bool(data)
