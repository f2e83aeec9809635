"""What happens to a pool (events), and what it does about it (actions). See `pool_logic`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

    from agy_actors._supervision.pool_state import Turn

__all__ = [
    "Accepted",
    "Action",
    "Answer",
    "BackoffOver",
    "Began",
    "CameUp",
    "CancelTurn",
    "Cancelled",
    "DelayStart",
    "EndMember",
    "Ended",
    "Ending",
    "Event",
    "FailPool",
    "FailTurn",
    "Finished",
    "Freed",
    "Gone",
    "HandOver",
    "Lost",
    "Ready",
    "Refused",
    "RejectTurn",
    "Resized",
    "SetLane",
    "Settle",
    "StartMember",
    "Tick",
    "TurnEvent",
    "WentDown",
]


# Events.


@dataclasses.dataclass(frozen=True, slots=True)
class Began:
    """The pool begins to start its members."""

    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class CameUp:
    """A member is ready, for the first time or after a restart of its own."""

    member: str
    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class WentDown:
    """A member crashed and restarts; it keeps its turn."""

    member: str


@dataclasses.dataclass(frozen=True, slots=True)
class Gone:
    """A member has ended for good, or did not start."""

    member: str
    error: Exception | None
    now: float
    by_turn: bool = False
    """Whether a turn crashed it."""


@dataclasses.dataclass(frozen=True, slots=True)
class BackoffOver:
    """The time of a scheduled start has come."""

    number: int
    token: int


@dataclasses.dataclass(frozen=True, slots=True)
class Accepted:
    """There is a new turn."""

    turn: Turn


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """A member replied to a turn.

    The asker has the reply, or the error, already. It is given for a part of a broadcast.
    """

    turn: Turn
    member: str
    reply: Any = None
    error: BaseException | None = None
    runs_on: bool = False
    """Whether the member may still be busy with it; `Freed` will follow."""
    now: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Freed:
    """A member has nothing to do any more."""

    member: str
    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """A member died with a turn that nobody has answered."""

    turn: Turn
    member: str
    error: BaseException
    for_good: bool = True
    """Whether the member has ended for good, and not only its thread."""
    movable: bool = True
    """Whether another member may take the turn."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """A member that was handed a turn had ended before."""

    turn: Turn
    member: str


@dataclasses.dataclass(frozen=True, slots=True)
class Cancelled:
    """The asker does not wait for the turn any more."""

    turn: Turn


@dataclasses.dataclass(frozen=True, slots=True)
class Resized:
    """Somebody wants another number of members."""

    request: Hashable
    """Named in the `Settle` that follows."""
    size: int
    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class Tick:
    """Some time has passed, in a pool that scales."""

    waiting: int
    """Turns that wait in the mailbox."""
    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """The pool is to end."""

    drain: bool
    """Whether its turns are to be answered first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """The pool has ended: nothing else will happen."""


TurnEvent = Accepted | Finished | Freed | Lost | Refused | Cancelled

Event = Began | CameUp | WentDown | Gone | BackoffOver | Resized | Tick | Ending | Ended | TurnEvent


# Actions.


@dataclasses.dataclass(frozen=True, slots=True)
class StartMember:
    """Start a member; report `CameUp` or `Gone`."""

    member: str


@dataclasses.dataclass(frozen=True, slots=True)
class DelayStart:
    """Report `BackoffOver` after the backoff for this many failures in a row."""

    number: int
    token: int
    failures: int
    at_least: float = 0.0
    """Seconds below which the backoff must not be."""


@dataclasses.dataclass(frozen=True, slots=True)
class EndMember:
    """End a member; report `Gone`."""

    member: str


@dataclasses.dataclass(frozen=True, slots=True)
class HandOver:
    """Give a turn to a member; report `Finished`, `Lost` or `Refused`.

    The reply to a part of a broadcast goes into the report, any other to the asker.
    """

    turn: Turn
    member: str


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """Answer a broadcast."""

    turn: Turn
    replies: list[Any]


@dataclasses.dataclass(frozen=True, slots=True)
class FailTurn:
    """Answer a turn with an error."""

    turn: Turn
    error: BaseException


@dataclasses.dataclass(frozen=True, slots=True)
class RejectTurn:
    """Answer a turn with the pool's end."""

    turn: Turn


@dataclasses.dataclass(frozen=True, slots=True)
class CancelTurn:
    """Cancel a part of a broadcast that a member has."""

    turn: Turn


@dataclasses.dataclass(frozen=True, slots=True)
class SetLane:
    """Take turns from the mailbox, or leave them there."""

    open: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Settle:
    """Answer a request for another size."""

    request: Hashable
    error: Exception | None
    """What the first start failed with; `None` if the new members are up."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ready:
    """Tell the creator that all first members have been up."""


@dataclasses.dataclass(frozen=True, slots=True)
class FailPool:
    """End the pool: it cannot go on."""

    why: str | Exception
    """What happened, or the error of the first start that failed, for the creator."""


Action = (
    StartMember
    | DelayStart
    | EndMember
    | HandOver
    | Answer
    | FailTurn
    | RejectTurn
    | CancelTurn
    | SetLane
    | Settle
    | Ready
    | FailPool
)
