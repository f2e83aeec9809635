"""The errors of actors, and the root of all errors of the package."""

from __future__ import annotations

import concurrent.futures
from typing import ClassVar

import pykka

__all__ = [
    "ActorDeadError",
    "AgyActorsError",
    "AskTimeout",
    "DeadlockError",
    "ForkedProcessError",
    "InvalidArgument",
    "InvalidConfig",
    "MailboxFull",
    "NotPicklableError",
    "ReplyCancelled",
    "UnknownMessage",
]


class AgyActorsError(Exception):
    """The root of every error of this package."""

    retryable: ClassVar[bool] = False
    """Whether the same request may succeed when made again, unchanged."""


class InvalidArgument(AgyActorsError, TypeError, ValueError):
    """Raised when an argument has the wrong type or value."""


class UnknownMessage(AgyActorsError, TypeError):
    """Raised when an actor has no handler for a message. It names the messages that have one."""


class MailboxFull(AgyActorsError):
    """Raised when sending to an actor whose turn lane is full."""

    retryable = True


class DeadlockError(AgyActorsError):
    """Raised at once when a wait could never end: actors wait for each other in a circle."""


class ActorDeadError(AgyActorsError, pykka.ActorDeadError):
    """Raised when sending to an actor that has ended, or when its end left an ask unanswered."""


class ReplyCancelled(AgyActorsError, concurrent.futures.CancelledError):
    """Raised when waiting for a reply whose future was cancelled."""


class AskTimeout(AgyActorsError, pykka.Timeout, TimeoutError):
    """Raised when a reply did not come within the timeout."""

    retryable = True


class ForkedProcessError(AgyActorsError, RuntimeError):
    """Raised in a forked child when it uses an actor, a future or a stream of its parent."""

    parent_pid: int
    """The id of the parent process."""

    def __init__(self, message: str, *, parent_pid: int = 0) -> None:
        # The default is for unpickling: a child may send the error to its parent.
        super().__init__(message)
        self.parent_pid = parent_pid


class InvalidConfig(AgyActorsError, ValueError):
    """Raised before anything starts, when an agent or a supervisor is configured wrongly."""


class NotPicklableError(AgyActorsError, TypeError):
    """Raised when a ref, a future, a stream or a subscription is pickled. It says what to do."""
