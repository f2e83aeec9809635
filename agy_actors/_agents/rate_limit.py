"""The rate of turn starts: agents with the same API key share its quota.

`Pace` is the pure state of one key. `PaceKeeper` is the actor that holds the paces of all keys
under one supervisor and grants starts in the order of the requests. It also grants starts that wait
for the machine (`turn_slots`). `PaceBoard` tells agents which keys are restricted, so that turns
with other keys need no permission.

The board is a frozenset that only the keeper's thread replaces. An agent that reads it a moment too
early starts one turn too many, which is refused and held like the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import tenacity

from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.future_owner import resolve
from agy_actors._actors.message import Message
from agy_actors._actors.retry_state import retry_state
from agy_actors._agents.events import QuotaHold
from agy_actors._agents.load_messages import GetLoad
from agy_actors._agents.turn_slots import EnterSlot, LookAtSlots, SlotGate, TurnSlots
from agy_actors._sdk.errors import QuotaExceeded
from agy_actors._supervision.counts import What

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from tenacity.wait import WaitBaseT

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._supervision.event_hub import EventHub

__all__ = ["GetPace", "Pace", "PaceBoard", "PaceKeeper", "PaceStatistics"]

BACKOFF: WaitBaseT = tenacity.wait_exponential_jitter(initial=1.0, max=60.0, jitter=1.0)
"""Seconds of a hold, by the number of consecutive refusals, if the service states no time."""

_AFTER_HOLD = 0.5
"""Seconds between starts after a hold, until a turn was accepted. Otherwise all waiting turns would
start at once and be refused. Arbitrary; agy-bridge spreads them over 0.5 to 2 s."""

_FORGET_AFTER = 100
"""How many unrestricted keys are kept, as in agy-bridge's registry."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """When the next turn of one key may start. Times are on the keeper's clock."""

    held_until: float = -math.inf
    """When the present hold ends."""
    last_start: float = -math.inf
    """When the last turn started."""
    refusals: int = 0
    """How many holds there were since the last accepted turn."""

    def next_start(self, spacing: float) -> float:
        """Return the earliest time of the next start."""
        if self.refusals:
            spacing = max(spacing, _AFTER_HOLD)
        return max(self.held_until, self.last_start + spacing)

    def started(self, now: float) -> Pace:
        """Note a start."""
        return dataclasses.replace(self, last_start=now)

    def refused(self, now: float, retry_after: float | None, wait: WaitBaseT = BACKOFF) -> Pace:
        """Note a 429.

        A refusal during a hold belongs to a turn that started before it. It may extend the hold,
        and does not count as another refusal.
        """
        if now < self.held_until:
            until = now + (retry_after or 0.0)
            return dataclasses.replace(self, held_until=max(self.held_until, until))
        refusals = self.refusals + 1
        seconds = retry_after
        if seconds is None:
            seconds = float(wait(retry_state(refusals)))
        return dataclasses.replace(self, held_until=now + seconds, refusals=refusals)

    def accepted(self, now: float) -> Pace:
        """Note that the service answered. During a hold this is ignored: the turn is older."""
        return self if now < self.held_until else dataclasses.replace(self, refusals=0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PaceStatistics:
    """A snapshot of the pace of one API key: when its turns may start."""

    held_for: float
    """Seconds until a turn of the key may start; 0 if the key is not held."""

    refusals: int
    """How many times the service refused since the last accepted turn."""

    waiting: int
    """How many turns of the key wait for their start."""

    spacing: float
    """The minimum number of seconds between two starts, at present."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetPace(Message[dict[str, PaceStatistics]]):
    """Ask a supervisor for the pace of each API key that has to wait, by the key's fingerprint."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Start(Message[None]):
    key: str
    patience: float


@dataclasses.dataclass(frozen=True, slots=True)
class _Refused(Message[None]):
    key: str
    retry_after: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Accepted(Message[None]):
    key: str


class PaceBoard:
    """The set of restricted keys, for agents. Thread-safe."""

    def __init__(self, spacing: float) -> None:
        self._always = spacing > 0
        self.held: frozenset[str] = frozenset()
        """The keys that were refused and not accepted since. Only the keeper replaces it."""
        self.keeper: AsyncioActorRef | None = None

    def restricts(self, key: str) -> bool:
        """Return whether a turn of this key must ask for its start."""
        return self._always or key in self.held

    async def wait_for_start(self, key: str, patience: float) -> None:
        """Wait until a turn of this key may start.

        Raises:
            QuotaExceeded: it may not within `patience` seconds.
        """
        if self.keeper is not None:
            try:
                await self.keeper.ask(_Start(key, patience), block=False)
            except pykka.ActorDeadError:
                return  # The supervisor ends, and the agent with it.

    def refused(self, key: str, retry_after: float | None) -> None:
        """Report a 429. Thread-safe."""
        self._tell(_Refused(key, retry_after))

    def accepted(self, key: str) -> None:
        """Report that the service answered, if the key is held. Thread-safe."""
        if key in self.held:
            self._tell(_Accepted(key))

    def _tell(self, message: Message[None]) -> None:
        if self.keeper is not None:
            with contextlib.suppress(pykka.ActorDeadError):  # As above.
                self.keeper.tell(message)


@dataclasses.dataclass(eq=False)
class _Lane:
    """The turns that wait for a start of one key."""

    pace: Pace = dataclasses.field(default_factory=Pace)
    waiters: deque[tuple[asyncio.Future[None], float]] = dataclasses.field(default_factory=deque)
    """Each waiter with the time at which it gives up."""
    timer: asyncio.TimerHandle | None = None


class PaceKeeper(AsyncioActor):
    """Grants turn starts, key by key. Each supervisor tree has one; see the module."""

    use_daemon_thread: ClassVar[bool] = True
    _reports_failures: ClassVar[bool] = True
    stop_grace: ClassVar[float | None] = 0.0

    def __init__(
        self,
        board: PaceBoard,
        spacing: float,
        supervisor: str,
        hub: EventHub,
        slots: TurnSlots | None = None,
    ) -> None:
        super().__init__()
        self._board = board
        self._spacing = spacing
        self._supervisor = supervisor
        self._hub = hub
        self._lanes: dict[str, _Lane] = {}
        board.keeper = self.actor_ref
        slots = slots or TurnSlots()
        slots.gate = self.actor_ref
        self._gate = SlotGate(slots, self._runtime.monotonic)

    def on_stop(self) -> None:
        self._gate.release()

    def on_dead_letter(self, message: Any) -> None:
        if isinstance(message, EnterSlot):
            resolve(message.granted, None)  # The supervisor ends, and the agent with it.

    def on_receive(self, message: Any) -> Any:
        match message:
            case _Start(key, patience):
                return self._grant(key, patience)
            case _Refused(key, retry_after):
                return self._refuse(key, retry_after)
            case _Accepted(key):
                return self._accept(key)
            case EnterSlot():
                self._gate.enter(message)
            case LookAtSlots():
                self._gate.look()
            case GetPace():
                return self._describe()
            case GetLoad():
                return self._gate.describe()
            case _:
                raise TypeError(f"the pace keeper does not answer {type(message).__name__}")
        return None

    def _grant(self, key: str, patience: float) -> Coroutine[Any, Any, None]:
        # Not a coroutine function: the turn is queued when its message is handled.
        lane = self._lane(key)
        granted: asyncio.Future[None] = self._loop.create_future()
        waiter = (granted, self._loop.time() + patience)
        lane.waiters.append(waiter)
        self._advance(key, lane)
        return self._wait_for(waiter, lane)

    async def _wait_for(self, waiter: tuple[asyncio.Future[None], float], lane: _Lane) -> None:
        try:
            await waiter[0]
        finally:
            # A granted waiter has been removed already. A refused one, or one whose asker gave up,
            # must not stay in the queue.
            with contextlib.suppress(ValueError):
                lane.waiters.remove(waiter)

    def _refuse(self, key: str, retry_after: float | None) -> None:
        lane = self._lane(key)
        now = self._loop.time()
        before = lane.pace.held_until
        lane.pace = lane.pace.refused(now, retry_after)
        self._board.held |= {key}
        if lane.pace.held_until > before:
            self._hub.counts.add(What.QUOTA_HOLDS)
            if self._hub.active:
                held = lane.pace.held_until - now
                self._hub.publish(QuotaHold(supervisor=self._supervisor, key=key, seconds=held))
        self._advance(key, lane)

    def _accept(self, key: str) -> None:
        lane = self._lane(key)
        lane.pace = lane.pace.accepted(self._loop.time())
        if not lane.pace.refusals:
            self._board.held -= {key}
        self._advance(key, lane)

    def _advance(self, key: str, lane: _Lane) -> None:
        """Grant the starts that are due, and schedule the next one."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        now = self._loop.time()
        held = lane.pace.held_until - now
        for granted, patience_ends in list(lane.waiters):
            # It is refused at once: it cannot start in time.
            if lane.pace.held_until > patience_ends and not granted.done():
                granted.set_exception(
                    QuotaExceeded(
                        f"the quota of this API key ({key}) is used up for {held:.3g} s more,"
                        " longer than the turn may take; ask again then",
                        retry_after=held,
                    )
                )
        while lane.waiters:
            granted, _ = lane.waiters[0]
            if granted.done():  # It was refused above, or its asker gave up.
                lane.waiters.popleft()
                continue
            start = lane.pace.next_start(self._spacing)
            if start > now:
                lane.timer = self._loop.call_at(start, self._advance, key, lane)
                return
            lane.waiters.popleft()
            lane.pace = lane.pace.started(now)
            granted.set_result(None)

    def _lane(self, key: str) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= _FORGET_AFTER:
                self._forget_free_lanes()
            lane = self._lanes[key] = _Lane()
        return lane

    def _forget_free_lanes(self) -> None:
        now = self._loop.time()
        for key, lane in list(self._lanes.items()):
            free = not lane.waiters and not lane.pace.refusals
            if free and lane.pace.next_start(self._spacing) <= now:
                del self._lanes[key]

    def _describe(self) -> dict[str, PaceStatistics]:
        now = self._loop.time()
        return {
            key: PaceStatistics(
                held_for=max(0.0, lane.pace.held_until - now),
                refusals=lane.pace.refusals,
                waiting=sum(not granted.done() for granted, _ in lane.waiters),
                spacing=max(self._spacing, _AFTER_HOLD if lane.pace.refusals else 0.0),
            )
            for key, lane in self._lanes.items()
            if lane.waiters or lane.pace.refusals or lane.pace.held_until > now
        }
