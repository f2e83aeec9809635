"""Turns that crash their agent: after two crashes a turn is ended."""

from __future__ import annotations

import dataclasses

from agy_actors._agent._errors import (
    ConversationInUse,
    ModelError,
    SetupError,
    TurnCancelled,
    TurnError,
    TurnInterrupted,
)

__all__ = ["MOST_CRASHES", "TurnCrashes"]

MOST_CRASHES = 2
"""Crashes of its agent after which a turn is ended. One may be bad luck: its process was killed,
or crashed over another conversation. After two it is likely that the turn itself is the cause."""


@dataclasses.dataclass(slots=True, eq=False)
class TurnCrashes:
    """How often a turn crashed an agent. The object is also what identifies the turn.

    It goes with the turn to the next incarnation, and to another member of a pool.
    """

    count: int = 0

    def final_error(
        self, error: TurnError | ConversationInUse, who: str
    ) -> TurnError | ConversationInUse:
        """Return what a turn ends with, if it is not tried again: as a rule, the error itself.

        A turn that crashed its agent `MOST_CRASHES` times ends here, whatever the retry policy
        says: it would go on to crash the agent until that is given up.

        Args:
            error: what the turn failed with last.
            who: the agent, as it is to be named.
        """
        if self.count < MOST_CRASHES or isinstance(
            error, TurnCancelled | ModelError | SetupError | ConversationInUse
        ):
            return error
        return TurnInterrupted(
            f"a turn of {who} crashed its agent {self.count} times and is not tried again;"
            f" the last crash: {error}",
            retryable=False,
            text=error.text,
            tool_calls=error.tool_calls,
        )
