"""`Lifeline`: the event of an actor's stop, and the watchers of its end.

An actor's ref outlives its incarnations, and so must its watchers. The ref and the incarnations
share pykka's `actor_urn`, `actor_inbox` and `actor_stopped`; the last one holds the watchers.

Guarantee: a watcher is called exactly once. Either it is in the list that `die` takes under the
lock, or it is added later and sees the end.
"""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING, TypeAlias

from agy_actors._actors import forks
from agy_actors._actors.arguments import check_optional_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    Watcher: TypeAlias = "Callable[[DeathReason, BaseException | None], object]"

__all__ = ["DeathReason", "Lifeline"]


class DeathReason(enum.Enum):
    """Why an actor has ended."""

    STOPPED = "stopped"
    """It was asked to stop."""

    FAILED = "failed"
    """It failed and was not restarted."""

    GIVEN_UP = "given up"
    """Its supervisor gave it up."""


class Lifeline(threading.Event):
    """The event of an actor's stop, with the callbacks for its end."""

    def __init__(self) -> None:
        super().__init__()
        self._made_in = forks.generation
        self._lock = threading.Lock()
        self._end: tuple[DeathReason, BaseException | None] | None = None
        self._watchers: list[Watcher] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the actor's stop, and return whether it came within `timeout` seconds.

        Raises:
            InvalidArgument: the timeout is not a number of seconds from 0.
            ForkedProcessError: this process is a forked child of the actor's.
        """
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        forks.check(self._made_in)
        return super().wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def die(self, reason: DeathReason, cause: BaseException | None) -> bool:
        """Call the watchers of the end, and return whether this was the first call."""
        with self._lock:
            if self._end is not None:
                return False
            self._end = (reason, cause)
            watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher(reason, cause)
        return True

    def add_watcher(self, watcher: Watcher) -> None:
        """Call `watcher(reason, cause)` when the actor has ended, or at once if it has.

        Raises:
            ForkedProcessError: this process is a forked child of the actor's.
        """
        forks.check(self._made_in)
        with self._lock:
            end = self._end
            if end is None:
                self._watchers.append(watcher)
        if end is not None:
            watcher(*end)

    def remove_watcher(self, watcher: Watcher) -> None:
        """Remove a watcher, unless it has been called."""
        with self._lock:
            self._watchers = [other for other in self._watchers if other is not watcher]
