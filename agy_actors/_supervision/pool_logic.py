"""The decisions of a pool: one pure function over its whole state, called after each change.

It applies an event to the state, then checks the state as a whole and returns the necessary
actions. It has no effects, reads no clock and knows no threads: the events contain the time, and
the results of the actions are reported as the next events.

Guarantees, for any order of events:

*   Each accepted turn is answered once: by a member, or by an action here. It is in
    `PoolState.turns` from `Accepted` until then.
*   The number of slots is the wanted one, and each slot has a member or a scheduled start.
    A start that fails is scheduled again, with the same backoff.
*   A turn waits only for a slot whose members start. If a start fails, the turns of the slot go to
    other slots, and may return to it when a member is ready. A turn that no other member can take,
    because they wait for it, gets a `DeadlockError` after a few failed starts.

The cost of an event does not depend on the number of waiting turns. It depends on the number of
members only if a routing compares all of them, or if members are added or removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision.pool_state import PoolPhase, SlotPhase
from agy_actors._supervision.pool_turns import Turns
from agy_actors._supervision.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Hashable

    from agy_actors._supervision.pool_state import PoolState, Slot, Turn

__all__ = ["decide"]

_GROWTH_PAUSE = 0.1
"""The least seconds between attempts to grow. No restart intensity limits them, and a backoff may
be 0. Arbitrary: as often as a pool that scales checks its waiting turns."""

_FIRST_MEMBERS = object()
"""The request for the first members of a pool."""

_LAST_PHASES = (PoolPhase.DRAINING, PoolPhase.ENDED)
"""The phases in which no member is started."""


def decide(pool: PoolState, event: steps.Event) -> list[steps.Action]:
    """Change the state by an event, and return the actions that follow, in their order."""
    change = _Change(pool)
    change.take(event)
    change.proceed()
    return change.actions


class _Change:
    """One event, and the actions that follow from it."""

    def __init__(self, pool: PoolState) -> None:
        self.pool = pool
        self.actions: list[steps.Action] = []
        self.turns = Turns(pool, self.actions)

    # The event.

    def take(self, event: steps.Event) -> None:
        match event:
            case steps.Began(now):
                self._begin(now)
            case steps.MemberReady(member, now):
                self._became_ready(member, now)
            case steps.MemberDown(member):
                self._went_down(member)
            case steps.MemberEnded(member, error, now, by_turn):
                self._member_ended(member, error, now, by_turn=by_turn)
            case steps.BackoffOver(number, token):
                self._start_late(number, token)
            case steps.Resized():
                self._resized(event)
            case steps.ResizeAbandoned(request):
                self.pool.growths.pop(request, None)
            case steps.Tick(waiting, now):
                self._scale(waiting, now)
            case steps.Ending() | steps.Ended():
                self._end(event)
            case _:
                self._take_turn(event)

    def _take_turn(self, event: steps.TurnEvent) -> None:
        match event:
            case steps.Accepted(turn):
                self.turns.accept(turn)
            case steps.Finished():
                self.turns.finished(event)
            case steps.Freed(member, now):
                self.pool.free_member(member, now)
            case steps.Lost():
                self.turns.lost(event)
            case steps.Refused():
                self.turns.refused(event)
            case steps.Cancelled(turn):
                self.turns.cancelled(turn)
            case steps.Overdue(turn, error):
                self.turns.overdue(turn, error)

    # The actions.

    def proceed(self) -> None:
        """Add the actions that the whole state requires."""
        pool = self.pool
        # 1. A pool that drains, and has no member left, has ended.
        if pool.phase is PoolPhase.DRAINING and not pool.slots:
            pool.phase = PoolPhase.ENDED
        # 2. A pool that ends does not grow, and a pool that has ended gives no turns to members.
        if pool.phase in _LAST_PHASES:
            for request in list(pool.growths):
                self._answer_resize(request, pool.dead_error(f"pool {pool.name!r} is ending"))
        if pool.phase is PoolPhase.ENDED:
            self.turns.reject([turn for turn in pool.turns if turn.waits])
        # 3. Each slot that changed gives its member the next turn, or ends it.
        touched, pool.touched = pool.touched, {}
        for slot in touched:
            if slot.is_free and slot.queue:
                self._hand_over(next(iter(slot.queue)), slot)
            elif slot.leaving and not slot.busy and not slot.queue:
                self._end_member(slot)
        # 4. The turns that any member may take go to the free members.
        if pool.routing is Routing.SHORTEST_QUEUE:
            self._hand_out()
        # 5. The pool takes more from its mailbox while it has room.
        is_open = pool.phase in (PoolPhase.UP, PoolPhase.DRAINING) and pool.has_room
        if is_open is not pool.lane_open:
            pool.lane_open = is_open
            self.actions.append(steps.SetLane(is_open))

    def _hand_out(self) -> None:
        pool = self.pool
        placed = []
        for turn in pool.unassigned:
            slot = pool.take_free(turn.waited_for_by)
            if slot is not None:
                slot.busy = True  # So that no other turn gets it.
                placed.append((turn, slot))
            elif not pool.has_free():
                break
        for turn, slot in placed:
            self._hand_over(turn, slot)

    def _hand_over(self, turn: Turn, slot: Slot) -> None:
        assert slot.member is not None
        self.pool.dequeue(turn)
        slot.busy = True
        self.actions.append(steps.HandOver(turn, slot.member))

    def _end_member(self, slot: Slot) -> None:
        if slot.member is not None and slot.phase is not SlotPhase.ENDING:
            slot.phase = SlotPhase.ENDING
            self.actions.append(steps.EndMember(slot.member))

    # Members.

    def _begin(self, now: float) -> None:
        self._grow(now)
        self.pool.growths[_FIRST_MEMBERS] = set(self.pool.slots.values())

    def _start_late(self, number: int, token: int) -> None:
        slot = self.pool.slots.get(number)
        if slot is not None and slot.token == token:
            self.actions.append(steps.StartMember(self.pool.new_member(slot)))

    def _went_down(self, member: str) -> None:
        slot = self.pool.by_member.get(member)
        if slot is not None and slot.phase is SlotPhase.UP:
            slot.phase = SlotPhase.STARTING

    def _became_ready(self, member: str, now: float) -> None:
        pool = self.pool
        slot = pool.by_member.get(member)
        if slot is None or slot.phase is SlotPhase.ENDING:
            return
        slot.phase = SlotPhase.UP
        slot.member_was_up = slot.ever_up = True
        slot.failed_starts = 0
        slot.idle_since = now
        pool.touch(slot)
        if slot.leaving:
            return
        if not slot.routable:
            slot.routable = True
            if pool.routing is not Routing.SHORTEST_QUEUE:
                self.turns.route_all(pool.take_all(pool.unassigned))
        self._answer_resizes_of(slot)

    def _member_ended(
        self, member: str, error: Exception | None, now: float, *, by_turn: bool
    ) -> None:
        pool = self.pool
        was_up = member in pool.by_member and pool.by_member[member].member_was_up
        slot = pool.forget_member(member)
        if slot is None:
            return
        if slot.leaving:
            self.turns.fail_parts(slot, error)
        elif pool.phase in _LAST_PHASES:
            self._leave(slot)
        else:
            self._replace(slot, error, now, started=was_up, by_turn=by_turn)

    def _replace(
        self, slot: Slot, error: Exception | None, now: float, *, started: bool, by_turn: bool
    ) -> None:
        """Schedule the start of another member, after one that ended or did not start.

        A turn that crashed a member does not count towards the end of the pool: other askers still
        need the pool, and each such turn crashes at most two members.
        """
        pool = self.pool
        slot.failed_starts += not started
        failures, pause = len(slot.replacements), 0.0
        if slot.ever_up:
            pool.replaced += 1
            since = now - pool.limits.within
            slot.replacements = (*(t for t in slot.replacements if t > since), now)
            failures = len(slot.replacements)
            if not by_turn:
                slot.ends = (*(t for t in slot.ends if t > since), now)
            recent = pool.recent_replacements(now)
            allowed = max(1, pool.limits.max_restarts) * len(pool.slots)
            if recent > allowed:
                self._fail_pool(
                    f"{recent} members had to be replaced within {pool.limits.within:g} s,"
                    f" {allowed} are allowed; last cause: {error}"
                )
                return
        else:
            failures, pause = slot.failed_starts, _GROWTH_PAUSE
            if not self._growth_failed(slot, error):
                return
        if not started:
            slot.routable = False
            self.turns.route_all(pool.take_all(slot.queue))
            self.turns.check_nested()
        slot.token = pool.new_token()
        self.actions.append(steps.DelayStart(slot.number, slot.token, failures, pause))

    def _growth_failed(self, slot: Slot, error: Exception | None) -> bool:
        """Answer the requests that wait for the slot, and return whether the pool continues."""
        if error is None:
            error = self.pool.start_error(
                f"a member of pool {self.pool.name!r} was ended while it started"
            )
        for request in [r for r, slots in self.pool.growths.items() if slot in slots]:
            if request is _FIRST_MEMBERS:
                self._fail_pool(error)
                return False
            self._answer_resize(request, error)
        return True

    def _fail_pool(self, why: str | Exception) -> None:
        self.pool.phase = PoolPhase.ENDED
        self.actions.append(steps.FailPool(why))

    # Size.

    def _grow(self, now: float) -> None:
        pool = self.pool
        while len(pool.slots) < pool.wanted:
            slot = pool.add_slot(now)
            self.actions.append(steps.StartMember(pool.new_member(slot)))

    def _resized(self, event: steps.Resized) -> None:
        pool = self.pool
        if pool.phase in _LAST_PHASES:
            pool.growths[event.request] = set()
            return
        pool.least = pool.wanted = event.size
        self._grow(event.now)
        excess = len(pool.slots) - pool.wanted
        for slot in sorted(pool.slots.values(), key=_first_to_leave)[: max(0, excess)]:
            self._leave(slot)
        new = {slot for slot in pool.slots.values() if not slot.ever_up}
        pool.growths[event.request] = new
        if not new:
            self._answer_resize(event.request, None)

    def _scale(self, waiting: int, now: float) -> None:
        """Add a member while no fewer turns wait than it has members; remove an idle one."""
        pool = self.pool
        if pool.phase is not PoolPhase.UP or pool.max_size is None:
            return
        size = len(pool.slots)
        if size < pool.max_size and waiting + pool.queued >= size:
            if all(slot.ever_up for slot in pool.slots.values()):  # One at a time.
                pool.wanted += 1
                self._grow(now)
            return
        since = now - pool.shrink_after
        idle = [s for s in pool.slots.values() if s.is_idle and s.idle_since <= since]
        if idle and size > pool.least:
            pool.wanted -= 1
            never_up = [slot for slot in pool.slots.values() if not slot.ever_up]
            self._leave(min(idle + never_up, key=_first_to_leave))

    def _leave(self, slot: Slot) -> None:
        """Remove a slot from the pool; its waiting turns go to other slots."""
        pool = self.pool
        pool.remove_slot(slot)
        self._answer_resizes_of(slot)
        if slot.member is None:
            self.turns.fail_parts(slot, None)
        turns = [turn for turn in slot.queue if not turn.is_part]
        for turn in turns:
            pool.dequeue(turn)
        self.turns.route_all(turns)
        self.turns.check_nested()

    def _answer_resizes_of(self, slot: Slot) -> None:
        """Note that no resize waits for a slot any longer."""
        for request, slots in list(self.pool.growths.items()):
            slots.discard(slot)
            if not slots:
                self._answer_resize(request, None)

    def _answer_resize(self, request: Hashable, error: Exception | None) -> None:
        del self.pool.growths[request]
        if request is not _FIRST_MEMBERS:
            self.actions.append(steps.AnswerResize(request, error))
        elif error is None and self.pool.phase is PoolPhase.STARTING:
            self.pool.phase = PoolPhase.UP
            self.actions.append(steps.Ready())

    # Ending.

    def _end(self, event: steps.Ending | steps.Ended) -> None:
        pool = self.pool
        if isinstance(event, steps.Ended):
            pool.phase = PoolPhase.ENDED
            self.turns.reject(list(pool.turns))
        elif not event.drain:
            pool.phase = PoolPhase.ENDED
        elif pool.phase is not PoolPhase.ENDED:
            pool.phase = PoolPhase.DRAINING
            for slot in [slot for slot in pool.slots.values() if slot.member is None]:
                self._leave(slot)


def _first_to_leave(slot: Slot) -> tuple[bool, int]:
    """Order slots: those whose members never started, then the latest numbers."""
    return slot.ever_up, -slot.number
