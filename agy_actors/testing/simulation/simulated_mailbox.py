"""`SimulatedMailbox`: a mailbox that tells the simulation about each message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from agy_actors._actors.mailbox import Mailbox
from agy_actors._actors.runtime import current_runtime

if TYPE_CHECKING:
    from pykka._envelope import Envelope as AnyEnvelope

    from agy_actors._actors.delayed import DelayedMessage
    from agy_actors._actors.envelope import Envelope

__all__ = ["SimulatedMailbox"]


class _Observer(Protocol):
    """What a mailbox tells. `SimulatedRuntime` implements it."""

    def note_put(self, mailbox: SimulatedMailbox, message: object) -> None:
        """Note that a message is about to be put. The calling fiber may be preempted here."""

    def note_ask(self, mailbox: SimulatedMailbox, message: object, reply_to: object) -> None:
        """Note that the mailbox accepted a message."""


class SimulatedMailbox(Mailbox):
    """The mailbox of real actors, observed by a simulation."""

    def __init__(self) -> None:
        super().__init__()
        runtime: Any = current_runtime()
        self._observer: _Observer = runtime
        self.label = "an actor"
        """The actor's name in traces."""

    def __str__(self) -> str:
        return self.label

    def put(self, envelope: AnyEnvelope[Any], /) -> None:
        """See `Mailbox.put`."""
        self._observer.note_put(self, envelope.message)
        super().put(envelope)
        self._observer.note_ask(self, envelope.message, envelope.reply_to)

    def deliver(self, message: DelayedMessage, envelope: Envelope) -> None:
        """See `Mailbox.deliver`."""
        self._observer.note_put(self, envelope.message)
        super().deliver(message, envelope)

    def post(self, message: object, /) -> None:
        """See `Mailbox.post`."""
        self._observer.note_put(self, message)
        super().post(message)
