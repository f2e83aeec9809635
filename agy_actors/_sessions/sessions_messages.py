"""The messages that sessions answer, and their statistics."""

from __future__ import annotations

import dataclasses

from agy_actors._actors.message import Lane, Message
from agy_actors._sessions.stored_request import (
    StoredRequest,
)
from agy_actors._supervision.pool_messages import Job

__all__ = [
    "DeleteSession",
    "GetSessionsStatistics",
    "LookForRequests",
    "Question",
    "SessionsStatistics",
    "SleepSession",
    "WaitForRequest",
    "WakeSession",
]


class Question(Job):
    """A message for a session's agent that it answers also during a turn."""

    __slots__ = ()

    lane = Lane.CONTROL


@dataclasses.dataclass(frozen=True, slots=True)
class WakeSession(Message[None]):
    """Open the conversation of a session. The reply comes when it is ready."""

    key: str
    seconds: float
    """How long the session may take to wake, in seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class SleepSession(Message[None]):
    """Close the conversation of a session after its running turn. The reply comes afterwards."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteSession(Message[bool]):
    """End a session and remove its conversation. The reply is whether it existed."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class LookForRequests(Message[None]):
    """Look for durable requests at once: one was submitted or cancelled."""


@dataclasses.dataclass(frozen=True, slots=True)
class WaitForRequest(Message[StoredRequest | None]):
    """Wait until a durable request is finished. The reply is `None` if it does not exist."""

    id: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionsStatistics:
    """A snapshot of sessions in one program."""

    name: str
    """Their name under their supervisor."""

    sessions: int
    """How many sessions the folder has, of all programs."""

    awake: int
    """How many have their conversation open in this program, including those that are waking or
    falling asleep."""

    busy: int
    """How many have a turn."""

    waiting: int
    """How many turns wait: for their session to wake, or for the turns before them."""

    elsewhere: int
    """How many turns' sessions wait for another program to close their conversation."""

    woken: int
    """How many times a session woke in this program."""

    slept: int
    """How many times a session fell asleep in this program, including those handed over."""

    handed_over: int
    """How many times a session was handed over to another program."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetSessionsStatistics(Message[SessionsStatistics]):
    """Ask for a snapshot of the sessions."""
