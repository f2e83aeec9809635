"""Counts what code does, for tests of its cost. Unlike a time, it is the same in each run."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["Looks", "count_looks", "counting_looks"]

_WHERE = ("agy_actors", "asyncio", "pykka", "_weakrefset.py", "threading.py")
"""Parts of paths whose lines are counted: modules that keep lists of actors, tasks and threads."""


class Looks:
    """How many lines of Python ran, each as often as it ran.

    A loop over n things, a comprehension too, counts as n lines at least.
    """

    def __init__(self) -> None:
        self.by_file: Counter[str] = Counter()
        """The lines by the path of their file."""

    def trace(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        """Count. A function for `sys.settrace`."""
        path = frame.f_code.co_filename
        if not any(part in path for part in _WHERE):
            return None
        if event == "line":
            self.by_file[path] += 1
        return self.trace


@contextlib.contextmanager
def counting_looks() -> Iterator[Looks]:
    """Count the lines that run in this thread, and in threads that are started in the block."""
    looks = Looks()
    before = sys.gettrace(), threading.gettrace()
    threading.settrace(looks.trace)
    sys.settrace(looks.trace)
    try:
        yield looks
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])


def count_looks(call: Callable[[], object]) -> int:
    """Return how many lines run in a call."""
    with counting_looks() as looks:
        call()
    return looks.by_file.total()
