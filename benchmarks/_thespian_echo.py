"""The actor that Thespian loads by its module's name, in a process of its own."""

from __future__ import annotations

from typing import Any

from thespian.actors import ActorTypeDispatcher

__all__ = ["Echo", "Tell"]


class Tell:
    """A message that is not answered."""


class Echo(ActorTypeDispatcher):  # type: ignore[misc] # It has no types.
    """Answers a number with itself."""

    def receiveMsg_int(self, message: int, sender: Any) -> None:  # noqa: N802 (Thespian's name)
        """Answer."""
        self.send(sender, message)

    def receiveMsg_Tell(self, message: Tell, sender: Any) -> None:  # noqa: N802
        """Do nothing."""
