"""Checks of what a pool is made of, and of what the methods of its ref are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from agy_actors._agent import InvalidConfig
from agy_actors._kernel import (
    InvalidArgument,
    check_flag,
    check_integer,
    check_seconds,
    find_surrogate,
    shown,
)
from agy_actors._supervision._routing import Routing

if TYPE_CHECKING:
    from agy_actors._supervision._pool_messages import CreatePool

__all__ = ["check_in_flight", "check_key", "check_pool", "check_prompts"]


def check_in_flight(in_flight: object) -> int | None:
    """Return how many prompts may be under way at a time, or `None` if that is not set.

    Raises:
        InvalidConfig: it is not a whole number from 1.
    """
    if in_flight is None:
        return None
    return check_integer("in_flight", in_flight, least=1, error=InvalidConfig)


def check_key(key: object) -> None:
    """Refuse a key that cannot be hashed to the same number everywhere.

    Raises:
        InvalidConfig: it is neither text nor `None`, or it holds a lone surrogate.
    """
    if key is None:
        return
    if not isinstance(key, str):
        raise InvalidConfig(f"key is text, such as the conversation's name, got {shown(key)}")
    if (position := find_surrogate(key)) is not None:
        raise InvalidConfig(
            f"key holds a lone surrogate at position {position}, which cannot be encoded, got"
            f" {shown(key)}"
        )


def check_prompts(prompts: Iterable[Any]) -> Iterator[Any]:
    """Return an iterator over prompts.

    Raises:
        InvalidArgument: they cannot be iterated.
    """
    if not isinstance(prompts, Iterable):
        raise InvalidArgument(f"prompts are a sequence of prompts, got {shown(prompts)}")
    return iter(prompts)


def check_pool(message: CreatePool) -> None:
    """Refuse a pool that cannot be.

    Raises:
        InvalidConfig: names what is wrong, and what to give instead.
    """
    if not isinstance(message.routing, Routing):
        raise InvalidConfig(f"routing is one of agy_actors.Routing, got {message.routing!r}")
    for field in ("size", "capacity"):
        check_integer(field, getattr(message, field), least=1, error=InvalidConfig)
    most = message.max_size
    if most is not None and (
        check_integer("max_size", most, least=1, error=InvalidConfig) < message.size
    ):
        raise InvalidConfig(f"max_size is a whole number from size on, got {most!r}")
    if most is not None and message.routing is Routing.BROADCAST:
        raise InvalidConfig("a pool that broadcasts does not scale: all members have every turn")
    check_seconds("shrink_after", message.shrink_after, error=InvalidConfig)
    check_flag("keep_conversation", message.keep_conversation, error=InvalidConfig)
