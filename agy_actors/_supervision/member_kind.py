"""`MemberKind`: the properties of a pool's members and their work."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Protocol

from agy_actors._supervision.work_kind import WorkKind

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


class MemberKind(WorkKind):
    """The properties of a pool's members and their work."""

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
