"""`AskCounts`: counts the turns that are asked of an agent, a pool or sessions, by outcome.

The outcome is the asker's. So it includes turns that never start: those that a full mailbox
refuses, that wait too long, or that are lost when their agent or pool ends. A tally (`tally`)
counts the turns that start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_states import CANCELLED, ERROR
from agy_actors._agents.agent_messages import Chat, Send
from agy_actors._agents.tally import ANSWERED
from agy_actors._supervision.counts import What

if TYPE_CHECKING:
    from agy_actors._supervision.counts import Counts

__all__ = ["AskCounts"]

_CANCELLED = "CancelledError"
"""The outcome of an ask whose future was cancelled."""


class AskCounts:
    """Counts the turns that are asked through one ref. Thread-safe.

    An ask that blocks is counted when it returns or raises, with what its asker gets. Any other ask
    and a stream are counted when their future is done: its asker may have stopped waiting before.

    Args:
        counts: where they are counted.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def note_reply(self, message: object, reply: object) -> None:
        """Count an ask that returned its reply, or a future that will get it."""
        if not isinstance(message, Chat | Send):
            return
        if isinstance(reply, ReplyFuture):
            reply.add_done_callback(self.note_done)
        else:
            self.note_answer()

    def note_answer(self) -> None:
        """Count an ask that returned its reply."""
        self._counts.add(What.ASKS, ANSWERED)

    def note_error(self, message: object, error: BaseException) -> None:
        """Count an ask that raised an error."""
        if isinstance(message, Chat | Send):
            self._counts.add(What.ASKS, type(error).__name__)

    def note_done(self, reply: ReplyFuture[Any]) -> None:
        """Count an ask whose future is done. Callable from any thread."""
        outcome = _CANCELLED if reply._state == CANCELLED else ANSWERED  # noqa: SLF001 (as below)
        if reply._state == ERROR:  # noqa: SLF001 (as below)
            # Not `get`, which would change the error's traceback while its asker raises it.
            outcome = type(reply._result[0]).__name__  # noqa: SLF001 (see the comment)
        self._counts.add(What.ASKS, outcome)
