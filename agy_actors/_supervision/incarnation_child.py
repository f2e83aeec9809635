"""`IncarnationChild`: a child whose incarnations are actors, each on its own thread."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

from pykka._envelope import Envelope as AnyEnvelope

from agy_actors._actors import registry
from agy_actors._actors.declare_dead import declare_dead
from agy_actors._actors.envelope import STOP, Envelope
from agy_actors._supervision.child import Child

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.lifeline import DeathReason

__all__ = ["IncarnationChild"]


class IncarnationChild(Child):
    """A child whose incarnations are actors, each on its own thread.

    Args:
        ref: its ref, made of its first incarnation.
        first: its first incarnation.
        owners: the URNs of its supervisor and those above.
        fields: those of `Child`.
    """

    end_requests: ClassVar[tuple[type, ...]] = STOP
    """The messages that ask for its end."""

    def __init__(
        self, first: Any, ref: AsyncioActorRef, *, owners: tuple[str, ...], **fields: Any
    ) -> None:
        super().__init__(**fields)
        self._owner_urns = owners
        self._ref = ref
        self._actor = first
        first._actor_ref = ref  # noqa: SLF001 (for its supervisor)
        first._owner_urns = owners  # noqa: SLF001 (as above)
        self._held: list[AnyEnvelope[Any]] = []
        """Messages that came while no incarnation ran, other than turns; oldest first."""

    @abc.abstractmethod
    def _make_incarnation(self) -> Any:
        """Return the next incarnation, which is not started yet.

        Return `None` if there is none, and report the exit of the last one again.
        """

    @property
    def ref(self) -> AsyncioActorRef:
        return self._ref

    @property
    def actor(self) -> Any:
        return self._actor

    @property
    def is_leaving(self) -> bool:
        return super().is_leaving or any(
            isinstance(held.message, self.end_requests) for held in self._held
        )

    def begin(self) -> None:
        if self.begun:
            self.put_held_back()
            actor = self._make_incarnation()
            if actor is None:
                return
            self._actor = actor._take_over(self._ref)  # noqa: SLF001 (as above)
            actor._owner_urns = self._owner_urns  # noqa: SLF001 (as above)
        else:
            self.begun = True
            registry.register(self._ref)
        self.silent = 0.0
        self._run()

    def request_restart(self) -> None:
        self._actor._request_restart()  # noqa: SLF001 (as above)

    def kill(self) -> None:
        self._actor._kill()  # noqa: SLF001 (as above)

    def watch_for_end(
        self, loop: asyncio.AbstractEventLoop, on_end_request: Callable[[], None]
    ) -> None:
        inbox = self._ref.actor_inbox

        def look() -> None:
            if self.running:
                return  # Scheduled before the start of an incarnation, and called after it.
            self._look_while_down()
            ends = False
            while (item := inbox.take(turns=False)) is not None:
                # A message that was told may come without an envelope.
                envelope = item if isinstance(item, AnyEnvelope) else Envelope(item)
                self._held.append(envelope)
                ends = ends or isinstance(envelope.message, self.end_requests)
            if ends:
                on_end_request()

        inbox.attach(loop, look)

    def _look_while_down(self) -> None:
        """Check the mailbox while no incarnation runs."""

    def put_held_back(self) -> None:
        """Put the messages back that came while no incarnation ran, in their order."""
        inbox = self._ref.actor_inbox
        inbox.detach()
        while self._held:
            inbox.put_back(self._held.pop())

    def declare_dead(self, error: Exception, reason: DeathReason) -> list[object]:
        if not self.running:
            self.put_held_back()
        return declare_dead(self._ref, error, reason)

    def is_responsive(self) -> bool:
        responsive: bool = self._actor._is_responsive()  # noqa: SLF001 (as above)
        return responsive
