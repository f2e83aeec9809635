"""`Source`: where `top` reads a supervisor, and where it sends actions."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agy_actors.telemetry.top.snapshot import Snapshot

__all__ = ["Action", "Source"]


class Action(enum.StrEnum):
    """What `top` can do with a node."""

    CANCEL = "cancel"
    """Cancel the running turn of an agent."""

    RESTART = "restart"
    """Restart a child of a supervisor, a pool or sessions."""

    SHUT_DOWN = "shut_down"
    """End a child with all below it, or the supervisor itself."""


class Source(Protocol):
    """Reads a supervisor. Each method takes a few seconds at most. For one thread at a time."""

    def read(self, since: int) -> Snapshot:
        """Return a snapshot, with the events after the one with the number `since`.

        Raises:
            TopUnavailable: the program does not answer.
        """
        ...

    def act(self, action: Action, node_id: str) -> str:
        """Carry out an action, and return what happened, in one line.

        Raises:
            TopUnavailable: the program does not answer.
        """
        ...

    def close(self) -> None:
        """Release what the source holds. A second call does nothing."""
        ...
