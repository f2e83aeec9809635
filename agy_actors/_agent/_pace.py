"""The pace of turn starts: agents that share an API key share its quota.

`Pace` is the pure state of one key. `PaceKeeper` is the actor that holds the paces of all
keys under one supervisor, and grants the starts that must wait, first come first served.
`PaceBoard` is what agents have of it: which keys are restricted at all, so that a turn of
any other key asks nobody.

The board is a frozenset that the keeper's thread alone replaces and agents read as it is.
An agent that reads it a moment too early starts one turn too many, as it would have a
moment before; it is refused and held like the rest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import tenacity
from tenacity import RetryCallState

from agy_actors._agent._errors import QuotaExceeded
from agy_actors._events import EventHub, QuotaHold
from agy_actors._kernel import AsyncioActor, Message

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from tenacity.wait import WaitBaseT

    from agy_actors._kernel import AsyncioActorRef

__all__ = ["GetPace", "Pace", "PaceBoard", "PaceKeeper", "PaceStatistics"]

BACKOFF: WaitBaseT = tenacity.wait_exponential_jitter(initial=1.0, max=60.0, jitter=1.0)
"""Seconds of a hold for which the service named none, by the refusals in a row."""

_AFTER_HOLD = 0.5
"""Seconds between starts after a hold, until one was accepted: else all that waited would
ask at once, and be refused at once. Arbitrary; agy-bridge spreads them over 0.5 to 2 s."""

_FORGET_AFTER = 100
"""Keys that are kept although nothing restricts them, as agy-bridge's registry."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """The pace of one key: when its next turn may start."""

    held_until: float = -math.inf
    last_start: float = -math.inf
    refusals: int = 0
    """How many holds there were in a row, without an accepted turn between."""

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

        Those that come during a hold are of turns that were under way when it began: they
        may extend it by what the service says, and count as no further refusal.
        """
        if now < self.held_until:
            until = now + (retry_after or 0.0)
            return dataclasses.replace(self, held_until=max(self.held_until, until))
        refusals = self.refusals + 1
        seconds = retry_after
        if seconds is None:
            state = RetryCallState(tenacity.Retrying(), None, (), {})
            state.attempt_number = refusals
            seconds = float(wait(state))
        return dataclasses.replace(self, held_until=now + seconds, refusals=refusals)

    def accepted(self, now: float) -> Pace:
        """Note that the service answered. During a hold that says nothing: it is older."""
        return self if now < self.held_until else dataclasses.replace(self, refusals=0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PaceStatistics:
    """A snapshot of the pace of one key."""

    held_for: float
    """Seconds for which no turn of the key starts any more; 0 if it is not held."""

    refusals: int
    """How many times in a row the service refused, without an accepted turn between."""

    waiting: int
    """How many turns wait for their start."""

    spacing: float
    """The least seconds between starts just now."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetPace(Message[dict[str, PaceStatistics]]):
    """Ask a supervisor for the pace of each key, by fingerprint, that is not free."""


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
    """An agent's view of the paces of all keys."""

    def __init__(self, spacing: float) -> None:
        self._always = spacing > 0
        self.held: frozenset[str] = frozenset()
        """The keys that were refused and not accepted since. The keeper's to replace."""
        self.keeper: AsyncioActorRef | None = None

    def restricts(self, key: str) -> bool:
        """Tell whether a turn of this key must ask for its start."""
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
                return  # The supervisor is ending, and the agent with it.

    def refused(self, key: str, retry_after: float | None) -> None:
        """Report a 429. For any thread."""
        self._tell(_Refused(key, retry_after))

    def accepted(self, key: str) -> None:
        """Report that the service answered, if that is news. For any thread."""
        if key in self.held:
            self._tell(_Accepted(key))

    def _tell(self, message: Message[None]) -> None:
        if self.keeper is not None:
            with contextlib.suppress(pykka.ActorDeadError):  # As above.
                self.keeper.tell(message)


@dataclasses.dataclass(eq=False)
class _Lane:
    """Who waits for a start of one key."""

    pace: Pace = dataclasses.field(default_factory=Pace)
    waiters: deque[tuple[asyncio.Future[None], float]] = dataclasses.field(default_factory=deque)
    """Each with the time at which its patience ends."""
    timer: asyncio.TimerHandle | None = None


class PaceKeeper(AsyncioActor):
    """Grants turn starts, key by key. Its supervisor's own; see the module."""

    use_daemon_thread: ClassVar[bool] = True
    stop_grace: ClassVar[float | None] = 0.0

    def __init__(self, board: PaceBoard, spacing: float, supervisor: str, hub: EventHub) -> None:
        super().__init__()
        self._board = board
        self._spacing = spacing
        self._supervisor = supervisor
        self._hub = hub
        self._lanes: dict[str, _Lane] = {}
        board.keeper = self.actor_ref

    def on_receive(self, message: Any) -> Any:
        match message:
            case _Start(key, patience):
                return self._grant(key, patience)
            case _Refused(key, retry_after):
                return self._refuse(key, retry_after)
            case _Accepted(key):
                return self._accept(key)
            case GetPace():
                return self._describe()
            case _:
                raise TypeError(f"the pace keeper answers no {type(message).__name__}")

    def _grant(self, key: str, patience: float) -> Coroutine[Any, Any, None]:
        # No coroutine function: the place in the queue is that of the message.
        lane = self._lane(key)
        granted: asyncio.Future[None] = self._loop.create_future()
        lane.waiters.append((granted, self._loop.time() + patience))
        self._advance(key, lane)
        return self._wait_for(granted)

    async def _wait_for(self, granted: asyncio.Future[None]) -> None:
        await granted

    def _refuse(self, key: str, retry_after: float | None) -> None:
        lane = self._lane(key)
        now = self._loop.time()
        before = lane.pace.held_until
        lane.pace = lane.pace.refused(now, retry_after)
        self._board.held |= {key}
        if lane.pace.held_until > before and self._hub.active:
            self._hub.publish(
                QuotaHold(supervisor=self._supervisor, key=key, seconds=lane.pace.held_until - now)
            )
        self._advance(key, lane)

    def _accept(self, key: str) -> None:
        lane = self._lane(key)
        lane.pace = lane.pace.accepted(self._loop.time())
        if not lane.pace.refusals:
            self._board.held -= {key}
        self._advance(key, lane)

    def _advance(self, key: str, lane: _Lane) -> None:
        """Grant what may start now, and come back when the next may."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        now = self._loop.time()
        held = lane.pace.held_until - now
        for granted, patience_ends in list(lane.waiters):
            # Told at once, and not when its patience is over: it could do nothing else.
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
            if granted.done():  # Refused above, or its asker has gone.
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
