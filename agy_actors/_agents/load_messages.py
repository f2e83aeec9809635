"""`GetLoad`: how many turns run and wait under a supervisor."""

from __future__ import annotations

import dataclasses

from agy_actors._actors.message import Message

__all__ = ["GetLoad", "LoadStatistics"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadStatistics:
    """A snapshot of the turns of all agents under a supervisor."""

    running: int
    """How many turns are running."""

    starting: int
    """How many of them have had no step from the harness yet."""

    waiting: int
    """How many turns wait for their start, because the machine is overloaded or because
    `max_running_turns` turns are running."""

    max_running: int | None
    """`max_running_turns`; `None` if the limit is adaptive."""

    max_starting: float | None
    """How many turns may be starting at a time; `None` if the limit is not adaptive. A number
    below 1 means that starts are spaced in time."""

    start_delay: float
    """The recent average of the seconds between a turn's start and its first step from the harness.
    It grows with the load of the machine, and not with the model's response time."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetLoad(Message[LoadStatistics]):
    """Ask a supervisor how many turns of all agents in its tree are running and waiting."""
