"""Tells why a database cannot be used, and makes the error for the user."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from agy_actors._sdk.errors import ConversationInUse
from agy_actors._sessions.stored_errors import SessionStorageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FAILURES", "is_damaged", "storage_error"]

FAILURES = (sqlite3.Error, OSError, ConversationInUse)
"""What the use of a database raises: SQLite's errors, and those of its lock file."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""SQLite reports a missing table or column as SQLITE_ERROR. The statements here are fixed, so it
has no other cause."""

_SHORT_READ = sqlite3.SQLITE_IOERR_SHORT_READ
"""The file ends in the middle of a page: it was truncated."""

_FULL = "the disk is full; free some space and try again"
_REFUSED = (
    "the file or its folder cannot be opened for writing; check that the folder exists, and the"
    " permissions of both"
)
_BUSY = "another process kept it locked for too long; try again"
_REASONS = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_IOERR: "the disk reports an error or is full; check it and try again",
    sqlite3.SQLITE_READONLY: _REFUSED,
    sqlite3.SQLITE_CANTOPEN: _REFUSED,
    sqlite3.SQLITE_PERM: _REFUSED,
}
_PRIMARY = 0xFF
"""The part of an extended result code that is the primary one."""


def is_damaged(error: BaseException) -> bool:
    """Return whether an error means that the content of the file is not a usable database."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    # The checks of the schema and of the rows raise errors without a code.
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code == _SHORT_READ or code & _PRIMARY in _DAMAGED


def storage_error(path: Path, error: BaseException, if_damaged: str) -> SessionStorageError:
    """Make the error for the user.

    Args:
        path: the file of the database.
        error: one of `FAILURES`.
        if_damaged: what the user can do if the file is damaged.
    """
    if isinstance(error, ConversationInUse):
        return _make(path, _BUSY, error, retryable=True)
    if isinstance(error, OSError):
        return _make(path, _REFUSED, error, retryable=False)
    if is_damaged(error):
        return _make(path, f"it is damaged; {if_damaged}", error, retryable=False)
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    reason = _REASONS.get(code, "SQLite reports an error")
    return _make(path, reason, error, retryable=reason is not _REFUSED)


def _make(path: Path, reason: str, error: BaseException, *, retryable: bool) -> SessionStorageError:
    return SessionStorageError(
        f"cannot use {path}: {reason} ({error})", path=str(path), retryable=retryable
    )
