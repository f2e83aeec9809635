"""`WorkKind`: the properties of messages that are delivered to actors on behalf of others."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

from agy_actors._actors.errors import ActorDeadError
from agy_actors._actors.message import Lane, Message
from agy_actors._supervision.errors import ActorStartError

__all__ = ["WorkKind"]


class _AnyTurn(Message[Any]):
    """Stands for any message that takes the turn lane."""

    __slots__ = ()
    lane = Lane.TURN


class WorkKind(abc.ABC):  # noqa: B024 (the defaults are for any actor)
    """The properties of messages that are delivered to actors, and of these actors.

    The defaults are for actors of any class: each message is handled at most once. If an actor
    ends while it handles a message, the asker gets an error.
    """

    noun: ClassVar[str] = "actor"
    """The name of such an actor in texts."""

    dead_error: ClassVar[type[ActorDeadError]] = ActorDeadError
    """The type of the error for messages that an end interrupted."""

    start_error: ClassVar[type[ActorStartError]] = ActorStartError
    """The type of the error for askers that wait for an actor that does not start."""

    a_turn: ClassVar[Message[Any]] = _AnyTurn()
    """An example of such a message, to find deadlocks."""

    def new_history(self) -> Any:
        """Return the notes of a message that each actor that gets it may add to."""
        return None

    def is_movable(self, message: Any) -> bool:
        """Return whether another actor may get a message whose actor has ended."""
        del message
        return False

    def idle_request(
        self, message: Any, error: BaseException | None, *, cancelled: bool
    ) -> Message[Any] | None:
        """Return a message that an actor answers when it has finished another.

        Args:
            message: the other message, which has a reply.
            error: the error, if the reply is an error.
            cancelled: whether the asker gave up first.

        Returns:
            `None` if the actor has finished it.
        """
        del message, error, cancelled
        return None

    def was_handled(self, error: BaseException) -> bool:
        """Return whether a message was handled although its reply is an error."""
        del error
        return False
