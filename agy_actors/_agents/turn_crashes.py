"""`TurnCrashes`: counts how often a turn crashed its agent. After two crashes the turn ends."""

from __future__ import annotations

import dataclasses

from agy_actors._sdk.errors import (
    ConversationInUse,
    ModelError,
    SetupError,
    TurnCancelled,
    TurnError,
    TurnInterrupted,
)

__all__ = ["MAX_CRASHES", "TurnCrashes"]

MAX_CRASHES = 2
"""How many crashes of its agent end a turn. One crash may have another cause: the process was
killed, or crashed because of another conversation. After two, the turn itself is the likely
cause."""


@dataclasses.dataclass(slots=True, eq=False)
class TurnCrashes:
    """How often a turn crashed an agent. The object also identifies the turn.

    The next incarnation, or another member of a pool, gets it with the turn.
    """

    count: int = 0
    """How often the turn crashed its agent."""

    of_pool: bool = False
    """Whether a pool gave the turn to its member."""

    deadline: float | None = None
    """When the turn must end, on the runtime's clock; `None` before its first attempt."""

    _waits_since: tuple[int, float] | None = None

    def note_wait(self, restarts: int, now: float) -> float:
        """Note that the turn waits for its agent's restart, and return when the wait began.

        Args:
            restarts: how many incarnations became ready, which distinguishes one wait from the
                next.
            now: the time on the runtime's clock.
        """
        if self._waits_since is None or self._waits_since[0] != restarts:
            self._waits_since = (restarts, now)
        return self._waits_since[1]

    def final_error(
        self, error: TurnError | ConversationInUse, who: str
    ) -> TurnError | ConversationInUse:
        """Return another error if the turn must not be tried again, else the same error.

        A turn that crashed its agent `MAX_CRASHES` times ends here, regardless of the retry policy:
        it would crash the agent until the agent is given up.

        Args:
            error: the last error of the turn.
            who: the agent, as the error names it.
        """
        if self.count < MAX_CRASHES or isinstance(
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
