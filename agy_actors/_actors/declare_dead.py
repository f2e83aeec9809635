"""`declare_dead`: an owner ends an actor for good while none of its incarnations runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._actors import registry
from agy_actors._actors.future_owner import fail, resolve
from agy_actors._actors.lifeline import DeathReason

if TYPE_CHECKING:
    import pykka

    from agy_actors._actors.actor_ref import AsyncioActorRef

__all__ = ["declare_dead"]


def declare_dead(
    ref: AsyncioActorRef, error: Exception, reason: DeathReason = DeathReason.STOPPED
) -> list[object]:
    """Declare an actor dead while none of its incarnations runs. For its owner.

    Args:
        ref: the actor.
        error: the error for unanswered and for later asks.
        reason: the reason that watchers get; ignored if the actor was declared dead before.

    Returns:
        The told messages that will not be handled.
    """
    if not ref.actor_stopped.is_set():
        registry.unregister(ref)
        ref.actor_stopped.set()
    dead_letters = []
    for envelope in ref.actor_inbox.close(lambda: _copy(error)):
        reply_to: pykka.Future[Any] | None = envelope.reply_to
        if isinstance(envelope.message, _ActorStop):
            resolve(reply_to, None)
        elif reply_to is not None:
            fail(reply_to, _copy(error))
        else:
            dead_letters.append(envelope.message)
    ref.actor_stopped.die(reason, error if reason is DeathReason.GIVEN_UP else None)
    return dead_letters


def _copy(error: Exception) -> Exception:
    """Make a new error: threads must not share an exception object."""
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
