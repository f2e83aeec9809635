"""The caller in whose context a message is handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agy_actors._actors import forks
from agy_actors._actors.call_chain import Frame, activity_of
from agy_actors._actors.future import ReplyFuture

if TYPE_CHECKING:
    import asyncio

    from pykka._envelope import Envelope as AnyEnvelope

    from agy_actors._actors.call_chain import Activity, CallingActor

__all__ = ["HandlingCaller"]


class HandlingCaller(NamedTuple):
    """The caller in whose context a message is handled, until the handler ends.

    Tasks that a handler leaves running keep its context, but no asker waits for them.
    """

    actor: CallingActor
    """The actor that handles the message."""
    envelope: AnyEnvelope[Any]
    """The message."""
    waiting: tuple[Frame, ...]
    """The actors that wait for its reply."""
    turn: bool
    """Whether it is a turn."""
    thread_id: int
    """The thread of the actor's loop."""

    def frames(self) -> tuple[Frame, ...]:
        """See `Caller.frames`."""
        actor = self.actor
        if actor.actor_inbox.made_in != forks.generation:
            return ()  # A tool forked, and this is the child: no asker waits for this code.
        messages = actor._messages  # noqa: SLF001 (one concept in two classes)
        reply_to = self.envelope.reply_to
        waited_for = isinstance(reply_to, ReplyFuture) and not reply_to.done()
        frame = Frame(
            actor.actor_urn,
            actor.caller_name(),
            in_turn=self.turn and self.envelope in (messages.turn, messages.handling),
            loop_blocked=False,
            handling=messages.is_handling(self.envelope),
        )
        return (*self.waiting, frame) if waited_for else (frame,)

    def activity(self, task: asyncio.Task[Any] | None) -> Activity | None:
        """See `Caller.activity`."""
        if self.actor.actor_inbox.made_in != forks.generation:
            return None
        return activity_of(self.actor, self.envelope, task)
