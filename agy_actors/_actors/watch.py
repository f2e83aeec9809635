"""`watch`: a future that resolves at an actor's end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from agy_actors._actors.arguments import shown
from agy_actors._actors.errors import InvalidArgument
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import resolve
from agy_actors._actors.lifeline import Lifeline

if TYPE_CHECKING:
    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.lifeline import DeathReason

__all__ = ["Death", "watch"]


@dataclasses.dataclass(frozen=True, slots=True)
class Death:
    """The end of an actor."""

    ref: AsyncioActorRef
    """The actor that has ended."""

    reason: DeathReason
    """Why it ended."""

    cause: BaseException | None
    """The error that it failed with, or `None` if it did not fail."""


def watch(ref: AsyncioActorRef) -> ReplyFuture[Death]:
    """Return a future that resolves when the actor ends, or at once if it has. Thread-safe.

    A restart is not an end: a supervised actor ends when it is stopped, shut down or given up.

    Args:
        ref: an agent, a supervisor, a pool, or any `AsyncioActor`.

    Returns:
        The future, which is resolved exactly once; `cancel` it to watch no more. To receive the
        death as a message, an actor adds a callback:
        `watch(ref).add_done_callback(lambda future: me.tell(future.get()))`.

    Raises:
        InvalidArgument: the argument is not such a ref.
        ForkedProcessError: this process is a forked child of the actor's.
    """
    lifeline = getattr(ref, "actor_stopped", None)
    if not isinstance(lifeline, Lifeline):
        raise InvalidArgument(f"ref must be the ref of an actor, got {shown(ref)}")
    future: ReplyFuture[Death] = ReplyFuture()

    def resolve_future(reason: DeathReason, cause: BaseException | None) -> None:
        resolve(future, Death(ref, reason, cause))

    lifeline.add_watcher(resolve_future)
    if not future.done():
        future.add_done_callback(lambda _: lifeline.remove_watcher(resolve_future))
    return future
