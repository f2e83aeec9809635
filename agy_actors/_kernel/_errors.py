"""What the kernel raises. The agents' errors derive from the same root."""

from __future__ import annotations

from typing import ClassVar

import pykka

__all__ = [
    "AgyActorsError",
    "AskTimeout",
    "DeadlockError",
    "ForkedProcessError",
    "InvalidArgument",
    "MailboxFull",
    "NotPicklableError",
    "UnknownMessage",
]


class AgyActorsError(Exception):
    """The root of every error of this package."""

    retryable: ClassVar[bool] = False
    """Whether the same request may succeed when made again, unchanged."""


class InvalidArgument(AgyActorsError, TypeError, ValueError):
    """Raised to the caller of a function whose argument is of the wrong kind or value."""


class UnknownMessage(AgyActorsError, TypeError):
    """Raised to the asker of a message that the actor does not answer. Names those it does."""


class MailboxFull(AgyActorsError):
    """Raised in the sender when an actor's turn lane is at its capacity."""

    retryable = True


class DeadlockError(AgyActorsError):
    """Raised in the asker when the actor it asks is waiting for the asker."""


class AskTimeout(AgyActorsError, pykka.Timeout, TimeoutError):
    """Raised when a reply did not come within the time its asker gave it."""

    retryable = True


class ForkedProcessError(AgyActorsError, RuntimeError):
    """Raised in a forked child on every use of an actor, a future or a stream of its parent."""

    parent_pid: int
    """The id of the process that it belongs to."""

    def __init__(self, message: str, *, parent_pid: int = 0) -> None:
        # With a default, so that it can be unpickled: a child may send it to its parent.
        super().__init__(message)
        self.parent_pid = parent_pid


class NotPicklableError(AgyActorsError, TypeError):
    """Raised when a ref, a future, a stream or a subscription is pickled. Says what to do."""
