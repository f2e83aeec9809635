"""`Episode`: reports an agent's unsaved turns once, until a turn is saved again."""

from __future__ import annotations

__all__ = ["Episode"]


class Episode:
    """A period in which an agent's turns are not saved.

    It ends after a turn without a problem. For the agent's loop; it outlives incarnations.
    """

    def __init__(self) -> None:
        self.is_open = False
        """Whether a period was reported and has not ended."""
        self._has_problem = False

    def begin_turn(self, *, maybe_unsaved: bool = False) -> None:
        """Note that a turn begins, and whether the previous one may be unsaved."""
        self.is_open = self.is_open and (self._has_problem or maybe_unsaved)
        self._has_problem = False

    def note(self) -> bool:
        """Note that a turn was not saved, and return whether to report it."""
        self._has_problem = True
        is_new, self.is_open = not self.is_open, True
        return is_new
