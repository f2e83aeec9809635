"""How often an agent's unsaved turns are reported: once, until one is saved again."""

from __future__ import annotations

__all__ = ["Episode"]


class Episode:
    """A time in which an agent's turns are not saved: it is reported once.

    It is over when a turn has passed of which nothing bad was heard. For the agent's loop; it
    outlives incarnations.
    """

    def __init__(self) -> None:
        self.is_open = False
        """Whether it was reported, and is not over."""
        self._heard = False

    def begin_turn(self, *, in_doubt: bool = False) -> None:
        """Note that a turn begins, and whether it is in doubt that the one before was saved."""
        self.is_open = self.is_open and (self._heard or in_doubt)
        self._heard = False

    def note(self) -> bool:
        """Note that something was not saved, and return whether that is news."""
        self._heard = True
        news, self.is_open = not self.is_open, True
        return news
