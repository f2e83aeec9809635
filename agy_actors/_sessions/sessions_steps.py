"""The events and the actions of sessions. See `sessions_logic`.

The events and actions that concern a single turn are those of pools (`pool_steps`). Their `member`
is the key of a session.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from agy_actors._supervision import pool_steps

if TYPE_CHECKING:
    from collections.abc import Hashable

    from agy_actors._supervision.pool_state import Turn

__all__ = [
    "Action",
    "AgentDown",
    "AgentEnded",
    "AgentReady",
    "AnswerRequest",
    "AskOwner",
    "Asked",
    "DeleteAsked",
    "EndAgent",
    "Ended",
    "Ending",
    "Event",
    "InUse",
    "Released",
    "RemoveFiles",
    "Removed",
    "Report",
    "SleepAsked",
    "StartAgent",
    "StopAsking",
    "Ticked",
    "WakeAsked",
    "Wanted",
]


# Events.


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """There is a new turn, or a question, for the session of `turn.key`."""

    turn: Turn
    seconds: float
    """How long it may wait until its session is awake."""
    question: bool = False
    """Whether its agent answers it also during a turn."""


@dataclasses.dataclass(frozen=True, slots=True)
class AgentReady:
    """The agent of a session is ready, for the first time or after a restart."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class AgentDown:
    """The agent of a session crashed and restarts; it keeps its turn."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class AgentEnded:
    """The agent of a session has ended, or did not start. Its conversation is closed."""

    key: str
    error: Exception | None


@dataclasses.dataclass(frozen=True, slots=True)
class InUse:
    """The conversation of a session is open in another program."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Released:
    """The other program has closed the conversation."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """Other programs ask for the conversations of these sessions, and of no others."""

    keys: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class WakeAsked:
    """A request asks to wake a session."""

    request: Hashable
    """Identifies the request in the `AnswerRequest` that follows."""
    key: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class SleepAsked:
    """A request asks to put a session to sleep after its running turn."""

    request: Hashable
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteAsked:
    """A request asks to delete a session."""

    request: Hashable
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Removed:
    """The files of a session were removed, or could not be."""

    key: str
    error: Exception | None


@dataclasses.dataclass(frozen=True, slots=True)
class Ticked:
    """Some time has passed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """The sessions must end."""

    drain: bool
    """Whether the turns are answered first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """The sessions have ended. No event follows."""


Report = AgentReady | AgentDown | AgentEnded | InUse | Released | Wanted
"""What agents and other programs did."""

Event = (
    Asked
    | Report
    | WakeAsked
    | SleepAsked
    | DeleteAsked
    | Removed
    | Ticked
    | Ending
    | Ended
    | pool_steps.Finished
    | pool_steps.Freed
    | pool_steps.Lost
    | pool_steps.Refused
    | pool_steps.Cancelled
)


# Actions.


@dataclasses.dataclass(frozen=True, slots=True)
class StartAgent:
    """Start the agent of a session; report `AgentReady`, `AgentEnded` or `InUse`."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class EndAgent:
    """End the agent of a session, which closes its conversation; report `AgentEnded`."""

    key: str
    handed_over: bool = False
    """Whether another program asked for the conversation."""


@dataclasses.dataclass(frozen=True, slots=True)
class AskOwner:
    """Ask the program that has the conversation open for it; report `Released`."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class StopAsking:
    """Withdraw the request for a conversation that nothing here needs any more."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveFiles:
    """Remove the files of a session; report `Removed`."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerRequest:
    """Answer a request."""

    request: Hashable
    error: Exception | None = None


Action = (
    StartAgent
    | EndAgent
    | AskOwner
    | StopAsking
    | RemoveFiles
    | AnswerRequest
    | pool_steps.HandOver
    | pool_steps.FailTurn
    | pool_steps.RejectTurn
)
