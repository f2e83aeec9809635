"""The table of an index of sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from agy_actors._sessions.session_info import SessionInfo

__all__ = ["SCHEMA", "SELECT", "USER_VERSION", "fill", "insert"]

USER_VERSION = 1
"""The version of the format. A release that changes it rebuilds older indexes."""

SCHEMA = (
    "CREATE TABLE sessions (key TEXT PRIMARY KEY NOT NULL, conversation_id TEXT NOT NULL,"
    " created REAL NOT NULL, last_used REAL NOT NULL, turns INTEGER NOT NULL,"
    " usage TEXT NOT NULL) WITHOUT ROWID"
)

SELECT = "SELECT key, conversation_id, created, last_used, turns, usage FROM sessions"

_INSERT = "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)"


def fill(connection: sqlite3.Connection, infos: Iterable[SessionInfo]) -> None:
    """Create the table with these rows in an empty database."""
    connection.execute(SCHEMA)
    connection.execute(f"PRAGMA user_version = {USER_VERSION}")
    insert(connection, infos)


def insert(connection: sqlite3.Connection, infos: Iterable[SessionInfo]) -> None:
    """Insert or replace rows."""
    rows = (
        (
            info.key,
            info.conversation_id,
            info.created,
            info.last_used,
            info.turns,
            info.usage.model_dump_json(exclude_none=True),
        )
        for info in infos
    )
    connection.executemany(_INSERT, rows)
