"""Ends turns of a pool whose time runs out while no member can take them.

A turn that waits for a member that is being restarted or replaced, or while no member is ready,
waits no longer than its own timeout. A turn that a member had begun before the member failed keeps
its deadline while it waits again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from loguru import logger

from agy_actors._actors.future_owner import fail
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.overdue_turns import seconds_of
from agy_actors._sdk.errors import TurnTimeout
from agy_actors._supervision.pool_state import PoolPhase, SlotPhase

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agy_actors._actors.mailbox import Mailbox
    from agy_actors._supervision.pool_state import PoolState, Turn

__all__ = ["OverduePoolTurns", "has_members_down", "held_up_turns"]

_LOOK_EVERY = 0.05
"""Seconds between two checks for new turns. Arbitrary: far shorter than a turn, and long enough if
many turns come at once."""


def has_members_down(pool: PoolState) -> bool:
    """Return whether any member of a pool cannot take a turn. Pure."""
    return any(slot.phase is not SlotPhase.UP for slot in pool.slots.values())


def held_up_turns(pool: PoolState) -> list[Turn]:
    """Return the turns and parts that wait while no member that may take them is ready. Pure."""
    slots = [*pool.slots.values(), *pool.leaving.values()]
    down = [slot for slot in slots if slot.phase is not SlotPhase.UP]
    turns = [turn for slot in down for turn in slot.queue]
    return turns if len(down) < len(slots) else [*turns, *pool.unassigned]


def _key_of(turn: Turn) -> Any:
    """Return the identity that a turn shares with its envelope in the mailbox."""
    return turn if turn.is_part or turn.work.reply_to is None else turn.work.reply_to


def _key_of_waiting(envelope: Any) -> Any:
    return envelope if envelope.reply_to is None else envelope.reply_to


class OverduePoolTurns:
    """Looks for overdue turns of one pool, on its loop.

    Args:
        state: the pool's.
        inbox: the pool's mailbox.
        end: answers a waiting turn, or a waiting part of a broadcast, with an error.
    """

    def __init__(
        self, state: PoolState, inbox: Mailbox, end: Callable[[Turn, TurnTimeout], None]
    ) -> None:
        self._state = state
        self._inbox = inbox
        self._end = end
        self._since: dict[Any, float] = {}
        """Since when each turn is held up."""
        self._begun: dict[Turn, float] = {}
        """The deadline of each turn whose member failed."""
        self._timer: asyncio.TimerHandle | None = None
        self._looked_at = -math.inf

    def note_lost(self, turn: Turn) -> None:
        """Note that a member failed during a turn."""
        history = turn.work.histories.get(turn)
        if history is not None and history.deadline is not None:
            self._begun[turn] = history.deadline

    def look_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check new turns, if a member is down. At most one check per interval."""
        if not has_members_down(self._state):
            return
        due = self._looked_at + _LOOK_EVERY
        if due <= loop.time():
            self.look(loop)
        elif self._timer is None or self._timer.when() > due:
            self._look_at(loop, due)

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End overdue turns, and check again when the next turn is overdue."""
        self._look_at(loop, math.inf)
        self._looked_at = loop.time()
        state = self._state
        if state.phase is PoolPhase.ENDED:
            return
        now = current_runtime().monotonic()
        turns = held_up_turns(state)
        envelopes: list[Any] = []
        if not any(slot.phase is SlotPhase.UP for slot in state.slots.values()):
            envelopes = list(self._inbox.waiting_turns())
        held_up = [*map(_key_of, turns), *map(_key_of_waiting, envelopes)]
        self._since = {key: self._since.get(key, now) for key in held_up}
        self._begun = {turn: end for turn, end in self._begun.items() if turn.queue is not None}
        earliest = math.inf
        for turn in {**dict.fromkeys(turns), **dict.fromkeys(self._begun)}:
            seconds = seconds_of(turn.work.message)
            if turn in self._begun:
                deadline = self._begun[turn]
            else:
                deadline = self._since[_key_of(turn)] + seconds
            if deadline <= now:
                self._end(turn, self._error(seconds, begun=turn in self._begun))
            else:
                earliest = min(earliest, deadline)
        for envelope in envelopes:
            seconds = seconds_of(envelope.message.message)
            deadline = self._since[_key_of_waiting(envelope)] + seconds
            if deadline <= now:
                if self._inbox.withdraw(envelope):
                    self._end_waiting(envelope, self._error(seconds, begun=False))
            else:
                earliest = min(earliest, deadline)
        if earliest < math.inf:
            self._look_at(loop, loop.time() + earliest - now)

    def _look_at(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when < math.inf:
            self._timer = loop.call_at(when, self.look, loop)

    def _error(self, seconds: float, *, begun: bool) -> TurnTimeout:
        return TurnTimeout(
            f"a turn of pool {self._state.name!r} did not {'end' if begun else 'begin'} within"
            f" {seconds:g} seconds while it waited for a member's restart"
        )

    def _end_waiting(self, envelope: Any, error: TurnTimeout) -> None:
        if envelope.reply_to is not None:
            fail(envelope.reply_to, error)
        else:
            logger.warning("A turn of pool {!r} without a waiting asker ended", self._state.name)
