"""Runs a command in a terminal of tmux, whose screen a test reads."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["PATIENCE", "Tmux", "needs_tmux"]

PATIENCE = 60.0
"""Seconds to wait for the screen. Only a failing test waits this long."""

_numbers = itertools.count()

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Tmux:
    """A terminal with a command of this Python, which ends with the `with` block.

    Args:
        arguments: those of the Python interpreter.
        size: the columns and the lines.
        variables: environment variables of the command.
        term: the type of the terminal, as the command sees it.
    """

    def __init__(
        self,
        *arguments: str,
        size: tuple[int, int] = (80, 24),
        variables: dict[str, str] | None = None,
        term: str = "screen",
    ) -> None:
        self._socket = f"agy-actors-{os.getpid()}-{next(_numbers)}"
        settings = {"TERM": term, "PYTHONPATH": str(Path.cwd()), **(variables or {})}
        assigned = [f"{name}={value}" for name, value in settings.items()]
        # Those of the test's own terminal.
        unset = [word for name in ("NO_COLOR", "COLUMNS", "LINES") for word in ("-u", name)]
        command = shlex.join(["env", *unset, *assigned, sys.executable, *arguments])
        columns, lines = size
        self._tmux(
            *("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines)),
            # The shell keeps the screen, with the exit code, until the session is killed, but not
            # for ever if the test itself is killed.
            f"{command}; echo exit code $?; sleep 300",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tmux("kill-server")

    def screen(self, *, styles: bool = False) -> str:
        """Return the text on the screen."""
        return self._tmux("capture-pane", "-p", *(["-e"] if styles else []))

    def keys(self, *keys: str) -> None:
        """Press keys, by tmux's names for them."""
        self._tmux("send-keys", *keys)

    def types(self, text: str) -> None:
        """Type a text and Enter."""
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the terminal."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def shows(self, *texts: str) -> str:
        """Wait until the screen shows all of these texts, and return it."""
        return self.wait_for(lambda screen: all(text in screen for text in texts), f"{texts}")

    def hides(self, text: str) -> str:
        """Wait until the screen does not show a text, and return it."""
        return self.wait_for(lambda screen: text not in screen, f"no {text!r}")

    def ends(self) -> int:
        """Wait until the command has ended, and return its exit code."""
        screen = self.shows("exit code ")
        assert "Traceback" not in screen
        return int(screen.rpartition("exit code ")[2].split()[0])

    def wait_for(self, condition: Callable[[str], bool], wanted: str) -> str:
        """Wait until the text on the screen fulfils a condition, and return it."""
        deadline = time.monotonic() + PATIENCE
        while not condition(screen := self.screen()):
            assert time.monotonic() < deadline, f"waited for {wanted}, but:\n{screen}"
            time.sleep(0.05)
        return screen

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-L", self._socket, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout
