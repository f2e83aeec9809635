"""Classes that users do not call: the error of a call says what to call instead."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from agy_actors._actors.errors import InvalidArgument

__all__ = ["MadeForUsers"]


class MadeForUsers:
    """Users cannot create it by calling the class; the error says what to call."""

    __slots__ = ()

    _made_from: ClassVar[type]
    """The token that the code of this package passes to create instances."""

    _call_instead: ClassVar[str]
    """What to call instead, for the error."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        # Not in `__init__`: Python would report missing arguments first.
        for part in (*args, *options.values()):
            if isinstance(part, cls._made_from):
                return super().__new__(cls)
        raise InvalidArgument(
            f"{cls.__name__} cannot be created by calling it: {cls._call_instead}"
        )
