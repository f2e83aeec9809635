"""Checks the key of a message for a pool, by which `Routing.CONSISTENT_HASH` chooses the member."""

from __future__ import annotations

from agy_actors._actors.arguments import find_surrogate, shown
from agy_actors._actors.errors import InvalidConfig

__all__ = ["check_key"]


def check_key(key: object) -> None:
    """Refuse a key that does not have the same hash in every process.

    Raises:
        InvalidConfig: it is neither text nor `None`, or it contains a lone surrogate.
    """
    if key is None:
        return
    if not isinstance(key, str):
        raise InvalidConfig(f"key must be text, such as the conversation's name, got {shown(key)}")
    if (position := find_surrogate(key)) is not None:
        raise InvalidConfig(
            f"key contains a lone surrogate at position {position}, which cannot be encoded, got"
            f" {shown(key)}"
        )
