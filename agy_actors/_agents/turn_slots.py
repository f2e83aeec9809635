"""Slots for running turns: a turn waits for a slot while the machine is overloaded.

`admission` decides how many turns start, and this module starts them. Each agent has a `TurnSlot`.
The `SlotGate` starts waiting turns in the order in which they came, on the thread of the
supervisor's pace keeper. Both share a `TurnSlots`.

Guarantees:

*   No turn waits for ever. A turn with a slot ends, at its own timeout at the latest, or it runs
    the user's code (a tool, a hook, a handler that asks a person), which may wait for anything,
    including another turn. Such a turn does not keep others from starting once its code has run
    for `_LENDING` seconds, or as soon as a turn that it waits for needs a slot. When its code
    returns, it continues at once, so more turns than the limit may run for a moment.
*   Turns that other turns wait for start before turns that were asked from outside.
*   If a turn gives up waiting, its future is cancelled. The gate and the
    agent may resolve a future at the same time; the first one decides.

Agents and the gate change the dictionaries of `TurnSlots` with single operations, each of which
is atomic in CPython, so there is no lock. An agent that leaves removes its slot first and then
checks whether turns wait; the gate first notes that turns wait and then counts slots. So at least
one of the two sees the other, and no turn waits for ever. If the limit is adaptive, agents take a
slot by themselves while no turn waits and the window has room. If several agents do so at the same
moment, a few turns too many may start.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import pykka

from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import resolve
from agy_actors._actors.message import Message
from agy_actors._agents.admission import Load, StartWindow, admit, max_running
from agy_actors._agents.load_messages import LoadStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors._actors.actor_ref import AsyncioActorRef

__all__ = ["EnterSlot", "LookAtSlots", "SlotGate", "TurnSlot", "TurnSlots"]

_LENDING = 0.1
"""Seconds that the user's code may take before its turn lends its slot. Arbitrary: a short tool
should not let another turn start, and a turn that needs the slot should not wait noticeably."""


class TurnSlots:
    """The running turns under one supervisor and all supervisors below it.

    Args:
        limit: how many turns may run at a time; `None` for an adaptive limit.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.window = StartWindow()
        """How many turns may be starting. Only the gate replaces it."""
        self.running: dict[TurnSlot, None] = {}
        self.starting: dict[TurnSlot, None] = {}
        """The running turns without a step."""
        self.waiting = False
        """Whether turns wait. Only the gate changes it."""
        self.delays: deque[float] = deque()
        """Start delays, in seconds, that the gate has not measured yet."""
        self.gate: AsyncioActorRef | None = None
        self._told = False

    def tell(self) -> None:
        """Make the gate check, if turns wait. Thread-safe."""
        if (self.waiting or len(self.delays) > _MANY) and not self._told and self.gate is not None:
            self._told = True  # One message is enough until the gate checks.
            with contextlib.suppress(pykka.ActorDeadError):
                self.gate.tell(LookAtSlots())

    def note_look(self) -> None:
        """Note that the gate checks now."""
        self._told = False


_MANY = 16  # How many delays may be kept while no turn waits; arbitrary.


class TurnSlot:
    """The slot of an incarnation, which has one turn at a time. For the agent's loop.

    Args:
        slots: the slots of all agents.
        urn: returns the URN of the agent, which all its incarnations share.
        clock: returns the time.
        measures: whether the start delay of its turns depends on the machine.
    """

    def __init__(
        self,
        slots: TurnSlots,
        urn: Callable[[], str],
        clock: Callable[[], float],
        *,
        measures: bool = True,
    ) -> None:
        self._slots = slots
        self._urn = urn
        self._clock = clock
        self.measures = measures
        self.granted_at = 0.0
        self.lent_since: float | None = None
        """Since when the user's code has been running in its turn; `None` if it does not."""
        self._calls = 0

    @property
    def urn(self) -> str:
        """The URN of its agent, which all incarnations share."""
        return self._urn()

    # Taking and leaving.

    def take(self) -> bool:
        """Take the slot at once if the gate need not decide, and return whether it was taken."""
        slots = self._slots
        if slots.limit is not None or slots.waiting or len(slots.starting) >= slots.window.limit:
            return slots.gate is None
        self.grant(self._clock())
        return True

    async def enter(
        self,
        asked_by: tuple[str, ...] = (),
        *,
        first: bool = False,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait for the slot. See `EnterSlot`."""
        gate = self._slots.gate
        if gate is None:
            return
        granted: ReplyFuture[None] = ReplyFuture()
        try:
            gate.tell(
                EnterSlot(
                    slot=self, granted=granted, asked_by=asked_by, first=first, on_wait=on_wait
                )
            )
            await granted
        except pykka.ActorDeadError:
            pass  # The supervisor ends, and the agent with it.
        finally:
            granted.cancel()

    def grant(self, now: float) -> None:
        """Note that the turn starts. Also called by the gate."""
        self.granted_at = now
        self.lent_since = None
        self._calls = 0
        self._slots.starting[self] = None
        self._slots.running[self] = None

    def leave(self) -> None:
        """Release the slot. If it is not taken, do nothing. Thread-safe."""
        if self.withdraw():
            self._slots.tell()

    def withdraw(self) -> bool:
        """Release the slot without notifying the gate, and return whether it was taken."""
        self._slots.starting.pop(self, None)
        return self._slots.running.pop(self, self) is None

    # During the turn.

    def restart_clock(self) -> None:
        """Measure the start delay from now on."""
        self.granted_at = self._clock()

    def has_step(self) -> None:
        """Note that a step has come: the turn has started."""
        slots = self._slots
        if slots.starting and slots.starting.pop(self, self) is None:
            if self.measures:
                slots.delays.append(self._clock() - self.granted_at)
            slots.tell()

    @contextlib.contextmanager
    def in_users_code(self) -> Iterator[None]:
        """Note that the user's code runs meanwhile. It may wait for anything."""
        entered = self._clock()
        self._calls += 1
        if self.lent_since is None:
            self.lent_since = entered
        try:
            yield
        finally:
            self._calls -= 1
            if self._calls <= 0:
                self.lent_since = None
                self.granted_at += self._clock() - entered  # The machine did not cause this delay.

    def note_tools(self, *, at_work: bool) -> None:
        """Note whether the harness reports tools that run elsewhere."""
        if at_work:
            if self.lent_since is None:
                self.lent_since = self._clock()
        elif self._calls <= 0:
            self.lent_since = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EnterSlot(Message[None]):
    """Make a turn wait for its start."""

    slot: TurnSlot
    """The slot of its agent."""
    granted: ReplyFuture[None]
    """Resolved when the turn starts."""
    asked_by: tuple[str, ...]
    """The URNs of the actors whose turns wait for this one."""
    first: bool
    """Whether it goes before others, because it has waited for its rate limit."""
    on_wait: Callable[[], None]
    """Called on the gate's thread if the turn does not start at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class LookAtSlots(Message[None]):
    """Check whether turns may start."""


class _Waiter(NamedTuple):
    slot: TurnSlot
    granted: ReplyFuture[None]


class SlotGate:
    """Starts turns that wait. For the loop of its actor.

    Args:
        slots: the slots of all agents.
        clock: returns the time.
    """

    def __init__(self, slots: TurnSlots, clock: Callable[[], float]) -> None:
        self._slots = slots
        self._clock = clock
        self._first: deque[_Waiter] = deque()
        self._others: deque[_Waiter] = deque()
        self._waited_for: set[str] = set()
        """The URNs of agents whose turns wait for a turn that waits here, or did wait here."""
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, message: EnterSlot) -> None:
        """Make a turn wait for its start."""
        waiter = _Waiter(message.slot, message.granted)
        if message.asked_by or message.first:
            self._first.append(waiter)
        else:
            self._others.append(waiter)
        self._waited_for.update(message.asked_by)
        self._slots.waiting = True
        self.look()
        if not message.granted.done():
            message.on_wait()

    def look(self) -> None:
        """Start the turns that may start now, and check again later if others wait."""
        slots = self._slots
        slots.note_look()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        waiting = len(self._first) + len(self._others)
        self._measure(now, limited=waiting > 0)
        decision = admit(self._load(now, waiting), limit=slots.limit, window=slots.window, now=now)
        for _ in range(decision.turns):
            self._start_next(now)
        if self._first or self._others:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(decision.again_after, self._look_again)
        else:
            self._waited_for.clear()
            slots.waiting = False

    def _look_again(self) -> None:
        self._drop_done()
        self.look()

    def release(self) -> None:
        """Start all waiting turns: the supervisor ends."""
        if self._timer is not None:
            self._timer.cancel()
        self._slots.gate = None
        while self._first or self._others:
            self._start_next(self._clock())
        self._slots.waiting = False

    def describe(self) -> LoadStatistics:
        """Return a snapshot."""
        slots = self._slots
        self._drop_done()
        return LoadStatistics(
            running=len(slots.running),
            starting=len(slots.starting),
            waiting=len(self._first) + len(self._others),
            max_running=slots.limit,
            max_starting=None if slots.limit is not None else slots.window.limit,
            start_delay=slots.window.delay,
        )

    def _drop_done(self) -> None:
        """Remove the turns that gave up waiting. Not at each check, because it takes time."""
        for queue in (self._first, self._others):
            kept = [waiter for waiter in queue if not waiter.granted.done()]
            queue.clear()
            queue.extend(kept)

    def _measure(self, now: float, *, limited: bool) -> None:
        slots = self._slots
        # Copies: agents change these dictionaries meanwhile.
        overdue = slots.window.overdue
        for slot in slots.starting.copy():
            if now - slot.granted_at < overdue or slots.starting.pop(slot, slot) is not None:
                continue
            if slot.measures and slot.lent_since is None:
                slots.delays.append(now - slot.granted_at)
        window = slots.window
        while slots.delays:
            window = window.measured(slots.delays.popleft(), limited=limited, now=now)
        slots.window = window

    def _load(self, now: float, waiting: int) -> Load:
        slots = self._slots
        maximum = max_running(slots.limit)
        running = 0
        for slot in slots.running.copy():
            running += not self._is_lent(slot, now)
            if running >= maximum:
                break  # The exact number does not matter above this.
        return Load(waiting, running, len(slots.starting))

    def _is_lent(self, slot: TurnSlot, now: float) -> bool:
        since = slot.lent_since
        return since is not None and (now - since >= _LENDING or slot.urn in self._waited_for)

    def _start_next(self, now: float) -> None:
        while queue := self._first or self._others:
            slot, granted = queue.popleft()
            if granted.done():
                continue
            slot.grant(now)
            if resolve(granted, None):
                self._slots.window = self._slots.window.started(now)
                return
            slot.withdraw()  # The turn has just given up waiting.
