"""Checks of the arguments of the methods of a pool's ref."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agy_actors._actors.arguments import check_integer, shown
from agy_actors._actors.errors import InvalidArgument, InvalidConfig

__all__ = ["check_in_flight", "check_prompts"]


def check_in_flight(in_flight: object) -> int | None:
    """Return how many prompts may be in progress at a time, or `None` if that is not set.

    Raises:
        InvalidConfig: it is not an integer >= 1.
    """
    if in_flight is None:
        return None
    return check_integer("in_flight", in_flight, least=1, error=InvalidConfig)


def check_prompts(prompts: Iterable[Any]) -> Iterator[Any]:
    """Return an iterator over prompts.

    Raises:
        InvalidArgument: they cannot be iterated.
    """
    if not isinstance(prompts, Iterable):
        raise InvalidArgument(f"prompts must be a sequence of prompts, got {shown(prompts)}")
    return iter(prompts)
