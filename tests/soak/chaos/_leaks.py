"""Compares the threads, descriptors, processes and folders before and after."""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pykka

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Inventory"]

_PATIENCE = 15.0
"""Seconds for abandoned threads to notice that they are released. Arbitrary."""


class Inventory:
    """The state when it is made, to find later additions."""

    def __init__(self) -> None:
        gc.collect()
        self._process = psutil.Process()
        self._threads = set(threading.enumerate())
        self._descriptors = self._process.num_fds()
        self._folder = Path(tempfile.gettempdir())

    def leaks(self) -> Iterator[str]:
        """Return the leaks."""
        deadline = time.monotonic() + _PATIENCE
        for thread in set(threading.enumerate()) - self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                yield f"leaked thread {thread.name}"
        for child in self._process.children(recursive=True):
            yield f"leaked process {child.pid} {child.name()} ({child.status()})"
        gc.collect()
        more = self._process.num_fds() - self._descriptors
        if more > 0:
            yield f"leaked {more} descriptors"
        for path in self._folder.iterdir():
            yield f"leaked {path}"
        for ref in pykka.ActorRegistry.get_all():
            yield f"leaked actor {ref}"

    @property
    def megabytes(self) -> float:
        """The resident memory of this process."""
        return float(self._process.memory_info().rss) / 2**20
