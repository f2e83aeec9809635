"""The errors of the files of sessions."""

from __future__ import annotations

from agy_actors._actors.errors import AgyActorsError

__all__ = ["RequestConflict", "RequestNotFound", "RequestNotSaved", "SessionStorageError"]


class SessionStorageError(AgyActorsError):
    """Raised when a database of sessions cannot be read or written. It names the file."""

    path: str
    """The file of the database."""

    def __init__(self, message: str, *, path: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self._retryable = retryable

    @property
    def retryable(self) -> bool:  # type: ignore[override] # known for each error alone
        """Whether the same call may succeed later: `True` for a full disk, for example."""
        return self._retryable


class RequestNotSaved(SessionStorageError):
    """Raised when a request could not be saved. Submit it again with the same id.

    A request with the same id is accepted at most once, even if this one was saved after all.
    """


class RequestConflict(AgyActorsError, ValueError):
    """Raised when a request has the id of an earlier one with another key or prompt."""


class RequestNotFound(AgyActorsError, LookupError):
    """Raised when a receipt is used whose request is not kept any more."""
