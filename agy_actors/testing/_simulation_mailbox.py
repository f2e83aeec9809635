"""A mailbox whose puts are seen, and are places where a strand may be held up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._kernel import Mailbox, current_host

if TYPE_CHECKING:
    from pykka._envelope import Envelope as AnyEnvelope

    from agy_actors.testing._simulation import Simulation

__all__ = ["SimulatedMailbox"]


class SimulatedMailbox(Mailbox):
    """The kernel's own mailbox, watched by a simulation."""

    def __init__(self) -> None:
        super().__init__()
        simulation: Any = current_host()
        self._simulation: Simulation = simulation
        self.label = "an actor"

    def __str__(self) -> str:
        return self.label

    def put(self, envelope: AnyEnvelope[Any], /) -> None:
        """See `Mailbox.put`."""
        self._simulation.note_put(self, envelope.message)
        super().put(envelope)
        self._simulation.note_ask(self, envelope.message, envelope.reply_to)

    def post(self, message: object, /) -> None:
        """See `Mailbox.post`."""
        self._simulation.note_put(self, message)
        super().post(message)
