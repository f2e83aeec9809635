"""The reports of an actor's incarnations to their owner."""

from __future__ import annotations

import enum
from typing import Any, Protocol

__all__ = ["Outcome", "Owner"]


class Outcome(enum.Enum):
    """Why an incarnation ended."""

    ENDED = "ended"
    """It was stopped. No incarnation follows."""

    FAILED = "failed"
    """It did not start."""

    CRASHED = "crashed"
    """An error ended it, or its owner requested a restart."""

    RENEWED = "renewed"
    """An error outside the actor ended it. It does not count as a crash: the next incarnation
    starts at once."""


class Owner(Protocol):
    """The owner of an actor, which restarts it and receives a report on each incarnation.

    `ready` and `gone` are called on the incarnation's own thread. They must not block or raise.
    """

    def ready(self, actor: Any) -> None:
        """Take note that the incarnation has started."""

    def gone(self, actor: Any) -> None:
        """Take note that the incarnation and its event loop have ended. See its `_outcome`.

        Others see the end only after this returns. It is not called for an abandoned incarnation.
        """

    def dead_letter(self, actor: Any, message: Any) -> None:
        """Take note that the actor ended before it handled a message. Called on any thread."""
