"""Finds out whether an actor's thread still runs its loop, and which code it runs."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from agy_actors._actors.event_loop import is_asleep

if TYPE_CHECKING:
    import asyncio

__all__ = ["Probe", "lines_of"]

_FRAMES = 4
"""How many of the innermost lines of code of a thread are shown. Arbitrary."""


class Probe:
    """Finds out whether a loop runs. For one observer, on any thread."""

    def __init__(self) -> None:
        self._called: threading.Event | None = None

    def is_responsive(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Return whether the loop has made a step since the last call.

        A loop that sleeps is responsive, and is not woken. Any other loop gets a callback, which it
        has called by the next check if it runs.
        """
        if loop is None or is_asleep(loop):
            self._called = None
            return True
        if self._called is not None and not self._called.is_set():
            return False
        self._called = threading.Event()
        with contextlib.suppress(RuntimeError):  # The loop is closed: the actor has ended.
            loop.call_soon_threadsafe(self._called.set)
        return True


def lines_of(thread_id: int) -> str:
    """Return the lines of code that a thread runs now. Callable from any thread."""
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 (documented)
    if frame is None:
        return "(no thread)"
    stack = traceback.extract_stack(frame)[-_FRAMES:]
    return " > ".join(f"{f.name} ({Path(f.filename).name}:{f.lineno})" for f in stack)
