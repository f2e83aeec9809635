"""The state of a pool: its slots, its turns, and the queues in which turns wait.

`PoolState` holds the data and its indexes; `pool_logic` decides what follows from them. This module
has no effects, reads no clock and knows no threads.

A slot is a place for one member. It exists only with a member or with a scheduled start of one.
A slot that leaves the pool releases its number at once, and is kept in `leaving` until its member
has ended.
"""

from __future__ import annotations

import dataclasses
import enum
import heapq
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from agy_actors._actors.errors import ActorDeadError
from agy_actors._supervision.errors import ActorStartError
from agy_actors._supervision.restart_policy import Limits
from agy_actors._supervision.routing import Load, Router, Routing

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

__all__ = ["AHEAD", "Broadcast", "PoolPhase", "PoolState", "Slot", "SlotPhase", "Turn"]

AHEAD = 16
"""How many turns may wait for each slot before the pool stops taking turns from the mailbox.
Arbitrary: enough that a slow member does not at once hold up the other members."""


class PoolPhase(enum.Enum):
    """The phase of a pool."""

    STARTING = "starting"
    """Not all first members have been ready yet. A failed start ends the pool."""

    UP = "up"

    DRAINING = "draining"
    """It ends when its turns are answered; it starts no further member."""

    ENDED = "ended"
    """No member gets a further turn."""


class SlotPhase(enum.Enum):
    """The phase of a slot's member."""

    WAITING = "waiting"
    """There is no member; a start of one is scheduled."""

    STARTING = "starting"
    """The member starts or restarts."""

    UP = "up"

    ENDING = "ending"
    """The member takes no further turn; its end will be reported."""


@dataclasses.dataclass(eq=False, slots=True)
class Turn:
    """A turn that the pool accepted, or one member's part of a broadcast."""

    work: Any = None
    """The data that the actor needs to carry it out. This module does not use it."""

    key: str | None = None
    """Its subject, for `CONSISTENT_HASH`."""

    waited_for_by: frozenset[str] = frozenset()
    """The members that wait for its reply, and therefore cannot take it."""

    moves: int = 0
    """How many members have ended while they had it."""

    queue: OrderedDict[Turn, None] | None = dataclasses.field(default=None, repr=False)
    """The queue in which it waits; `None` if it does not wait."""

    broadcast: Broadcast | None = dataclasses.field(default=None, repr=False)
    """The broadcast that it belongs to, as the whole turn or as a part."""

    slot: Slot | None = dataclasses.field(default=None, repr=False)
    """For a part of a broadcast: the slot whose member gets it."""

    @property
    def is_part(self) -> bool:
        """Whether it is one member's part of a broadcast."""
        return self.slot is not None

    @property
    def waits(self) -> bool:
        """Whether it, or one of its parts, waits for a member."""
        if self.broadcast is None or self.is_part:
            return self.queue is not None
        return any(part.queue is not None for part in (self, *self.broadcast.parts))


@dataclasses.dataclass(eq=False, slots=True)
class Broadcast:
    """A turn that all members get."""

    turn: Turn
    """The turn that the asker waits for."""

    parts: list[Turn]
    """One part for each slot, in the order of the slots."""

    replies: dict[Turn, Any] = dataclasses.field(default_factory=dict)
    errors: dict[Turn, BaseException] = dataclasses.field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether each part has a reply or an error."""
        return len(self.replies) + len(self.errors) == len(self.parts)

    def first_error(self) -> BaseException | None:
        """Return the error of the first slot that has one."""
        return next((self.errors[part] for part in self.parts if part in self.errors), None)


@dataclasses.dataclass(eq=False, slots=True)
class Slot:
    """A place for one member."""

    number: int
    """Identifies it for the routing. A replacement of its member keeps the number."""

    idle_since: float
    phase: SlotPhase = SlotPhase.WAITING
    member: str | None = None
    member_was_up: bool = False
    ever_up: bool = False
    """Whether one of its members was ever ready."""

    routable: bool = False
    """Whether turns may be queued for it: after a member was ready, until a start fails."""

    busy: bool = False
    leaving: bool = False
    queue: OrderedDict[Turn, None] = dataclasses.field(default_factory=OrderedDict)
    """The turns that wait for this slot only."""

    replacements: tuple[float, ...] = ()
    """When its members were replaced; oldest first."""

    ends: tuple[float, ...] = ()
    """The replacements that were not caused by a turn."""

    failed_starts: int = 0
    """Consecutive starts that failed."""

    token: int | None = None
    """The token of the start that is scheduled."""

    def __repr__(self) -> str:
        words = [f"{self.number}:", self.member or "no member", self.phase.value]
        words += [word for word in ("busy", "leaving") if getattr(self, word)]
        if self.queue:
            words.append(f"{len(self.queue)} queued")
        return f"<Slot {' '.join(words)}>"

    @property
    def is_free(self) -> bool:
        """Whether its member can take a turn now."""
        return self.phase is SlotPhase.UP and not self.busy

    @property
    def is_idle(self) -> bool:
        """Whether it has no turn, and no turn waits for it."""
        return not self.busy and not self.queue


class PoolState:
    """The state of a pool.

    Args:
        name: its name, from which the names of its members are made.
        size: the number of members; the minimum, if the pool scales.
        routing: how it chooses the member for a turn.
        router: chooses members by that routing.
        limits: how many replacements of a member are allowed within which time.
        max_size: the maximum number of members; `None` does not scale.
        shrink_after: seconds after which an idle member is removed, if the pool scales.
        dead_error: the type of the error for turns that the pool's or a member's end interrupts.
        start_error: the type of the error for requests whose new member does not start.
    """

    def __init__(
        self,
        name: str,
        *,
        size: int,
        routing: Routing = Routing.SHORTEST_QUEUE,
        router: Router | None = None,
        limits: Limits | None = None,
        max_size: int | None = None,
        shrink_after: float = 30.0,
        dead_error: type[ActorDeadError] = ActorDeadError,
        start_error: type[ActorStartError] = ActorStartError,
    ) -> None:
        self.name = name
        self.dead_error = dead_error
        self.start_error = start_error
        self.routing = routing
        self.router = router or Router(routing)
        self.limits = limits or Limits()
        self.least = self.wanted = size
        self.max_size = max_size
        self.shrink_after = shrink_after
        self.phase = PoolPhase.STARTING
        self.slots: dict[int, Slot] = {}
        """The slots by number."""
        self.leaving: dict[str, Slot] = {}
        """The slots that have left the pool, by the name of the member that has not ended yet."""
        self.by_member: dict[str, Slot] = {}
        self.turns: dict[Turn, None] = {}
        """All accepted turns without an answer. It does not contain the parts of broadcasts."""
        self.unassigned: OrderedDict[Turn, None] = OrderedDict()
        """The turns that any member may take, or that wait until a slot is routable."""
        self.queued = 0
        """How many turns and parts wait, over all queues."""
        self.growths: dict[Hashable, set[Slot]] = {}
        """For each request that waits for new members: the slots that are not ready yet."""
        self.replaced = 0
        self.lane_open = False
        self.touched: dict[Slot, None] = {}
        """Slots that changed since the last decision."""
        self._free: list[int] = []
        """A heap of the numbers of free slots. Some may no longer be free."""
        self._noted_free: set[int] = set()
        """The numbers in the heap."""
        self._spare_numbers: list[int] = []
        self._numbers_made = 0
        self._members_made = 0
        self._tokens_made = 0

    def __repr__(self) -> str:
        return (
            f"<PoolState {self.name!r} {self.phase.value}: {list(self.slots.values())}"
            f" of {self.wanted} wanted, {len(self.leaving)} leaving, {len(self.turns)} turns,"
            f" {len(self.unassigned)} unassigned, {len(self.growths)} growths,"
            f" lane {'open' if self.lane_open else 'shut'}>"
        )

    # Slots.

    def add_slot(self, now: float) -> Slot:
        """Add a slot with the lowest free number."""
        if self._spare_numbers:
            number = heapq.heappop(self._spare_numbers)
        else:
            number = self._numbers_made
            self._numbers_made += 1
        slot = self.slots[number] = Slot(number, now)
        return slot

    def remove_slot(self, slot: Slot) -> None:
        """Remove a slot from the pool. If it has a member, it is kept in `leaving`."""
        del self.slots[slot.number]
        heapq.heappush(self._spare_numbers, slot.number)
        slot.leaving = True
        slot.routable = False
        slot.token = None
        if slot.member is not None:
            self.leaving[slot.member] = slot
            self.touch(slot)

    def new_member(self, slot: Slot) -> str:
        """Give a slot a new member, which starts, and return the member's name."""
        self._members_made += 1
        slot.member = f"{self.name}-{self._members_made}"
        slot.phase = SlotPhase.STARTING
        slot.member_was_up = False
        slot.token = None
        self.by_member[slot.member] = slot
        return slot.member

    def forget_member(self, member: str) -> Slot | None:
        """Remove a member from its slot, and return the slot."""
        slot = self.by_member.pop(member, None)
        if slot is not None:
            slot.member = None
            slot.phase = SlotPhase.WAITING
            slot.busy = False
            self.leaving.pop(member, None)
        return slot

    def new_token(self) -> int:
        """Return a number that no scheduled start has."""
        self._tokens_made += 1
        return self._tokens_made

    def touch(self, slot: Slot) -> None:
        """Note that a slot has changed since the last decision."""
        self.touched[slot] = None
        if slot.is_free and not slot.leaving and self.routing is Routing.SHORTEST_QUEUE:
            self._note_free(slot.number)

    def free_member(self, member: str, now: float | None = None) -> None:
        """Note that a member has finished its turn."""
        slot = self.by_member.get(member)
        if slot is not None:
            slot.busy = False
            slot.idle_since = slot.idle_since if now is None else now
            self.touch(slot)

    def close_member(self, member: str) -> None:
        """Note that a member takes no further turn; its end will be reported."""
        slot = self.by_member.get(member)
        if slot is not None:
            slot.busy = False
            slot.phase = SlotPhase.ENDING

    def routable_slots(self) -> list[Slot]:
        """Return the slots that turns may be queued for, in the order of their numbers."""
        return [self.slots[number] for number in sorted(self.slots) if self.slots[number].routable]

    def loads(self, slots: Iterable[Slot]) -> list[Load]:
        """Return how busy slots are, for the router."""
        up = SlotPhase.UP
        return [Load(slot.number, len(slot.queue) + slot.busy, slot.phase is up) for slot in slots]

    def has_free(self) -> bool:
        """Return whether any member can take a turn that waits for no slot."""
        while self._free:
            slot = self.slots.get(self._free[0])
            if slot is not None and slot.is_free:
                return True
            self._pop_free()
        return False

    def take_free(self, barred: frozenset[str]) -> Slot | None:
        """Return the free slot with the lowest number whose member is not barred."""
        passed = []
        found = None
        while self.has_free():
            slot = self.slots[self._pop_free()]
            if slot.member not in barred:
                found = slot
                break
            passed.append(slot.number)
        for number in passed:
            self._note_free(number)
        return found

    def _note_free(self, number: int) -> None:
        if number not in self._noted_free:
            self._noted_free.add(number)
            heapq.heappush(self._free, number)

    def _pop_free(self) -> int:
        number = heapq.heappop(self._free)
        self._noted_free.discard(number)
        return number

    def recent_replacements(self, now: float) -> int:
        """Return how many members were replaced within the window, unless a turn caused it."""
        since = now - self.limits.within
        return sum(sum(time > since for time in slot.ends) for slot in self.slots.values())

    # Queues.

    def enqueue(self, turn: Turn, slot: Slot | None, *, first: bool = False) -> None:
        """Add a turn to the queue of a slot, or to the turns for any slot."""
        queue = self.unassigned if slot is None else slot.queue
        queue[turn] = None
        if first:
            queue.move_to_end(turn, last=False)
        turn.queue = queue
        self.queued += 1
        if slot is not None:
            self.touch(slot)

    def dequeue(self, turn: Turn) -> None:
        """Remove a turn from its queue, if it waits."""
        if turn.queue is not None:
            del turn.queue[turn]
            turn.queue = None
            self.queued -= 1

    def take_all(self, queue: OrderedDict[Turn, None]) -> list[Turn]:
        """Remove all turns from a queue, and return them in order."""
        turns = list(queue)
        for turn in turns:
            self.dequeue(turn)
        return turns

    @property
    def has_room(self) -> bool:
        """Whether another turn should be taken from the mailbox."""
        if self.routing is Routing.SHORTEST_QUEUE:
            return not self.unassigned and self.has_free()
        return self.queued < AHEAD * len(self.slots)
