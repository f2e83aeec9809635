"""`MemberKind`: the properties of a pool's members and their work."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from agy_actors._actors.errors import ActorDeadError
from agy_actors._actors.message import Lane, Message
from agy_actors._supervision.errors import ActorStartError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agy_actors._actors.mailbox import Mailbox
    from agy_actors._supervision.child import Child
    from agy_actors._supervision.owner_actor import OwnerActor
    from agy_actors._supervision.pool_state import PoolState, Turn

__all__ = ["Deadlines", "MemberKind", "NoDeadlines"]


class Deadlines(Protocol):
    """Ends turns whose time is over while no member can take them. For the pool's thread."""

    def note_lost(self, turn: Turn) -> None:
        """Note that a member failed during a turn."""

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the turns that are overdue."""

    def look_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Soon end the turns that are overdue, because new ones have come."""


class NoDeadlines:
    """Does not limit how long turns wait."""

    def note_lost(self, turn: Turn) -> None:
        """Do nothing."""

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do nothing."""

    def look_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do nothing."""


class _AnyTurn(Message[Any]):
    """Stands for any message that takes the turn lane."""

    __slots__ = ()
    lane = Lane.TURN


class MemberKind(abc.ABC):
    """The properties of a pool's members and their work.

    The defaults are for actors of any class: each message is handled at most once. If a member
    ends while it handles a message, the asker gets an error.
    """

    noun: ClassVar[str] = "actor"
    """The name of a member in texts."""

    dead_error: ClassVar[type[ActorDeadError]] = ActorDeadError
    """The type of the error for messages that the pool's or a member's end interrupted."""

    start_error: ClassVar[type[ActorStartError]] = ActorStartError
    """The type of the error for askers that wait for a member that does not start."""

    a_turn: ClassVar[Message[Any]] = _AnyTurn()
    """An example of a message for members, to find deadlocks."""

    @property
    @abc.abstractmethod
    def stop_timeout(self) -> float:
        """Seconds that a member gets to end."""

    @abc.abstractmethod
    def make(self, owner: OwnerActor, name: str) -> Child:
        """Make a member.

        Raises:
            Exception: it cannot be made, and counts as a member that did not start.
        """

    def make_deadlines(
        self,
        state: PoolState,
        inbox: Mailbox,
        end: Callable[[Turn, BaseException], None],
    ) -> Deadlines:
        """Return the object that ends turns that wait too long.

        Args:
            state: the pool's.
            inbox: the pool's.
            end: answers a turn that waits in the pool with an error.
        """
        del state, inbox, end
        return NoDeadlines()

    def new_history(self) -> Any:
        """Return the notes of a message that each member that gets it may add to."""
        return None

    def is_movable(self, message: Any) -> bool:
        """Return whether another member may get a message whose member has ended."""
        del message
        return False

    def idle_request(
        self, message: Any, error: BaseException | None, *, cancelled: bool
    ) -> Message[Any] | None:
        """Return a message that a member answers when it has finished another.

        Args:
            message: the other message, which has a reply.
            error: the error, if the reply is an error.
            cancelled: whether the asker gave up first.

        Returns:
            `None` if the member has finished it.
        """
        del message, error, cancelled
        return None

    def was_handled(self, error: BaseException) -> bool:
        """Return whether a message was handled although its reply is an error."""
        del error
        return False
