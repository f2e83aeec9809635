"""`Poller`: the thread that reads a source and carries out actions, so that the screen never waits.

Guarantees: at most ten reads in a second; one call of the source at a time; after `close`, nothing
is delivered.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from typing import TYPE_CHECKING

from agy_actors.telemetry.top.errors import TopUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors.telemetry.top.snapshot import Snapshot
    from agy_actors.telemetry.top.source import Action, Source

__all__ = ["Done", "Failed", "Poller"]

_PERIOD = 0.5
"""Seconds between two reads. Arbitrary: more often is restless to read."""

_SHORTEST = 0.1
"""Seconds between two reads, also after actions: at most ten a second."""

_PATIENCE = 5.0
"""Seconds to wait for the end of the last call. Each call of a source takes less."""


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """A read failed."""

    words: str


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """An action was carried out, or failed."""

    words: str


class Poller:
    """Reads a source, and carries out actions, on a thread of its own.

    Args:
        source: the source. It is closed by the caller.
        deliver: called with each snapshot, and with what became of an action, on that thread.
    """

    def __init__(self, source: Source, deliver: Callable[[Snapshot | Failed | Done], None]) -> None:
        self._source = source
        self._deliver = deliver
        self._actions: queue.SimpleQueue[tuple[Action, str] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agy-actors-top", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def act(self, action: Action, node_id: str) -> None:
        """Have an action carried out. Thread-safe; does not wait."""
        self._actions.put((action, node_id))

    def close(self) -> None:
        """End the thread, after the call that it makes."""
        self._closed.set()
        self._actions.put(None)
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        last_event = 0
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                snapshot = self._source.read(last_event)
            except TopUnavailable as error:
                self._send(Failed(str(error)))
            else:
                last_event = snapshot.last_event
                self._send(snapshot)
            self._act_until(began + _PERIOD)
            self._closed.wait(max(0.0, began + _SHORTEST - time.monotonic()))

    def _act_until(self, end: float) -> None:
        """Wait, and carry out the first action that comes."""
        try:
            wanted = self._actions.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            return
        if wanted is None:
            return
        try:
            words = self._source.act(*wanted)
        except TopUnavailable as error:
            words = str(error)
        self._send(Done(words))

    def _send(self, news: Snapshot | Failed | Done) -> None:
        if not self._closed.is_set():
            self._deliver(news)
