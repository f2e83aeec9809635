"""The events of a supervisor's children, and the actions that follow.

See `restart_logic`, which decides what follows.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agy_actors._supervision.restart_policy import Restart

__all__ = [
    "Action",
    "Added",
    "AllExited",
    "AllReady",
    "BackoffOver",
    "BecameReady",
    "End",
    "Escalate",
    "Event",
    "Exited",
    "Failed",
    "Failure",
    "GiveUp",
    "Halt",
    "Halting",
    "Leaving",
    "Member",
    "Phase",
    "Renewed",
    "RequestRestart",
    "RestartAsked",
    "Resume",
    "Start",
    "Wait",
]


class Phase(enum.Enum):
    """The phase of a child."""

    STARTING = "starting"
    UP = "up"

    STOPPING = "stopping"
    """It ends, to start again."""

    DOWN = "down"
    """None of its incarnations runs; one must be started."""


class Failure(NamedTuple):
    """A failure of a child."""

    at: float
    turn: object | None
    """As `Failed.turn`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """The data about one child."""

    name: str
    restart: Restart
    number: int
    """How many children had been added when it was added, including itself."""
    phase: Phase = Phase.STARTING
    failures: tuple[Failure, ...] = ()
    """The failures that still count, oldest first."""
    backoff: int | None = None
    """The token of the backoff that it waits for; children that recover with it wait, too."""

    @property
    def is_ready(self) -> bool:
        """Whether it could start now, regardless of other children."""
        return self.phase is Phase.DOWN and self.backoff is None


class Halting(enum.Enum):
    """Whether the supervisor above has halted this one."""

    NO = "no"
    HALTING = "halting"
    HALTED = "halted"
    RESUMING = "resuming"


# Events.


@dataclasses.dataclass(frozen=True, slots=True)
class Added:
    """A child was added, and is started by the reporter; in a halted supervisor, by `Start`."""

    name: str
    restart: Restart


@dataclasses.dataclass(frozen=True, slots=True)
class BecameReady:
    """A child is ready."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """A child failed, at a time of the clock of all failures."""

    name: str
    now: float
    turn: object | None = None
    """Which turn crashed it, if one did. All crashes of one turn count once towards the restart
    intensity, since a retry of the turn may crash the child again. For the backoff, each counts."""


@dataclasses.dataclass(frozen=True, slots=True)
class Renewed:
    """An incarnation ended because of an error from outside; the next one must start."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class RestartAsked:
    """Someone asked for a restart of a child. It does not count as a failure."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Exited:
    """A child that was ended to start again has exited."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Leaving:
    """A child has ended for good, or ends."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class BackoffOver:
    """A backoff is over."""

    token: int


@dataclasses.dataclass(frozen=True, slots=True)
class Halt:
    """The supervisor above ends this one to start it again, so all children end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Resume:
    """The supervisor above starts this one again."""


Event = (
    Added
    | BecameReady
    | Failed
    | Renewed
    | RestartAsked
    | Exited
    | Leaving
    | BackoffOver
    | Halt
    | Resume
)


# Actions.


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """Start an incarnation of a child."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class RequestRestart:
    """End a child, to start it again; then report `Exited`."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """End a child for good."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Report `BackoffOver` after the backoff for this number of consecutive failures."""

    token: int
    name: str
    failures: int


@dataclasses.dataclass(frozen=True, slots=True)
class GiveUp:
    """Give a child up: declare it dead."""

    name: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Escalate:
    """This supervisor fails. `AllExited` will follow, and reports it to the one above."""

    name: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class AllExited:
    """Report to the supervisor above that no child runs any more."""


@dataclasses.dataclass(frozen=True, slots=True)
class AllReady:
    """Report to the supervisor above that all children are ready again."""


Action = Start | RequestRestart | End | Wait | GiveUp | Escalate | AllExited | AllReady
