"""`SupervisorContext`: what a supervisor shares with the supervisors above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agy_actors._actors.incarnation import Owner
    from agy_actors._supervision.child_kinds import ChildKinds
    from agy_actors._supervision.event_hub import EventHub

__all__ = ["SupervisorContext"]


class SupervisorContext(NamedTuple):
    """What a supervisor shares with the supervisors above it."""

    reporter: Owner | None
    """Reports this supervisor's start and end to the one above; `None` at the top."""

    path: str
    """The names of the supervisors above and of this one, each followed by a slash; empty at the
    top."""

    hub: EventHub
    """The hub of the supervisor above; at the top, its own."""

    kinds: ChildKinds
    """The kinds of children it creates."""

    owners: tuple[str, ...] = ()
    """The URNs of the supervisors above."""
