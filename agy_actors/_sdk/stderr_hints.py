"""Finds failures of a turn in the harness's standard error.

When the harness is about to retry a failed request, it writes a line to its standard error at once.
The turn gets a step only after the wait for the retry: minutes later, or never if the turn ends
first. So these lines explain turns that do not end.

A line names no conversation, and a process may have several. It counts for a turn in two cases:

*   No other conversation of the process had a turn when the line came.
*   The line reports that the quota is exhausted. All conversations of a process have the same API
    key, and the quota belongs to the key.

In all other cases the line does not count: a missing error is better than the error of another
turn.

The lines are those of google-antigravity 0.1.22.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agy_actors._sdk.error_text import QUOTA_STATUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._sdk.error_text import ModelFailure

__all__ = ["SKEW", "StderrHints", "read_retry"]

SKEW = 1.0
"""Seconds by which a line may come before a step that the harness sent earlier. Measured: they come
within milliseconds of each other, and within tenths of a second on a busy machine."""

_RETRIED = "Encountered retryable"


def read_retry(line: str) -> str | None:
    """Return the text of a line about a failed request that is retried; `None` for other lines."""
    _, found, text = line.partition(_RETRIED)
    return found + text if found else None


class StderrHints:
    """The lines that may be about one turn. For the agent's loop.

    Args:
        now: returns the time, in seconds from any start.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._own: tuple[float, ModelFailure] | None = None
        self._refusal: tuple[float, ModelFailure] | None = None

    def __repr__(self) -> str:
        return f"<StderrHints: own {self._own}, refusal {self._refusal}>"

    def note(self, failure: ModelFailure, *, alone: bool) -> None:
        """Note a failure of a request.

        Args:
            failure: the failure that a line reports.
            alone: whether no other conversation of the process had a turn when the line came.
        """
        noted = (self._now(), failure)
        if alone:
            self._own = noted
        if failure.status == QUOTA_STATUS:
            self._refusal = noted

    def note_output(self) -> None:
        """Note output of the turn. It drops the failures from more than `SKEW` seconds before."""
        oldest = self._now() - SKEW
        if self._own is not None and self._own[0] < oldest:
            self._own = None
        if self._refusal is not None and self._refusal[0] < oldest:
            self._refusal = None

    def certain(self) -> ModelFailure | None:
        """Return the last failure that cannot be another turn's, or `None`."""
        return None if self._own is None else self._own[1]

    def refusal(self) -> ModelFailure | None:
        """Return the last refusal for the key's quota, or `None`."""
        return None if self._refusal is None else self._refusal[1]
