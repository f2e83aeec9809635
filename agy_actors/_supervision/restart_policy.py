"""The options for when and how a supervisor restarts its children."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

import tenacity

from agy_actors._actors.arguments import check_seconds, shown
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.retry_state import retry_state

if TYPE_CHECKING:
    from tenacity.wait import WaitBaseT

__all__ = ["Backoff", "Limits", "Restart", "Strategy"]


class Strategy(enum.Enum):
    """Which children a supervisor restarts when one fails."""

    ONE_FOR_ONE = "one_for_one"
    """The failed child only."""

    ONE_FOR_ALL = "one_for_all"
    """All children, because each depends on the others."""

    REST_FOR_ONE = "rest_for_one"
    """The failed child and the children that were started after it, which may depend on it."""


class Restart(enum.Enum):
    """Whether a child is restarted after a failure.

    Stopping a child, from outside or by its own `stop()`, is not a failure: it ends the child for
    good.
    """

    PERMANENT = "permanent"
    """After every failure."""

    TEMPORARY = "temporary"
    """Never. When its siblings are restarted together, the child is ended. An error of the model
    is not a failure: the agent gets a new incarnation, as any other."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long a supervisor waits before a restart.

    The first failure after a quiet period restarts at once; `wait` decides about the following
    ones.
    """

    wait: WaitBaseT = dataclasses.field(
        default_factory=lambda: tenacity.wait_exponential_jitter(
            initial=0.25, max=30.0, jitter=0.25
        )
    )
    """A tenacity wait. It is called with the number of consecutive failures minus one."""

    reset_after: float = 30.0
    """Seconds without a failure after which the next failure counts as the first again."""

    def __post_init__(self) -> None:
        if not callable(self.wait):
            raise InvalidConfig(f"wait must be a tenacity wait, got {shown(self.wait)}")
        seconds = check_seconds("reset_after", self.reset_after, error=InvalidConfig)
        object.__setattr__(self, "reset_after", seconds)

    def delay(self, failures: int) -> float:
        """Return the seconds to wait before the restart after the n-th consecutive failure."""
        if failures <= 1:
            return 0.0
        return max(0.0, float(self.wait(retry_state(failures - 1))))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The restart intensity. A child that needs more restarts than this is given up."""

    max_restarts: int = 5
    """How many restarts are allowed within `within` seconds."""

    within: float = 60.0
    """The length of the window, in seconds."""
