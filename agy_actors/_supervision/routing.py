"""Chooses which member of a pool gets a message. Without effects."""

from __future__ import annotations

import enum
import hashlib
import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Load", "Router", "Routing"]


class Routing(enum.Enum):
    """How a pool chooses the member for a message."""

    SHORTEST_QUEUE = "shortest_queue"
    """The member that is free first. Messages are not assigned to a member before it is free."""

    ROUND_ROBIN = "round_robin"
    """The members in turn."""

    RANDOM = "random"
    """Any member, with equal probability."""

    CONSISTENT_HASH = "consistent_hash"
    """The same member for the same key, so that a conversation stays with its agent."""

    BROADCAST = "broadcast"
    """All members; the reply is the list of their replies."""


class Load(NamedTuple):
    """How busy a member is."""

    number: int
    """The number of its slot, which its replacement takes over."""

    waiting: int
    """How many messages it has, including the one that it handles."""

    up: bool
    """Whether it can take a message now."""


class Router:
    """Chooses members by one routing.

    Args:
        routing: the routing, other than `BROADCAST`, which needs no choice.
        seed: the source of randomness.
    """

    def __init__(self, routing: Routing, seed: random.Random | None = None) -> None:
        self._routing = routing
        # Seeded from the generator of the module `random`, which a user's test may seed.
        self._random = seed or random.Random(random.getrandbits(64))  # noqa: S311 (no secret)
        self._last = -1

    def choose(self, loads: Sequence[Load], key: str | None = None) -> int | None:
        """Return the number of the member for a message, or `None` if it must wait.

        Args:
            loads: the members to choose from, in the order of their numbers.
            key: the subject of the message, for `CONSISTENT_HASH`.
        """
        if not loads:
            return None
        match self._routing:
            case Routing.SHORTEST_QUEUE | Routing.BROADCAST:
                free = [load.number for load in loads if load.up and not load.waiting]
                return free[0] if free else None
            case Routing.ROUND_ROBIN:
                return self._next(loads)
            case Routing.RANDOM:
                return self._random.choice(_up_or_all(loads)).number
            case Routing.CONSISTENT_HASH:
                return max(loads, key=lambda load: _weight(key or "", load.number)).number

    def _next(self, loads: Sequence[Load]) -> int:
        candidates = _up_or_all(loads)
        later = [load for load in candidates if load.number > self._last]
        self._last = (later or candidates)[0].number
        return self._last


def _up_or_all(loads: Sequence[Load]) -> Sequence[Load]:
    """Leave out members that are down, unless all are down."""
    return [load for load in loads if load.up] or loads


def _weight(key: str, number: int) -> bytes:
    # Rendezvous hashing (Thaler and Ravishankar, 1998): the highest weight wins, so that adding or
    # removing a member moves only its own keys. Not `hash`, whose values differ between processes.
    return hashlib.blake2b(f"{number}:{key}".encode(), digest_size=8).digest()
