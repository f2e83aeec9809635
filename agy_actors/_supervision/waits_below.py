"""Finds the waits that prevent the children of a supervisor from ending, to detect deadlocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pykka
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._actors.call_chain import Scope
from agy_actors._actors.deadlock import AllOf, all_waits
from agy_actors._actors.message import Message

if TYPE_CHECKING:
    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.call_chain import CallingActor

__all__ = ["waits_below"]


def waits_below(owner: str, wanted: str | AsyncioActorRef | None, *, drains: bool) -> AllOf:
    """Return the waits that prevent the actors below a supervisor or a pool from ending.

    Args:
        owner: the URN of a supervisor or a pool.
        wanted: the child to end with all below it, by name or ref; `None` for all.
        drains: whether the actors may finish their messages. Else they end as with any message of
            the control lane, which also cancels a start.
    """
    message = _ActorStop() if drains else Message[None]()
    return AllOf(
        tuple(
            wait
            for wait in all_waits()
            if _is_below(wait.activity.actor, owner, wanted)
            and (drains or wait.activity.scope is not Scope.START)
            and wait.activity.holds_up(message, None)
        )
    )


def _is_below(actor: CallingActor, owner: str, wanted: str | AsyncioActorRef | None) -> bool:
    owners = actor._owner_urns  # noqa: SLF001 (a supervisor has set them)
    if owner not in owners:
        return False
    if wanted is None:
        return True
    line = (*owners, actor.actor_urn)
    child = line[line.index(owner) + 1]
    if isinstance(wanted, str):
        return getattr(pykka.ActorRegistry.get_by_urn(child), "_child_name", None) == wanted
    return child == wanted.actor_urn
