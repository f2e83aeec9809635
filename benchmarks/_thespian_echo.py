"""The actor that Thespian loads by its module's name, in a process of its own."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Echo", "Tell"]


# An extra that need not be installed: so type checkers do not look for it.
_actors: Any = importlib.import_module("thespian.actors")


class Tell:
    """A message that is not answered."""


class Echo(_actors.ActorTypeDispatcher):  # type: ignore[misc] # It has no types.
    """Answers a number with itself."""

    def receiveMsg_int(self, message: int, sender: Any) -> None:  # noqa: N802 (Thespian's name)
        """Answer."""
        self.send(sender, message)

    def receiveMsg_Tell(self, message: Tell, sender: Any) -> None:  # noqa: N802
        """Do nothing."""
