"""`ChildKinds`: the kinds of children that a supervisor can create.

This package contains supervisors of any actor, and no particular kind of child. The code that
starts a supervisor passes an instance of a subclass, which has the functions that make the
children, the answers to further messages, and the resources that the children share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from agy_actors._actors.errors import ActorDeadError, UnknownMessage
from agy_actors._supervision.errors import ActorStartError
from agy_actors._supervision.supervisor_messages import ReturnChild

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from agy_actors._actors.actor_ref import AsyncioActorRef

__all__ = ["ChildKinds"]


class ChildKinds:
    """The kinds of children of one supervisor, and the resources that they share.

    All methods are called on the supervisor's thread, unless they say otherwise.
    """

    makers: ClassVar[Mapping[type, Callable[..., Any]]] = {}
    """By the type of the message that creates a child: a function that makes the child, which is
    a `Child`, of the supervisor's actor, the name, the message and the `Claims`."""

    handlers: ClassVar[Mapping[type, Callable[[Any, Any], Any]]] = {}
    """By the type of a message: a function of the supervisor's actor and the message, which
    returns the reply or a coroutine."""

    dead_error: ClassVar[type[ActorDeadError]] = ActorDeadError
    """The type of the error for asks of a supervisor after its end."""

    shared: Any = None
    """The resources that the functions that make children share."""

    def below(self, name: str, message: Any) -> Self:  # noqa: ARG002 (for subclasses)
        """Return the kinds of children of a supervisor or a pool below.

        Args:
            name: its name.
            message: the message that creates it.
        """
        return self

    def start(self, owner: Any) -> None:
        """Start the actors that the whole tree shares. Called by the supervisor at the top."""

    async def stop(self) -> None:
        """Stop the actors that the whole tree shares, when all children have ended."""

    def stop_last(self) -> list[Awaitable[object]]:
        """Stop the actors that deliver the last events, and return the futures to wait for."""
        return []

    def clean_up(self) -> None:
        """Remove files that are no longer needed when the supervisor at the top has ended."""

    def start_error(self, ref: AsyncioActorRef, reason: str, error: Exception) -> Exception:
        """Return the error for the creator of a supervisor that did not start."""
        failed = ActorStartError(f"{ref} did not start: {reason}")
        failed.__cause__ = error
        return failed

    def ended_early_error(self, ref: AsyncioActorRef) -> Exception:
        """Return the error for the creator of a supervisor that was ended while it started."""
        return ActorStartError(f"{ref} was ended while it started", retryable=True)

    def unknown_message(
        self, owner: object, message: object, answered: Iterable[type]
    ) -> UnknownMessage:
        """Return the error for a message that a supervisor does not answer."""
        names = ", ".join(sorted(kind.__name__ for kind in answered if kind is not ReturnChild))
        return UnknownMessage(f"{owner} answers no {type(message).__name__}; it answers {names}")
