"""The states of a submitted request."""

from __future__ import annotations

import enum

__all__ = ["RequestState"]


class RequestState(enum.StrEnum):
    """The state of a submitted request."""

    QUEUED = "queued"
    """It is saved and waits for its turn."""

    RUNNING = "running"
    """A process has taken it up: its agent is woken, or its turn runs."""

    DONE = "done"
    """It has a reply."""

    FAILED = "failed"
    """It has an error instead of a reply."""

    CANCELLED = "cancelled"
    """It was cancelled before a process took it up."""
