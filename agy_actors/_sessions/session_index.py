"""`SessionIndex`: lists the sessions of a folder without opening their conversations.

The index holds nothing that is not in the folder as well. So it is rebuilt if its file is missing
or damaged, and it needs no durable writes: after a power failure it may lack the last changes
(`synchronous = NORMAL`), but it is not damaged.

The damaged file is not kept. It helps nobody, since all of its content comes from the folder.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, TypeVar

from google.antigravity.types import UsageMetadata
from loguru import logger
from pydantic import ValidationError

from agy_actors._sessions.index_schema import SCHEMA, SELECT, USER_VERSION, fill, insert
from agy_actors._sessions.session_info import SessionInfo
from agy_actors._sessions.stored_checks import check_pages, check_version
from agy_actors._sessions.stored_database import StoredDatabase, connect, create_database
from agy_actors._sessions.stored_failures import (
    FAILURES,
    is_damaged,
    storage_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["SessionIndex"]

T = TypeVar("T")

_PAGE = 1000
"""Keys that are read at a time. Arbitrary: the read takes about a millisecond."""

_REMEDY = "delete the file: it will be rebuilt"


class SessionIndex:
    """The sessions of a folder, by key. Thread-safe; several processes may use one folder.

    If its file is missing or damaged, it is rebuilt and one WARNING says so, also while it is in
    use. Only a folder without conversations causes no warning: it is new.

    Args:
        folder: the folder of the sessions. It is created if it does not exist.
        found: lists the sessions that the folder has, for a rebuild. It is called by at most one
            process at a time.

    Raises:
        SessionStorageError: the file cannot be opened, or a newer release of agy_actors wrote it.
            All methods may raise it, except `close`.
        ForkedProcessError: raised by all methods except `close` in a forked child of the process
            that made the index.
    """

    def __init__(self, folder: Path, found: Callable[[], Iterable[SessionInfo]]) -> None:
        self._path = folder / "index.sqlite3"
        self._found = found
        self._is_suspect = False
        """Whether the file was found damaged while it was in use."""
        self._database = StoredDatabase(self._path, self._open)
        try:
            self._read(lambda _: None)
        except BaseException:
            self.close()
            raise

    def put(self, infos: Iterable[SessionInfo]) -> None:
        """Add sessions, or replace what is known about them: all of them, or none."""
        rows = list(infos)
        if rows:
            self._run(self._database.write, lambda connection: insert(connection, rows))

    def remove(self, key: str) -> bool:
        """Remove a session. Return whether it was there."""

        def remove(connection: sqlite3.Connection) -> bool:
            return connection.execute("DELETE FROM sessions WHERE key = ?", (key,)).rowcount > 0

        return self._run(self._database.write, remove)

    def get(self, key: str) -> SessionInfo | None:
        """Return what is known about a session; `None` if there is none with the key."""

        def get(connection: sqlite3.Connection) -> SessionInfo | None:
            row = connection.execute(f"{SELECT} WHERE key = ?", (key,)).fetchone()
            return None if row is None else _info(row)

        return self._read(get)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False

        def contains(connection: sqlite3.Connection) -> bool:
            found = connection.execute("SELECT 1 FROM sessions WHERE key = ?", (key,))
            return found.fetchone() is not None

        return self._read(contains)

    def __len__(self) -> int:
        return self._read(_count)

    def count_soon(self, seconds: float) -> int | None:
        """Return the number of sessions; `None` if other threads use the file for so long."""

        def read(work: Callable[[sqlite3.Connection], int | None]) -> int | None:
            return self._database.read_soon(work, seconds)

        return self._run(read, _count)

    def keys(self) -> Iterator[str]:
        """Iterate over the keys, sorted by code point.

        Sessions that are added or removed meanwhile may be missing or included. No transaction
        stays open between two keys.
        """
        after: str | None = None
        while page := self._page(after):
            yield from page
            after = page[-1]

    def close(self) -> None:
        """Close the file. Does nothing if it is closed, or in a forked child."""
        self._database.close()

    def _page(self, after: str | None) -> list[str]:
        # SQLite compares the bytes of UTF-8, which have the order of the code points.
        condition, values = ("", ()) if after is None else ("WHERE key > ?", (after,))
        query = f"SELECT key FROM sessions {condition} ORDER BY key LIMIT {_PAGE}"  # noqa: S608 (constants)

        def page(connection: sqlite3.Connection) -> list[str]:
            return [key for (key,) in connection.execute(query, values)]

        return self._read(page)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._run(self._database.read, work)

    def _run(
        self,
        method: Callable[[Callable[[sqlite3.Connection], T]], T],
        work: Callable[[sqlite3.Connection], T],
    ) -> T:
        try:
            try:
                return method(work)
            except sqlite3.DatabaseError as error:
                if not is_damaged(error):
                    raise
                self._is_suspect = True
                self._database.disconnect()
                return method(work)
        except FAILURES as error:
            raise storage_error(self._path, error, _REMEDY) from error

    def _open(self) -> sqlite3.Connection:
        """Open the file, and rebuild it first if needed. No other process opens it meanwhile."""
        reason = "it was missing"
        if self._path.exists():
            try:
                connection = self._open_existing()
            except sqlite3.DatabaseError as error:
                if not is_damaged(error):
                    raise
                reason = str(error)
            else:
                self._is_suspect = False
                return connection
        create_database(self._path, lambda connection: fill(connection, self._found()))
        self._is_suspect = False
        connection = self._open_existing()
        if count := _count(connection):
            logger.warning("Rebuilt {} with {} sessions: {}", self._path, count, reason)
        return connection

    def _open_existing(self) -> sqlite3.Connection:
        return connect(self._path, "NORMAL", self._check)

    def _check(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        check_version(self._path, version, USER_VERSION, _REMEDY)
        schema = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'sessions'")
        if version != USER_VERSION or schema.fetchone() != (SCHEMA,):
            raise sqlite3.DatabaseError("it is not an index of sessions")
        # Damage that was found in use must be found again, unless another process has rebuilt
        # the file in the meantime.
        check_pages(self._path, connection, is_suspect=self._is_suspect)
        for row in connection.execute(f"{SELECT} LIMIT 1"):
            _info(row)


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sessions").fetchone()[0])


def _info(row: tuple[str, str, float, float, int, str]) -> SessionInfo:
    key, conversation_id, created, last_used, turns, usage = row
    try:
        tokens = UsageMetadata.model_validate_json(usage)
    except ValidationError as error:
        raise sqlite3.DatabaseError(f"the usage of session {key!r} is invalid") from error
    return SessionInfo(
        key=key,
        conversation_id=conversation_id,
        created=created,
        last_used=last_used,
        turns=turns,
        usage=tokens,
    )
