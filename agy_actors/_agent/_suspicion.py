"""What the harness says beside its steps, and whether it says so of this turn.

A failure that the harness means to retry, it tells at once on its standard error, and in
a step only when its wait is over: minutes later, or never if the turn ends before. So
these lines explain turns that do not end. They name no conversation, and a process may
have several; each names the goroutine that wrote it. No two conversations have the same, and a
turn keeps its own for as long as it lasts. What is known of whose a goroutine is:

*   One that speaks while no other conversation of the process has a turn is this turn's.
*   When its wait is over, a goroutine reports the failure in a line, and its turn gets
    the ERROR step. A turn that gets none then has another goroutine.

Where all that does not tell, nothing is said of the turn: no error is better than another's.
Nothing is guessed from what comes late or not at all: on a busy machine anything may.
Of a refusal for a quota it need not be known whose it is: all on a process have the same API
key, and the quota is the key's.

The lines are those of google-antigravity 0.1.22.
"""

from __future__ import annotations

import enum
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from agy_actors._agent._diagnosis import QUOTA_STATUS, failed_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._agent._diagnosis import ModelFailure

__all__ = ["SKEW", "Rumour", "RumourKind", "Suspicions", "read_rumour"]

SKEW = 1.0
"""Seconds by which the harness's words may come before a step that it sent earlier. They
come within milliseconds of each other, as measured; on a machine that is busy, tenths."""

_LINE = re.compile(r"\b[A-Z]\d{4} [\d:.]+ +(\d+) [\w./-]+:\d+\] (.*)", re.DOTALL)
_QUOTED = re.compile(r"[\"\\{]")
_CORE = 100  # Characters; arbitrary: enough to tell one failure from another.
_RETRIED = "Encountered retryable"
_REPORTED = "errorreport.go"


class RumourKind(enum.Enum):
    """What a line tells."""

    RETRIED = enum.auto()
    """A call of the model failed and will be made again."""

    REPORTED = enum.auto()
    """A failure is reported to its turn just now."""


class Rumour(NamedTuple):
    """A line of the harness, taken apart."""

    kind: RumourKind
    goroutine: int | None
    words: str


def read_rumour(line: str) -> Rumour | None:
    """Take a line of the harness apart, if it tells of a turn.

    That a compaction failed is told in each later turn again, and is no news of the service.
    """
    match = _LINE.search(line)
    goroutine = int(match[1]) if match else None
    _, retried, words = line.partition(_RETRIED)
    if retried:
        return Rumour(RumourKind.RETRIED, goroutine, retried + words)
    if match is not None and _REPORTED in line and failed_checkpoint(line) is None:
        return Rumour(RumourKind.REPORTED, goroutine, match[2])
    return None


class Suspicions:
    """What one turn has heard.

    Args:
        now: returns the time, in seconds from whenever.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._told: dict[int | None, tuple[float, ModelFailure]] = {}
        self._reports: list[tuple[float, int | None, str]] = []
        self._own_errors: list[tuple[float, str]] = []
        self._heard_alone: set[int | None] = set()

    def hear(
        self, rumour: Rumour, failure: ModelFailure | None = None, *, alone: bool = True
    ) -> None:
        """Note a line.

        Args:
            rumour: the line.
            failure: what it says of the model's service, if it is of a retry.
            alone: whether no other conversation of the process had a turn when it came.
        """
        now = self._now()
        if alone:
            self._heard_alone.add(rumour.goroutine)
        if rumour.kind is RumourKind.REPORTED:
            self._reports.append((now, rumour.goroutine, _core(rumour.words)))
        elif failure is not None:
            self._told.pop(rumour.goroutine, None)  # The latest is the last.
            self._told[rumour.goroutine] = (now, failure)

    def note_error(self, text: str) -> None:
        """Note an ERROR step of the turn, and what it says."""
        self._own_errors.append((self._now(), text))

    def note_output(self) -> None:
        """Note output of the turn. It refutes only what was told more than `SKEW` before."""
        now = self._now()
        self._told = {
            goroutine: told for goroutine, told in self._told.items() if now - told[0] <= SKEW
        }

    def certain(self) -> ModelFailure | None:
        """Return the last failure that was told of this turn, if it cannot be another's."""
        own = self._own()
        if own is not None:
            return self._told[own][1] if own in self._told else None
        mine = [
            failure
            for goroutine, failure in self._candidates().items()
            if goroutine in self._heard_alone
        ]
        return mine[-1] if mine else None

    def refusal(self) -> ModelFailure | None:
        """Return the last refusal for the key's quota, if it may be what the turn waits for."""
        if self._own() is not None:
            return None
        refusals = [
            failure for failure in self._candidates().values() if failure.status == QUOTA_STATUS
        ]
        return refusals[-1] if refusals else None

    def _own(self) -> int | None:
        """Return the turn's goroutine, if its ERROR steps told which it is."""
        for at, goroutine, words in reversed(self._reports):
            if self._came_as_step(at, words):
                near = {other for when, other, _ in self._reports if abs(when - at) <= SKEW}
                if len(near) == 1:
                    return goroutine
        return None

    def _candidates(self) -> dict[int | None, ModelFailure]:
        """Return the failures that were told and may be this turn's, the latest last."""
        now = self._now()
        others = {
            goroutine
            for at, goroutine, words in self._reports
            if now - at > SKEW and not self._came_as_step(at, words)
        }
        return {
            goroutine: failure
            for goroutine, (_, failure) in self._told.items()
            if goroutine is None or goroutine not in others
        }

    def _came_as_step(self, at: float, words: str) -> bool:
        return any(abs(at - when) <= SKEW and words in text for when, text in self._own_errors)


def _core(words: str) -> str:
    """Return what a report and its ERROR step have in common: a step escapes quotes."""
    return _QUOTED.split(words, maxsplit=1)[0][:_CORE]
