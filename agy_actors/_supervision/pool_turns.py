"""Assigns the turns of a pool to queues, and answers those that no member answers.

A part of `pool_logic`.

Guarantee: a turn is removed from `PoolState.turns` once, when it is answered: by a member's
reply, by its asker's cancellation, or by one action of this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._actors.errors import DeadlockError
from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision.pool_state import Broadcast, PoolPhase, SlotPhase, Turn
from agy_actors._supervision.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agy_actors._supervision.pool_state import PoolState, Slot

__all__ = ["MAX_MOVES", "Turns"]

MAX_MOVES = 3
"""How many members may end with a turn before its asker gets their error, because the turn may be
the cause. The same as the default attempts of a `RetryPolicy`."""

_MAX_FAILED_STARTS = 3
"""How many consecutive failed starts of a slot end the wait of turns that only this slot can take.
Arbitrary: one failure may be chance, and the backoffs between three give a shortage time to end."""


class Turns:
    """The turns of a pool.

    Args:
        pool: the pool.
        actions: the actions that follow are appended to it.
    """

    def __init__(self, pool: PoolState, actions: list[steps.Action]) -> None:
        self.pool = pool
        self.actions = actions

    def accept(self, turn: Turn) -> None:
        self.pool.turns[turn] = None
        self.route(turn)

    def route(self, turn: Turn, *, first: bool = False) -> None:
        """Assign a turn to a queue from which a member will take it."""
        pool = self.pool
        if pool.phase is PoolPhase.ENDED:
            self.reject([turn])
        elif pool.routing is Routing.SHORTEST_QUEUE:
            if not self.check_for_deadlock(turn, pool.slots.values()):
                pool.enqueue(turn, None, first=first)
        elif not (slots := pool.routable_slots()):
            pool.enqueue(turn, None, first=first)
        elif pool.routing is Routing.BROADCAST:
            self._broadcast(turn, slots)
        else:
            self._choose(turn, slots, first=first)

    def _choose(self, turn: Turn, slots: list[Slot], *, first: bool) -> None:
        pool = self.pool
        if pool.routing is not Routing.CONSISTENT_HASH:
            slots = [slot for slot in slots if slot.member not in turn.waited_for_by]
            if not slots and not self.check_for_deadlock(turn, pool.slots.values()):
                pool.enqueue(turn, None, first=first)
        number = pool.router.choose(pool.loads(slots), turn.key)
        if number is None:
            return
        chosen = pool.slots[number]
        if not self.check_for_deadlock(turn, [chosen]):
            pool.enqueue(turn, chosen, first=first)

    def route_all(self, turns: Iterable[Turn]) -> None:
        for turn in turns:
            if turn.is_part:
                self._move_part(turn, None)
            else:
                self.route(turn)

    def check_for_deadlock(self, turn: Turn, slots: Iterable[Slot]) -> bool:
        """If no slot can take a turn, because members wait for it or do not start, answer it."""
        if not turn.waited_for_by or turn not in self.pool.turns:
            return False
        barred = False
        for slot in slots:
            if slot.member in turn.waited_for_by:
                barred = True
            elif slot.routable or slot.failed_starts < _MAX_FAILED_STARTS:
                return False
        if not barred:
            return False
        self.pool.dequeue(turn)
        self._fail_deadlock(turn)
        return True

    def check_nested(self) -> None:
        """Answer the waiting turns that no slot can take."""
        slots = self.pool.slots.values()
        for turn in [t for t in self.pool.turns if t.waited_for_by and t.queue is not None]:
            self.check_for_deadlock(turn, slots)

    def _fail_deadlock(self, turn: Turn) -> None:
        self._fail(
            turn,
            DeadlockError(
                f"pool {self.pool.name!r} cannot take this turn: each of its members waits for"
                " this turn's reply, or does not start; add members, or do not ask the pool from"
                " inside its own turns"
            ),
        )

    def finished(self, event: steps.Finished) -> None:
        if not event.runs_on:
            self.pool.free_member(event.member, event.now)
        turn = event.turn
        if turn.is_part:
            self._finish_part(turn, event.reply, event.error)
        else:
            self.pool.turns.pop(turn, None)

    def lost(self, event: steps.Lost) -> None:
        if event.for_good:
            self.pool.close_member(event.member)
        else:
            self.pool.free_member(event.member)
        turn = event.turn
        if self.pool.phase is PoolPhase.ENDED:
            self.reject([turn if turn.broadcast is None else turn.broadcast.turn])
        elif not event.movable or turn.moves >= MAX_MOVES:
            self._fail(turn, event.error)
        else:
            turn.moves += 1
            self._route_again(turn)

    def refused(self, event: steps.Refused) -> None:
        self.pool.close_member(event.member)
        self._route_again(event.turn)

    def _route_again(self, turn: Turn) -> None:
        """Assign the turn of a member that ended to the next member that can take it."""
        slot = turn.slot
        if slot is None:
            if turn in self.pool.turns:
                self.route(turn, first=True)
        elif self._is_over(turn):
            return
        elif slot.leaving and slot.phase in (SlotPhase.ENDING, SlotPhase.WAITING):
            self.fail_parts(slot, None, turn)
        else:
            self.pool.enqueue(turn, slot, first=True)

    def _fail(self, turn: Turn, error: BaseException) -> None:
        """Answer a turn with an error, or note the error of a part."""
        if turn.is_part:
            self._finish_part(turn, None, error)
        elif turn in self.pool.turns:
            del self.pool.turns[turn]
            self.actions.append(steps.FailTurn(turn, error))

    def reject(self, turns: Iterable[Turn]) -> None:
        """Answer turns with the error of the pool's end."""
        for turn in turns:
            if turn in self.pool.turns:
                self._forget(turn)
                self.actions.append(steps.RejectTurn(turn))

    def overdue(self, turn: Turn, error: BaseException) -> None:
        if turn.queue is not None:  # Otherwise a member has it, and ends it in time.
            self.pool.dequeue(turn)
            self._fail(turn, error)

    def cancelled(self, turn: Turn) -> None:
        if turn not in self.pool.turns:
            return
        broadcast = turn.broadcast
        if broadcast is not None:
            running = [part for part in broadcast.parts if self._is_running(part)]
            self.actions += [steps.CancelTurn(part) for part in running]
        self._forget(turn)

    def _forget(self, turn: Turn) -> None:
        """Remove a turn and its parts from all queues."""
        del self.pool.turns[turn]
        self.pool.dequeue(turn)
        for part in () if turn.broadcast is None else turn.broadcast.parts:
            self.pool.dequeue(part)
            if part.slot is not None:
                self.pool.touch(part.slot)

    # Broadcasts.

    def _broadcast(self, turn: Turn, slots: list[Slot]) -> None:
        if any(slot.member in turn.waited_for_by for slot in slots):
            self._fail_deadlock(turn)
            return
        turn.broadcast = Broadcast(turn, [])
        for slot in slots:
            part = Turn(turn.work, waited_for_by=turn.waited_for_by)
            part.broadcast, part.slot = turn.broadcast, slot
            turn.broadcast.parts.append(part)
            self.pool.enqueue(part, slot)

    def _is_over(self, part: Turn) -> bool:
        """Return whether a part's broadcast was answered or cancelled."""
        broadcast = part.broadcast
        return broadcast is None or broadcast.turn not in self.pool.turns

    def _is_running(self, part: Turn) -> bool:
        broadcast = part.broadcast
        assert broadcast is not None
        replied = part in broadcast.replies or part in broadcast.errors
        return part.queue is None and not replied

    def _finish_part(self, part: Turn, reply: object, error: BaseException | None) -> None:
        broadcast = part.broadcast
        assert broadcast is not None
        if self._is_over(part) or not self._is_running(part):
            return
        if error is None:
            broadcast.replies[part] = reply
        else:
            broadcast.errors[part] = error
        if not broadcast.done:
            return
        del self.pool.turns[broadcast.turn]
        first = broadcast.first_error()
        if first is None:
            replies = [broadcast.replies[part] for part in broadcast.parts]
            self.actions.append(steps.Answer(broadcast.turn, replies))
        else:
            self.actions.append(steps.FailTurn(broadcast.turn, first))

    def _move_part(self, part: Turn, error: Exception | None) -> None:
        """Keep a part in its slot, whose member did not start, for a limited number of times."""
        part.moves += 1
        assert part.slot is not None
        if part.moves > MAX_MOVES:
            self.fail_parts(part.slot, error, part)
        else:
            self.pool.enqueue(part, part.slot)

    def fail_parts(self, slot: Slot, error: Exception | None, *parts: Turn) -> None:
        """Answer the parts that wait for a slot that gets no further member."""
        for part in parts or [turn for turn in slot.queue if turn.is_part]:
            self.pool.dequeue(part)
            why = self.pool.dead_error(
                f"a member of pool {self.pool.name!r} ended before it had its part of a broadcast"
            )
            why.__cause__ = error
            self._finish_part(part, None, why)
