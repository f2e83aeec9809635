"""The base of messages that create a child."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from agy_actors._actors.arguments import normalize
from agy_actors._actors.message import Message

__all__ = ["Creation", "fix_name"]

R = TypeVar("R")


class Creation(Message[R]):
    """Create a child. The reply is its ref, once it is ready."""

    __slots__ = ()

    kind: ClassVar[str]
    """The kind of child, for generated names."""

    name: str | None
    """The child's name under this supervisor; `None` generates one."""


def fix_name(message: Creation[Any]) -> None:
    """Put a message's name into Unicode's normal form C, in which equal names are equal texts."""
    if isinstance(message.name, str):
        object.__setattr__(message, "name", normalize(message.name))
