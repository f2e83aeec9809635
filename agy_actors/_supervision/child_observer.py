"""`ChildObserver`: functions of the owner that are called at events of its children."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors._supervision.child import Child
    from agy_actors._supervision.restart_steps import Event

__all__ = ["ChildObserver"]


class _BeforeEnd(Protocol):
    def __call__(self, *, drain: bool) -> None: ...


async def _finish_nothing() -> None:
    """Finish no work."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChildObserver:
    """Functions that are called at events of the children, on the owner's thread."""

    on_event: Callable[[Event], None] = lambda _: None
    """Called with each event, after the actions that follow from it."""

    on_forgotten: Callable[[Child, Exception | None], None] = lambda *_: None
    """Called when a child has ended completely, with the error if it was given up."""

    before_end: _BeforeEnd = lambda *, drain: None  # noqa: ARG005 (the name is the interface)
    """Called when all children are about to end."""

    finish_work: Callable[[], Coroutine[Any, Any, None]] = _finish_nothing
    """Awaited before a supervisor that ends ends its children."""

    turns_move: Callable[[], bool] = lambda: False
    """Returns whether the turn of a child that has ended goes to another child."""

    drains_before_stop: bool = False
    """Whether the work is finished before a stop closes the owner's own mailbox."""

    def note_end(self, child: Child) -> None:
        """Let a child note that it has ended for good."""
        child.note_end(turns_move=self.turns_move())
