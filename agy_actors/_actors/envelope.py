"""`Envelope`: a message with its future and its sender's context."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

from pykka._envelope import Envelope as AnyEnvelope
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.runtime import current_runtime

if TYPE_CHECKING:
    from pykka import Future

    from agy_actors._actors.call_chain import Frame

__all__ = ["STOP", "Envelope", "in_envelope", "is_abandoned", "is_stop"]

STOP: tuple[type, ...] = (_ActorStop,)
"""The types of the messages that ask for an actor's end."""


class Envelope(AnyEnvelope[Any]):
    """A message that was sent, with its reply's future."""

    __slots__ = ["context", "frames", "history", "sent_at"]

    context: contextvars.Context | None
    """The sender's context variables, if it takes a turn."""

    frames: tuple[Frame, ...]
    """The actors that wait, directly or not, for this message's reply."""

    history: Any
    """Notes of the actors that handled the message, or `None`. A new envelope for the same message
    keeps them."""

    sent_at: float | None
    """When it was sent, in seconds since the epoch, if it takes a turn."""

    def __init__(
        self,
        message: Any,
        reply_to: Future[Any] | None = None,
        frames: tuple[Frame, ...] = (),
        context: contextvars.Context | None = None,
        history: Any = None,
    ) -> None:
        # Not super().__init__(), to save a call for every message.
        self.message = message
        self.reply_to = reply_to
        self.frames = frames
        self.context = context
        self.history = history
        self.sent_at = None

    def note_sender(self) -> None:
        """Note the sender's context and the time. Call it on the sender's thread."""
        self.context = contextvars.copy_context()
        self.sent_at = current_runtime().time()


def in_envelope(item: Any) -> AnyEnvelope[Any]:
    """Return the message in an envelope, unless it is one."""
    return item if isinstance(item, AnyEnvelope) else Envelope(item)


def is_abandoned(envelope: AnyEnvelope[Any]) -> bool:
    """Return whether the reply was asked for and then cancelled."""
    reply_to = envelope.reply_to
    return isinstance(reply_to, ReplyFuture) and reply_to.cancelled()


def is_stop(message: object) -> bool:
    """Return whether a message is a request to stop: pykka's, or `StopNow`."""
    return isinstance(message, _ActorStop)
