"""The messages that every pool answers."""

from __future__ import annotations

import dataclasses
from typing import Any

from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.arguments import check_integer
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.message import Lane, Message

__all__ = [
    "GetPoolMembers",
    "GetPoolStatistics",
    "Job",
    "NestedJob",
    "PoolStatistics",
    "Resize",
]


class Job(Message[Any]):
    """A message for one of the members."""

    __slots__ = ("key", "message")

    lane = Lane.TURN

    def __init__(self, message: Message[Any], key: str | None) -> None:
        self.message = message
        self.key = key


class NestedJob(Job):
    """A message for one of the members that a turn waits for.

    It takes the control lane: the member that becomes free next may be the one that waits.
    """

    __slots__ = ()

    lane = Lane.CONTROL


@dataclasses.dataclass(frozen=True, slots=True)
class Resize(Message[None]):
    """Set the number of members. The reply comes when the new ones are ready.

    Raises:
        ActorStartError: a new member did not start. The pool tries again in the background.
    """

    size: int
    """The number of members, at least 1."""

    def __post_init__(self) -> None:
        check_integer("size", self.size, least=1, error=InvalidConfig)


@dataclasses.dataclass(frozen=True, slots=True)
class GetPoolMembers(Message[list[AsyncioActorRef]]):
    """Ask for the refs of the members, in the order of their slots."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """A snapshot of a pool."""

    name: str
    """Its name under its supervisor."""
    size: int
    """How many members it has, including those that are being started, restarted or replaced."""
    busy: int
    """How many members handle a message."""
    waiting: int
    """How many messages wait for a member."""
    replaced: int
    """How many members were replaced since the pool was created."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetPoolStatistics(Message[PoolStatistics]):
    """Ask for a snapshot of the pool."""
