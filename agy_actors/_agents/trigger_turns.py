"""Turns that send to the model the texts that triggers sent to the agent.

One turn takes all texts since the previous one. If other turns wait too, the two
kinds alternate: neither waits for more than one turn of the other.

The turn of the triggers is a message in the agent's turn lane, and there is at most one at a time.
Like all waiting messages, it outlives the agent's incarnations.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from agy_actors._actors.envelope import Envelope
from agy_actors._agents.turn_messages import FollowTurn, TriggerTurn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Notices", "TriggerTurns"]

_MOST = 100
"""How many texts may wait for a turn before a trigger that sends has to wait. Arbitrary: more than
triggers usually send during a turn, and few enough for one turn."""


class Notices:
    """The texts that the triggers of an agent sent. It outlives incarnations."""

    def __init__(self) -> None:
        self.texts: deque[str] = deque()
        """The texts that no turn has taken yet."""
        self.turn_waits = False
        """Whether a turn for them waits in the mailbox."""
        self.last_was_triggered = False
        """Whether a trigger began the turn that was taken up last."""

    def place(self) -> int | None:
        """Return how many turns precede a new turn of the triggers; `None` if no turn is needed."""
        if self.turn_waits or not self.texts:
            return None
        return 1 if self.last_was_triggered else 0

    def take_up(self, message: object) -> None:
        """Note that a turn is taken up, for the first time or again."""
        self.last_was_triggered = isinstance(message, TriggerTurn | FollowTurn)
        if isinstance(message, TriggerTurn):
            self.turn_waits = False
            message.texts.extend(self.texts)
            self.texts.clear()


class TriggerTurns:
    """Puts turns into the mailbox for the triggers' texts. For the loop of one incarnation.

    Args:
        notices: the texts that the triggers sent.
        insert: puts a turn into the agent's mailbox; see `Mailbox.insert_turn`.
        runs: returns whether a turn of the triggers runs or waits to be tried again.
    """

    def __init__(
        self, notices: Notices, insert: Callable[[Envelope, int], bool], runs: Callable[[], bool]
    ) -> None:
        self._notices = notices
        self._insert = insert
        self._runs = runs
        self._room = asyncio.Event()

    async def send(self, text: str) -> None:
        """Receive a text that a trigger sends. It waits if too many texts wait already."""
        notices = self._notices
        while len(notices.texts) >= _MOST:
            self._room.clear()
            await self._room.wait()
        notices.texts.append(text)
        self.look()

    def take_up(self, message: object) -> None:
        """Note that a turn is taken up, for the first time or again."""
        self._notices.take_up(message)
        self._room.set()

    def look(self) -> None:
        """Put a turn for the texts into the mailbox, unless there is one already."""
        place = self._notices.place()
        if place is not None and not self._runs():
            self._notices.turn_waits = self._insert(Envelope(TriggerTurn()), place)
