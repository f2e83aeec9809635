"""Prints what a command waits for, so that no command is silent for more than five seconds."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from agy_actors.cli.wait_state import EVERY, WaitState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from agy_actors import SupervisorRef

__all__ = ["WaitReporter"]

_START = 1.0
"""Seconds that the interpreter and the imports take before this starts. Arbitrary."""


class WaitReporter:
    """Prints what a command waits for, on its own thread, while its block runs. Thread-safe.

    Args:
        print_line: prints a line. Called on any thread.
        waits: what the command waits for; a new state by default.
        every: seconds of silence after which a line is printed.
    """

    def __init__(
        self,
        print_line: Callable[[str], None],
        waits: WaitState | None = None,
        *,
        every: float = EVERY,
    ) -> None:
        self.waits = WaitState() if waits is None else waits
        self._live = False
        self._print_line = print_line
        self._every = every
        self._last = time.monotonic() - _START
        self._last_problem = ""
        self._paused = False
        self._lock = threading.Lock()
        """Held while a line is printed, so that no line is printed after a pause has begun."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def begin(self, activity: str) -> None:
        """Set what the command waits for while no agent has a turn."""
        self.waits.begin(activity)

    def shown(self) -> None:
        """Record that the command has printed something."""
        self._last = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Print nothing during the block: the command waits for its user."""
        with self._lock:
            self._paused = True
        try:
            yield
        finally:
            self.shown()
            self._paused = False

    @contextmanager
    def shown_live(self, *, live: bool) -> Iterator[None]:
        """Print no periodic lines during the block if a live display shows them."""
        self._live = live
        try:
            yield
        finally:
            self._live = False

    def follow(self, supervisor: SupervisorRef) -> None:
        """Learn from a supervisor's events what its agents wait for."""
        supervisor.subscribe(self._on_event)

    @property
    def is_due(self) -> bool:
        """Whether a line is due."""
        return not self._live and self._silent_for() >= self._every

    def describe_silence(self) -> str | None:
        """Describe the wait for a live display; `None` if something was just printed."""
        is_long = time.monotonic() - self._last >= self._every / 2
        return self.waits.describe() if is_long else None

    def _on_event(self, event: Any) -> None:
        line = self.waits.record(event)
        # Several agents may have the same problem at once: print it once.
        if line is not None and (line != self._last_problem or self.is_due):
            self._last_problem = line
            self._print(line)

    def _silent_for(self) -> float:
        return time.monotonic() - self._last

    def _run(self) -> None:
        while not self._over.wait(self._left()):
            if self.is_due:
                self._print(self.waits.describe())

    def _left(self) -> float:
        """Return the seconds until the next check."""
        return self._every if self._live else max(0.0, self._every - self._silent_for())

    def _print(self, line: str) -> None:
        self.shown()
        # An error: nobody reads the stream, or it is closed.
        with self._lock, suppress(OSError, ValueError):
            if not self._paused:
                self._print_line(line)
