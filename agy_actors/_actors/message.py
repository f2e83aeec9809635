"""Typed messages: a message defines the type of its reply, and its lane."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pykka.messages import (
    ProxyCall,
    ProxyGetAttr,
    ProxySetAttr,
    _ActorStop,  # pyright: ignore[reportPrivateUsage] # no public name
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "DEFERRED",
    "PYKKA_MESSAGES",
    "TURN",
    "Lane",
    "Message",
    "ReceiveTimeout",
    "StopNow",
    "comes_after_turns",
    "find_handler",
    "takes_turn",
]

R = TypeVar("R")

PYKKA_MESSAGES = (ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop)
"""The types of the messages that pykka itself sends."""


class Lane(enum.Enum):
    """The two lanes of a mailbox."""

    CONTROL = "control"
    """Messages are handled as they come, also during a turn."""

    TURN = "turn"
    """Messages are handled one at a time, first come first served."""


TURN = Lane.TURN
"""`Lane.TURN`, for the hot paths: on a class, a member of an enum is a slow attribute."""


class StopNow(_ActorStop):
    """A request to stop without waiting for earlier messages."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ReceiveTimeout:
    """Sent to an actor that got no message for the seconds of its `set_receive_timeout`."""


DEFERRED = object()
"""Returned by a handler of a turn that keeps the envelope, which other code answers."""


class Message(Generic[R]):
    """A message whose reply has the type `R`.

    Subclass it, usually as a frozen dataclass, and `ref.ask(message)` is typed as
    returning `R`. Any other message takes the control lane, and its reply is `Any`.
    """

    __slots__ = ()

    lane: ClassVar[Lane] = Lane.CONTROL
    """The lane that the message takes through a mailbox."""

    after_turns: ClassVar[bool] = False
    """Whether it is answered only when no turn runs, although it takes the control lane."""


def takes_turn(message: object) -> bool:
    """Return whether a message takes the turn lane."""
    return isinstance(message, Message) and message.lane is TURN


def comes_after_turns(message: object) -> bool:
    """Return whether a message is answered only after the running turn."""
    return isinstance(message, Message) and (message.lane is TURN or message.after_turns)


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
