"""Checks of a database that was just opened."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from agy_actors._sessions.stored_errors import SessionStorageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_pages", "check_version"]


def check_pages(path: Path, connection: sqlite3.Connection, *, is_suspect: bool = False) -> None:
    """Refuse a database with damaged pages, as far as there is a reason to look for them.

    SQLite reads a missing page as damaged, but takes the missing end of the last page as zeros. So
    a file of a broken number of pages is suspect. It may be a sound one: a full disk or a crash can
    break off a write to the file, and then the write-ahead log still has the whole page.

    Args:
        path: the file.
        connection: its connection.
        is_suspect: whether there is another reason. The check takes 0.1 s for 20 MB.

    Raises:
        sqlite3.DatabaseError: the database is damaged.
    """
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    if is_suspect or path.stat().st_size % page_size:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)


def check_version(path: Path, found: int, known: int, remedy: str) -> None:
    """Refuse a database of a newer release.

    Args:
        path: the file of the database.
        found: its `PRAGMA user_version`.
        known: the highest version that this release can use.
        remedy: what the user can do besides an upgrade.

    Raises:
        SessionStorageError: `found` is higher than `known`.
    """
    if found > known:
        raise SessionStorageError(
            f"cannot use {path}: a newer release of agy_actors wrote it (version {found} of its"
            f" format; this release knows up to {known}); upgrade agy_actors, or {remedy}",
            path=str(path),
        )
