"""Runs the command line as its users do: in a process, with pipes or at a terminal."""

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

from agy_actors.cli._prompts import DEMO_ANSWERS

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from agy_actors.testing import ScriptedModel

PATIENCE = 40.0
"""Seconds for what should come; below the limit of a test. Only a failure waits for so long."""

COMMAND = [sys.executable, "-m", "agy_actors.cli"]
CTRL_C, CTRL_D = b"\x03", b"\x04"
_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[=>])")
_LAUNCH = (  # Makes the terminal the process's own, so that Ctrl-C there is a signal to it.
    "import fcntl, os, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def at(model: ScriptedModel) -> list[str]:
    """The options for a scripted model."""
    return [f"--base-url={model.base_url}", "--model=scripted"]


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a command with pipes."""
    _heed_ctrl_c()
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([*COMMAND, *arguments], text=True, **{**pipes, **options})


def run(*arguments: str, stdin: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **options,
    )


def _heed_ctrl_c() -> None:
    """Undo what a shell does that runs the tests in the background: processes inherit it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def said_in_the_demonstration(prompt: str) -> str:
    return DEMO_ANSWERS.get(prompt, f"echo: {prompt}")


class Terminal:
    """A command at a terminal of its own, ended with the `with` block."""

    def __init__(self, *arguments: str, **options: Any) -> None:
        _heed_ctrl_c()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *COMMAND, *arguments],
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
            **{**streams, **options},
        )
        os.close(slave)
        self.output = ""
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
        """Wait until it shows a text, after what was waited for before."""
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
        """Press Ctrl-C, and again if need be, until it begins a new line.

        Python's `input` sleeps through a signal that comes between its prompt and its wait
        for keys, until the next key. A user would press again.
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
        except OSError:  # How Linux says that nobody has the other end any more.
            return False
        # A character or an escape may be cut in two: what is looked for here has neither.
        self.output += _ESCAPE.sub("", data.decode(errors="replace"))
        return bool(data)
