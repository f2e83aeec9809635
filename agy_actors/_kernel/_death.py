"""Death watch: who wants to know of an actor's end is told, once, and when it is over.

An actor's ref outlives its incarnations, and so must the watch. Ref and incarnations
share three things (pykka's `actor_urn`, `actor_inbox`, `actor_stopped`); the watch is kept
with the last, which is the event of the end.

Guarantee: a watcher is told exactly once. It is either in the list that `die` takes under
the lock, or it comes after that and finds the death.
"""

from __future__ import annotations

import dataclasses
import enum
import threading
from typing import TYPE_CHECKING

from agy_actors._kernel import forks
from agy_actors._kernel._arguments import check_optional_seconds, shown
from agy_actors._kernel._errors import InvalidArgument
from agy_actors._kernel._future import ReplyFuture

if TYPE_CHECKING:
    from agy_actors._kernel._ref import AsyncioActorRef

__all__ = ["Death", "DeathReason", "Lifeline", "watch"]


class DeathReason(enum.Enum):
    """Why an actor has ended."""

    STOPPED = "stopped"
    """It was asked to."""

    FAILED = "failed"
    """By a failure of its own, after which nobody restarts it."""

    GIVEN_UP = "given up"
    """Its supervisor gave it up."""


@dataclasses.dataclass(frozen=True, slots=True)
class Death:
    """The end of an actor."""

    ref: AsyncioActorRef
    """Whose."""

    reason: DeathReason

    cause: BaseException | None
    """What it failed with, or `None` if it did not fail."""


class Lifeline(threading.Event):
    """The event of an actor's stop, and who is told when it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self._made_in = forks.generation
        self._lock = threading.Lock()
        self._end: tuple[DeathReason, BaseException | None] | None = None
        self._watchers: list[tuple[AsyncioActorRef, ReplyFuture[Death]]] = []

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
        """Tell the watchers of the end, and return whether this was the first to do so."""
        with self._lock:
            if self._end is not None:
                return False
            self._end = (reason, cause)
            watchers, self._watchers = self._watchers, []
        for ref, future in watchers:
            future.resolve(Death(ref, reason, cause))
        return True

    def watch(self, ref: AsyncioActorRef) -> ReplyFuture[Death]:
        """See the function `watch`."""
        forks.check(self._made_in)
        future: ReplyFuture[Death] = ReplyFuture()
        with self._lock:
            end = self._end
            if end is None:
                self._watchers.append((ref, future))
        if end is None:
            future.add_done_callback(self._forget)
        else:
            future.resolve(Death(ref, *end))
        return future

    def _forget(self, future: ReplyFuture[Death]) -> None:
        """Forget a watcher that was cancelled."""
        with self._lock:
            self._watchers = [watcher for watcher in self._watchers if watcher[1] is not future]


def watch(ref: AsyncioActorRef) -> ReplyFuture[Death]:
    """Be told of an actor's end, also if it has ended already. For every thread.

    Restarts are no end: a supervised agent ends when it is shut down or given up.

    Args:
        ref: an agent, a supervisor, a pool, or any `AsyncioActor`.

    Returns:
        A future that is resolved exactly once, when the actor has ended; `cancel` it to
        watch no more. An actor that watches has its callback tell it:
        `watch(ref).add_done_callback(lambda future: me.tell(future.get()))`.

    Raises:
        InvalidArgument: the argument is not such a ref.
    """
    stopped = getattr(ref, "actor_stopped", None)
    if not isinstance(stopped, Lifeline):
        raise InvalidArgument(f"ref is the ref of an agent or another actor, got {shown(ref)}")
    return stopped.watch(ref)
