"""What a supervisor decides: pure functions of state and event."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

import tenacity

from agy_actors._agent import InvalidConfig

if TYPE_CHECKING:
    from tenacity.wait import WaitBaseT

__all__ = ["Backoff", "GiveUp", "Limits", "Renew", "Restart", "RestartAfter", "Strategy", "decide"]


_LONGEST_ROW = 100
"""Failures in a row that are counted. Arbitrary: any backoff is at its end long before."""


class Strategy(enum.Enum):
    """Whom a supervisor restarts when a child ends in failure."""

    ONE_FOR_ONE = "one_for_one"
    """The child alone."""


class Restart(enum.Enum):
    """When a child is restarted. A graceful stop is never a reason."""

    PERMANENT = "permanent"
    """After every failure."""

    TRANSIENT = "transient"
    """After every failure; as `PERMANENT`, since an agent ends without one only when asked."""

    TEMPORARY = "temporary"
    """Never."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long a supervisor waits before a restart.

    The first restart after a quiet time comes at once: a lone crash is best forgotten
    soon. Those after it wait as `wait` says.
    """

    wait: WaitBaseT = dataclasses.field(
        default_factory=lambda: tenacity.wait_exponential_jitter(
            initial=0.25, max=30.0, jitter=0.25
        )
    )
    """A tenacity wait, asked with the number of failures in a row, less the first."""

    reset_after: float = 30.0
    """Seconds without a failure after which the next one counts as the first again."""

    def __post_init__(self) -> None:
        if not callable(self.wait):
            raise InvalidConfig(f"wait is a wait of tenacity, got {self.wait!r}")
        if not isinstance(self.reset_after, int | float) or not self.reset_after > 0:
            raise InvalidConfig(
                f"reset_after is a number of seconds above 0, got {self.reset_after!r}"
            )

    def delay(self, failures: int) -> float:
        """Return the seconds to wait before the restart after the n-th failure in a row."""
        if failures <= 1:
            return 0.0
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = failures - 1
        return max(0.0, float(self.wait(state)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The restart intensity: more restarts than this, and the child is given up."""

    max_restarts: int = 5
    within: float = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class RestartAfter:
    """Start the child again, after a delay in seconds."""

    delay: float
    failures: tuple[float, ...]
    """The times of the failures that count, for the next decision."""


@dataclasses.dataclass(frozen=True, slots=True)
class Renew:
    """Start the child again at once; it was no failure of its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class GiveUp:
    """Declare the child dead."""

    why: str


def decide(
    *,
    failures: tuple[float, ...],
    now: float,
    restart: Restart,
    limits: Limits,
    backoff: Backoff,
) -> RestartAfter | GiveUp:
    """Decide on a child that failed just now.

    Args:
        failures: the times of its earlier failures, oldest first, on the clock of `now`.
        now: the time of this failure.
        restart: the child's restart type.
        limits: the restart intensity. A window of `within` seconds holds the failures
            later than `now - within`.
        backoff: how long to wait.
    """
    if restart is Restart.TEMPORARY:
        return GiveUp("it is temporary, and is not restarted")
    times = (*failures, now)
    recent = sum(time > now - limits.within for time in times)
    if recent > limits.max_restarts:
        return GiveUp(
            f"it failed {recent} times within {limits.within:g} s, and {limits.max_restarts}"
            " restarts are allowed"
        )
    row = _in_a_row(times, backoff.reset_after)
    # The failures in a row may reach further back than the window, and without end.
    kept = times[-min(len(times), max(recent, min(row, _LONGEST_ROW))) :]
    return RestartAfter(backoff.delay(row), kept)


def _in_a_row(times: tuple[float, ...], reset_after: float) -> int:
    count = 1
    for later, earlier in zip(reversed(times), reversed(times[:-1]), strict=False):
        if later - earlier > reset_after:
            break
        count += 1
    return count
