"""Finds out whether an actor's thread still runs its loop, and which code it runs."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agy_actors._actors.event_loop import is_asleep
from agy_actors._actors.runtime import current_runtime

if TYPE_CHECKING:
    import asyncio

__all__ = ["LagProbe", "Probe", "lines_of", "loop_of"]

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


class LagProbe:
    """Measures how long a callback waits for its call on a loop. For one observer, on any thread.

    Each measurement schedules a callback, and the next one returns how long that waited. A loop
    that sleeps has no lag, and is not woken.

    Args:
        loop: the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._clock = current_runtime().monotonic
        self._scheduled: float | None = None
        """When the callback was scheduled; `None` if none waits."""
        self._lag = 0.0
        """How long the last callback waited."""

    def measure(self) -> float:
        """Return the seconds that the last callback waited, or has waited so far."""
        now, scheduled = self._clock(), self._scheduled
        if scheduled is not None and not self._loop.is_closed():
            return now - scheduled
        lag, self._lag = self._lag, 0.0
        if not is_asleep(self._loop):
            self._scheduled = now
            try:
                self._loop.call_soon_threadsafe(self._note_call)
            except RuntimeError:  # The loop is closed: the actor has ended.
                self._scheduled = None
        return lag

    def _note_call(self) -> None:
        scheduled, self._scheduled = self._scheduled, None
        if scheduled is not None:
            self._lag = self._clock() - scheduled


def loop_of(actor: Any) -> asyncio.AbstractEventLoop | None:
    """Return an actor's loop; `None` before its thread starts. Callable from any thread."""
    loop: asyncio.AbstractEventLoop | None = actor._loop  # noqa: SLF001 (of this package)
    return loop


def lines_of(thread_id: int) -> str:
    """Return the lines of code that a thread runs now. Callable from any thread."""
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 (documented)
    if frame is None:
        return "(no thread)"
    stack = traceback.extract_stack(frame)[-_FRAMES:]
    return " > ".join(f"{f.name} ({Path(f.filename).name}:{f.lineno})" for f in stack)
