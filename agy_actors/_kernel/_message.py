"""Typed messages: a message says what its reply is, and which lane it takes."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DEFERRED", "TURN", "Lane", "Message", "find_handler", "takes_turn"]

R = TypeVar("R")


class Lane(enum.Enum):
    """The two lanes of a mailbox."""

    CONTROL = "control"
    """Handled as it comes, during a turn too."""

    TURN = "turn"
    """Waits for its turn: one at a time, first come first served."""


TURN = Lane.TURN
"""`Lane.TURN`, for the hot paths: on a class, a member of an enum is a slow attribute."""


DEFERRED = object()
"""What a handler of a turn returns that keeps the envelope, to have it answered elsewhere."""


class Message(Generic[R]):
    """A message whose reply is an `R`.

    Subclass it, usually as a frozen dataclass, and `ref.ask(message)` is typed as
    returning `R`. A message that is no `Message` takes the control lane, and its
    reply is `Any`.
    """

    __slots__ = ()

    lane: ClassVar[Lane] = Lane.CONTROL
    """The lane that the message takes through a mailbox."""


def takes_turn(message: object) -> bool:
    """Tell whether a message takes the turn lane."""
    return isinstance(message, Message) and message.lane is TURN


def find_handler(
    handlers: Mapping[type, Callable[..., Any]], message: object
) -> Callable[..., Any] | None:
    """Return the handler of a message: that of its class, or of the nearest base class."""
    kind = type(message)
    handler = handlers.get(kind)
    if handler is None:
        found = (handlers[base] for base in kind.__mro__[1:] if base in handlers)
        handler = next(found, None)
    return handler
