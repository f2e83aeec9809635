"""`ChildOwner`: the part of the actor that owns children that `ChildLifecycle` uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agy_actors._actors.incarnation import Outcome

__all__ = ["ChildOwner"]


class ChildOwner(Protocol):
    """The part of the actor that owns the children that is used here."""

    name: str
    _outcome: Outcome
    """Why it ended, for the supervisor above."""
    _failed_with: Exception | None
    """The error that it failed with, for the supervisor above."""

    def stop(self) -> None:
        """Stop the actor."""

    def note_cause(self, error: Exception) -> None:
        """Use an error as the cause of the errors for asks of the actor after its end."""
