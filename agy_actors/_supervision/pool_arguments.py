"""Checks of what the methods of a pool's ref are given, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agy_actors._agent import InvalidConfig
from agy_actors._kernel import InvalidArgument, check_integer, find_surrogate, shown

__all__ = ["check_in_flight", "check_key", "check_prompts"]


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
