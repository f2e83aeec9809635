"""The events and the actions of a pool. See `pool_logic`."""

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
    "AnswerResize",
    "BackoffOver",
    "Began",
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
    "HandOver",
    "Lost",
    "MemberDown",
    "MemberEnded",
    "MemberReady",
    "Overdue",
    "Ready",
    "Refused",
    "RejectTurn",
    "ResizeAbandoned",
    "Resized",
    "SetLane",
    "StartMember",
    "Tick",
    "TurnEvent",
]


# Events.


@dataclasses.dataclass(frozen=True, slots=True)
class Began:
    """The pool begins to start its members."""

    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class MemberReady:
    """A member is ready, for the first time or after a restart of its own."""

    member: str
    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class MemberDown:
    """A member crashed and restarts; it keeps its turn."""

    member: str


@dataclasses.dataclass(frozen=True, slots=True)
class MemberEnded:
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

    The asker has the reply or the error already. It is set only for a part of a broadcast.
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
    """A member has become free."""

    member: str
    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """A member ended with a turn that was not answered."""

    turn: Turn
    member: str
    error: BaseException
    for_good: bool = True
    """Whether the member has ended for good, and not only its thread."""
    movable: bool = True
    """Whether another member may take the turn."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """A member got a turn after it had ended."""

    turn: Turn
    member: str


@dataclasses.dataclass(frozen=True, slots=True)
class Cancelled:
    """The asker has stopped waiting for the turn."""

    turn: Turn


@dataclasses.dataclass(frozen=True, slots=True)
class Resized:
    """A request sets another number of members."""

    request: Hashable
    """Identifies the request in the `AnswerResize` that follows."""
    size: int
    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class ResizeAbandoned:
    """The asker of a resize has stopped waiting for the new members."""

    request: Hashable


@dataclasses.dataclass(frozen=True, slots=True)
class Tick:
    """Some time has passed, in a pool that scales."""

    waiting: int
    """How many turns wait in the mailbox."""
    now: float


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """The pool must end."""

    drain: bool
    """Whether its turns are answered first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """The pool has ended. No event follows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Overdue:
    """The time of a turn, or of a part of a broadcast, is over while it waits."""

    turn: Turn
    error: BaseException


TurnEvent = Accepted | Finished | Freed | Lost | Refused | Cancelled | Overdue

SizeEvent = Resized | ResizeAbandoned | Tick

Event = (
    Began
    | MemberReady
    | MemberDown
    | MemberEnded
    | BackoffOver
    | SizeEvent
    | Ending
    | Ended
    | TurnEvent
)


# Actions.


@dataclasses.dataclass(frozen=True, slots=True)
class StartMember:
    """Start a member; report `MemberReady` or `MemberEnded`."""

    member: str


@dataclasses.dataclass(frozen=True, slots=True)
class DelayStart:
    """Report `BackoffOver` after the backoff for this many failures in a row."""

    number: int
    token: int
    failures: int
    at_least: float = 0.0
    """The minimum of the backoff, in seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class EndMember:
    """End a member; report `MemberEnded`."""

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
class AnswerResize:
    """Answer a request for another size."""

    request: Hashable
    error: Exception | None
    """The error of the first start that failed; `None` if the new members are ready."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ready:
    """Tell the creator that all first members are ready."""


@dataclasses.dataclass(frozen=True, slots=True)
class FailPool:
    """End the pool: it cannot continue."""

    why: str | Exception
    """The reason, or the error of the first failed start, for the creator."""


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
    | AnswerResize
    | Ready
    | FailPool
)
