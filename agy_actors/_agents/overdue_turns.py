"""Ends turns whose time is over while no incarnation of their agent can run them.

A crashed agent waits for its restart and then starts. Meanwhile its turns wait in its mailbox:

*   A turn that was given to the model before has a deadline, which the restart does not change.
*   The time of any other turn has not begun. But it waits for the agent for at most that long, so
    that its asker learns about the delay.

The supervisor's loop runs this until the agent starts, and the agent's own loop until it is ready.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from loguru import logger

from agy_actors._actors.envelope import Envelope
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import fail
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.agent_messages import Chat
from agy_actors._agents.defaults import chat_timeout
from agy_actors._agents.turn_crashes import TurnCrashes
from agy_actors._agents.turn_messages import StreamChat
from agy_actors._sdk.errors import TurnTimeout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agy_actors._actors.mailbox import Mailbox
    from agy_actors._agents.record import AgentRecord, AgentSpec

__all__ = ["OverdueTurns", "seconds_of"]


def seconds_of(message: object) -> float:
    """Return how many seconds a turn may take."""
    chat = message.chat if isinstance(message, StreamChat) else message
    given = chat.timeout if isinstance(chat, Chat) else None
    if given is not None:
        return given
    with contextlib.suppress(InvalidConfig):  # The turn itself raises it.
        return chat_timeout()
    return math.inf


class OverdueTurns:
    """Looks for overdue turns, on one loop.

    Guarantee: a turn is answered once. Here it is withdrawn from the mailbox first, and a turn that
    was taken up cannot be withdrawn.

    Args:
        spec: the facts from which the agent was created.
        record: the agent's record.
        inbox: the agent's mailbox.
        loop: the loop.
        is_over: returns whether this object is no longer responsible for the turns.
    """

    def __init__(
        self,
        spec: AgentSpec,
        record: AgentRecord,
        inbox: Mailbox,
        loop: asyncio.AbstractEventLoop,
        is_over: Callable[[], bool],
    ) -> None:
        self._spec = spec
        self._record = record
        self._inbox = inbox
        self._loop = loop
        self._is_over = is_over
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """End the overdue turns, and look again when the next one is overdue."""
        self.stop()
        if self._is_over():
            return
        now = current_runtime().monotonic()
        earliest = math.inf
        for envelope in self._inbox.waiting_turns():
            if not isinstance(envelope, Envelope):
                continue
            deadline = self._deadline_of(envelope, now)
            if deadline > now:
                earliest = min(earliest, deadline)
            elif self._inbox.withdraw(envelope):
                self._end(envelope, now)
        if earliest < math.inf:
            self._timer = self._loop.call_later(earliest - now, self.look)

    def stop(self) -> None:
        """Stop looking until `look` is called."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _deadline_of(self, envelope: Envelope, now: float) -> float:
        reply_to = envelope.reply_to
        if isinstance(reply_to, ReplyFuture) and reply_to.cancelled():
            return math.inf  # It is dropped when it is taken up.
        if self._record.knows(envelope):
            assert self._record.pending is not None
            return self._record.pending.deadline
        if envelope.history is None:
            envelope.history = TurnCrashes()
        history: TurnCrashes = envelope.history
        if history.deadline is not None:
            return history.deadline
        return history.note_wait(self._record.restarts_done, now) + seconds_of(envelope.message)

    def _end(self, envelope: Envelope, now: float) -> None:
        spec, record = self._spec, self._record
        seconds = seconds_of(envelope.message)
        pending = record.pending if record.knows(envelope) else None
        begun = pending is not None or envelope.history.deadline is not None
        error = TurnTimeout(
            f"a turn of agent {spec.name!r} did not {'end' if begun else 'begin'} within"
            f" {seconds:g} seconds while it waited for the agent's restart"
        )
        if pending is not None:
            record.end_turn(spec, pending, now - pending.started, type(error).__name__)
        if envelope.reply_to is not None:
            fail(envelope.reply_to, error)
        else:
            log = logger.bind(agent=spec.name, supervisor=spec.supervisor)
            log.warning("A turn without a waiting asker ended: {}", type(error).__name__)
