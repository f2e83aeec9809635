"""The table of submitted requests, and the reading of its rows."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from agy_actors._sessions.request_state import RequestState
from agy_actors._sessions.stored_chat import decode_chat, decode_reply, decode_trace
from agy_actors._sessions.stored_checks import check_pages, check_version
from agy_actors._sessions.stored_database import connect, create_database
from agy_actors._sessions.stored_error import decode_error
from agy_actors._sessions.stored_request import StoredRequest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["IF_DAMAGED", "SELECT", "open_requests", "request"]

USER_VERSION = 1
"""The version of the format."""

IF_DAMAGED = (
    "restore it from a backup, or move it elsewhere to begin with an empty one (then the requests"
    " in it are lost)"
)

_SCHEMA = (
    # AUTOINCREMENT: no number is used again after its request was forgotten.
    # `is_next`: whether it is the oldest unfinished request of its key. Otherwise each claim would
    # read all requests that wait behind others.
    (
        "CREATE TABLE requests (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
        " key TEXT NOT NULL, chat TEXT NOT NULL, state TEXT NOT NULL, is_next INTEGER NOT NULL,"
        " owner TEXT, attempts INTEGER NOT NULL DEFAULT 0, interrupted INTEGER NOT NULL DEFAULT 0,"
        " history_length INTEGER, reply TEXT, error TEXT, created REAL NOT NULL, finished REAL)"
    ),
    "CREATE INDEX next_requests ON requests(number) WHERE is_next AND state = 'queued'",
    "CREATE INDEX unfinished_requests ON requests(key, number) WHERE finished IS NULL",
    "CREATE INDEX owned_requests ON requests(owner) WHERE owner IS NOT NULL",
    "CREATE INDEX finished_requests ON requests(finished) WHERE finished IS NOT NULL",
    "CREATE INDEX requests_by_key ON requests(key, number)",
    "CREATE INDEX requests_by_state ON requests(state, number)",
)

SELECT = (
    "SELECT id, key, number, chat, state, attempts, interrupted, history_length, reply, error,"
    " created, finished FROM requests"
)


def open_requests(path: Path) -> sqlite3.Connection:
    """Open a database of requests, and create it if it does not exist.

    Raises:
        SessionStorageError: a newer release of agy_actors wrote it.
        sqlite3.Error: SQLite failed, or it is not a database of requests.
        OSError: the folder cannot be created.
    """
    if not path.exists():
        create_database(path, _fill)
    return connect(path, "FULL", lambda connection: _check(path, connection))


def request(row: tuple[Any, ...]) -> StoredRequest:
    """Return the request of a row of `SELECT`.

    Raises:
        sqlite3.DatabaseError: the row cannot be read.
    """
    request_id, key, number, chat, state, attempts, interrupted, length, *rest = row
    reply, error, created, finished = rest
    try:
        return StoredRequest(
            id=request_id,
            key=key,
            number=number,
            chat=decode_chat(chat),
            trace=decode_trace(chat),
            state=RequestState(state),
            attempts=attempts,
            interrupted=bool(interrupted),
            history_length=length,
            reply=None if reply is None else decode_reply(reply),
            error=None if error is None else decode_error(error),
            created=created,
            finished=finished,
        )
    except ValueError as cause:
        raise sqlite3.DatabaseError(f"request {request_id!r} cannot be read: {cause}") from cause


def _check(path: Path, connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    check_version(path, version, USER_VERSION, "move the file elsewhere")
    table = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'requests'")
    if version != USER_VERSION or table.fetchone() != (_SCHEMA[0],):
        raise sqlite3.DatabaseError("it is not a database of requests")
    check_pages(path, connection)


def _fill(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {USER_VERSION}")
