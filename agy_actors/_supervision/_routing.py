"""To which member of a pool a message goes: pure functions."""

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
    """Whoever is free first. What waits belongs to nobody yet, so no queue is longer."""

    ROUND_ROBIN = "round_robin"
    """One after another."""

    RANDOM = "random"
    """Any, evenly."""

    CONSISTENT_HASH = "consistent_hash"
    """Always the same for the same key, so that a conversation stays with its agent."""

    BROADCAST = "broadcast"
    """All of them; the reply is the list of theirs."""


class Load(NamedTuple):
    """How busy a member is."""

    number: int
    """Its place in the pool, which its replacement takes over."""

    waiting: int
    """How many messages it has, the one that it handles included."""

    up: bool
    """Whether it can take a message just now."""


class Router:
    """Chooses members by one routing.

    Args:
        routing: the routing, other than `BROADCAST`, which leaves nothing to choose.
        seed: the source of chance.
    """

    def __init__(self, routing: Routing, seed: random.Random | None = None) -> None:
        self._routing = routing
        # Seeded by the module's, which is the one that a test of a user's seeds.
        self._random = seed or random.Random(random.getrandbits(64))  # noqa: S311 (no secret)
        self._last = -1

    def choose(self, loads: Sequence[Load], key: str | None = None) -> int | None:
        """Return the number of the member for a message, or `None` if it must wait.

        Args:
            loads: the members that may have it, in the order of their numbers.
            key: what the message is about, for `CONSISTENT_HASH`.
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
    """Leave out members that are down, unless all are: then they will be up again."""
    return [load for load in loads if load.up] or loads


def _weight(key: str, number: int) -> bytes:
    # Rendezvous hashing (Thaler and Ravishankar, 1998): the highest weight wins, so that a
    # member that comes or goes moves no key but its own. Not `hash`, which each process
    # salts anew.
    return hashlib.blake2b(f"{number}:{key}".encode(), digest_size=8).digest()
