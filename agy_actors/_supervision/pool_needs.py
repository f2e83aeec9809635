"""The needs of a pool's turns, to detect deadlocks: see `deadlock`.

A member whose current turn can end can take a turn that waits in the pool. So the turn's reply can
come if any of the members that may take the turn can continue; if the turn waits in a slot's queue,
if that slot's member can.

The functions are called on any thread, and read the pool's state without a lock. The state may have
changed already. That does no harm: an action of the pool does not end the wait of a member, and
when a turn moves to another queue, the pool has it checked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._actors.deadlock import CAN_COME, AnyOf, waits_of
from agy_actors._supervision.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.message import Message
    from agy_actors._supervision.pool_state import PoolState, Slot, Turn

    FindMember = Callable[[str], AsyncioActorRef | None]

__all__ = ["need_of_any", "need_of_turn"]


def need_of_turn(pool: PoolState, turn: Turn, find: FindMember, a_turn: Message[Any]) -> Need:
    """Return the need of a turn that waits for a member.

    Args:
        pool: the state of the pool.
        turn: the turn.
        find: returns the ref of a member.
        a_turn: an example of a message for members.
    """
    queue: Any = turn.queue
    if queue is None:
        return CAN_COME  # It is being delivered, and will be checked again.
    for slot in list(pool.slots.values()):
        if slot.queue is queue:
            return _need_of_slot(slot, find, a_turn)
    return need_of_any(pool, find, a_turn)


def need_of_any(pool: PoolState, find: FindMember, a_turn: Message[Any]) -> Need:
    """Return the need of a turn that is not taken up, or that any member may take."""
    if pool.routing is not Routing.SHORTEST_QUEUE:
        return CAN_COME  # It will be assigned to a slot, and checked again.
    slots = list(pool.slots.values())
    if not slots or len(slots) < (pool.max_size or 0):
        return CAN_COME  # A member will come.
    return AnyOf(tuple(_need_of_slot(slot, find, a_turn) for slot in slots))


def _need_of_slot(slot: Slot, find: FindMember, a_turn: Message[Any]) -> Need:
    name = slot.member
    member = None if name is None else find(name)
    return CAN_COME if member is None else waits_of(member.actor_urn, a_turn, None)
