"""`RequestStore`: a queue of requests on the disk, which several processes share.

Guarantees:

*   An accepted request is on the disk (`synchronous = FULL`). It stays there until it is forgotten.
*   At most one request of a key is `RUNNING` at a time, in all processes. The requests of a key
    run in the order in which they were accepted.
*   At most one process owns a `RUNNING` request. Only the owner can finish it or put it back,
    until the owner has died.

Each state changes in one transaction that begins with BEGIN IMMEDIATE, so no other process changes
the database between the check and the change.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from typing import TYPE_CHECKING, Any, TypeVar

from agy_actors._actors.arguments import find_surrogate, shown
from agy_actors._actors.errors import InvalidArgument
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.linked_trace import current_trace
from agy_actors._sessions.request_owner import RequestOwner
from agy_actors._sessions.request_rows import End, end, next_requests, other_owners
from agy_actors._sessions.request_schema import IF_DAMAGED, SELECT, open_requests, request
from agy_actors._sessions.request_state import RequestState
from agy_actors._sessions.stored_chat import encode_chat, encode_reply, has_prompt_of
from agy_actors._sessions.stored_database import StoredDatabase
from agy_actors._sessions.stored_error import encode_error
from agy_actors._sessions.stored_errors import (
    RequestConflict,
    RequestNotSaved,
    SessionStorageError,
)
from agy_actors._sessions.stored_failures import FAILURES, storage_error

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from agy_actors._agents.agent_messages import Chat, ChatReply
    from agy_actors._sessions.stored_request import StoredRequest

__all__ = ["REQUESTS", "RequestStore"]

REQUESTS = "requests.sqlite3"
"""The file in the folder of the sessions."""

T = TypeVar("T")

_PAGE = 500
"""Rows that are listed or removed at a time. Arbitrary: it takes some milliseconds."""


class RequestStore:
    """The submitted requests of a folder. Thread-safe; several processes may use one folder.

    Args:
        folder: the folder of the sessions. It is created if it does not exist.

    Raises:
        SessionStorageError: the database cannot be read or written, is damaged, or was written by a
            newer release of agy_actors. All methods may raise it, except `close`. A damaged
            database is never replaced.
        ForkedProcessError: raised by all methods except `close` in a forked child of the process
            that made the store.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / REQUESTS
        self._database = StoredDatabase(self._path, lambda: open_requests(self._path))
        with self._failures():
            self._owner = RequestOwner(folder / "owners")
        try:
            self._read(lambda _: None)
        except BaseException:
            self.close()
            raise

    def submit(self, id: str, key: str, chat: Chat[Any]) -> StoredRequest:  # noqa: A002 (the name of the field)
        """Save a request. When this returns, it is on the disk.

        The same id again, with the same key and prompt, returns the request that was saved first.

        Raises:
            RequestNotSaved: it could not be saved.
            RequestConflict: a request with this id has another key or prompt.
            InvalidPrompt: the chat cannot be saved: it has a `response_schema`, or metadata that
                is not JSON.
            InvalidArgument: the id or the key contains a lone surrogate.
        """
        for name, value in (("id", id), ("key", key)):
            if find_surrogate(value) is not None:
                raise InvalidArgument(
                    f"the {name} of a request must be Unicode, got {shown(value)}"
                )
        text = encode_chat(chat, current_trace())

        def submit(connection: sqlite3.Connection) -> StoredRequest:
            saved = connection.execute("SELECT key, chat FROM requests WHERE id = ?", (id,))
            if (row := saved.fetchone()) is None:
                connection.execute(
                    "INSERT INTO requests (id, key, chat, state, created, is_next) VALUES (?1, ?2,"
                    " ?3, 'queued', ?4, NOT EXISTS (SELECT 1 FROM requests WHERE key = ?2"
                    " AND finished IS NULL))",
                    (id, key, text, current_runtime().time()),
                )
            elif row[0] != key or not has_prompt_of(row[1], text):
                other = f"the key {shown(row[0])}" if row[0] != key else "another prompt"
                raise RequestConflict(
                    f"cannot submit request {shown(id)} for session {shown(key)}: a request with"
                    f" this id has {other}; use an id once, or submit the same request again"
                )
            return request(connection.execute(f"{SELECT} WHERE id = ?", (id,)).fetchone())

        try:
            return self._write(submit)
        except SessionStorageError as error:
            raise RequestNotSaved(
                f"request {shown(id)} for session {shown(key)} was not saved: {error}; after"
                " that, submit it again with the same id",
                path=error.path,
                retryable=error.retryable,
            ) from error

    def claim(self, limit: int, skip_keys: Collection[str] = ()) -> builtins.list[StoredRequest]:
        """Take up the oldest `QUEUED` requests: they become `RUNNING`, owned by this store.

        A request is taken up only if all earlier ones of its key have finished. One that cannot be
        read becomes `FAILED`, so that it does not block its key.

        Args:
            limit: the maximum number of requests.
            skip_keys: keys whose requests are not taken up.
        """

        def claim(connection: sqlite3.Connection) -> builtins.list[StoredRequest]:
            claimed = []
            for number, key in next_requests(connection, limit, skip_keys):
                try:
                    found = request(
                        connection.execute(f"{SELECT} WHERE number = ?", (number,)).fetchone()
                    )
                except sqlite3.DatabaseError as error:
                    failure = encode_error(storage_error(self._path, error, IF_DAMAGED))
                    end(connection, End(RequestState.FAILED, error=failure), number, key)
                    continue
                connection.execute(
                    "UPDATE requests SET state = 'running', owner = ? WHERE number = ?",
                    (self._owner.name, number),
                )
                claimed.append(dataclasses.replace(found, state=RequestState.RUNNING))
            return claimed

        return self._write(claim) if limit > 0 else []

    def note_attempt(self, id: str, history_length: int) -> bool:  # noqa: A002
        """Save that a prompt is about to be sent.

        Args:
            id: the id of the request.
            history_length: how many steps the conversation has now.

        Returns:
            Whether it was saved: `False` if this store does not own the request (any more). Then
            the prompt must not be sent.
        """
        return self._change_own(
            id, "attempts = attempts + 1, history_length = ?", (history_length,)
        )

    def put_back(self, id: str, *, was_attempted: bool = False) -> bool:  # noqa: A002
        """Return a `RUNNING` request to the queue, in its old place.

        Args:
            id: the id of the request.
            was_attempted: whether its last attempt was saved, and does not count.

        Returns:
            Whether it was put back: `False` if this store does not own it.
        """
        uncounted = ", attempts = attempts - 1" if was_attempted else ""
        return self._change_own(id, f"state = 'queued', owner = NULL{uncounted}", ())

    def finish(
        self,
        id: str,  # noqa: A002
        reply: ChatReply[Any] | None,
        error: Exception | None,
    ) -> bool:
        """Save the reply to a `RUNNING` request, or its error.

        Returns:
            Whether it was saved: `False` if this store does not own the request (any more).

        Raises:
            InvalidArgument: not exactly one of `reply` and `error` is given.
        """
        if (reply is None) == (error is None):
            raise InvalidArgument("a request must finish with either a reply or an error")
        how = End(
            RequestState.DONE if error is None else RequestState.FAILED,
            reply=None if reply is None else encode_reply(reply),
            error=None if error is None else encode_error(error),
        )

        def finish(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT number, key FROM requests WHERE id = ? AND owner = ?",
                (id, self._owner.name),
            ).fetchone()
            if row is not None:
                end(connection, how, *row)
            return row is not None

        return self._write(finish)

    def cancel(self, id: str) -> bool:  # noqa: A002
        """Cancel a request that is `QUEUED`. Return whether it was."""

        def cancel(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT number, key FROM requests WHERE id = ? AND state = 'queued'", (id,)
            ).fetchone()
            if row is not None:
                end(connection, End(RequestState.CANCELLED), *row)
            return row is not None

        return self._write(cancel)

    def cancel_all(self, key: str) -> None:
        """Cancel the requests of a session that are `QUEUED`."""
        for queued in list(self.list(key, RequestState.QUEUED)):
            self.cancel(queued.id)

    def get(self, id: str) -> StoredRequest | None:  # noqa: A002
        """Return a request; `None` if there is none with the id, or no longer."""
        return self._one("id = ?", (id,))

    def count_queued_soon(self, seconds: float) -> int | None:
        """Return how many are `QUEUED`; `None` if other threads use the file for so long."""
        query = "SELECT count(*) FROM requests WHERE state = 'queued'"
        with self._failures():
            return self._database.read_soon(
                lambda connection: int(connection.execute(query).fetchone()[0]), seconds
            )

    def list(
        self, key: str | None = None, state: RequestState | None = None
    ) -> Iterator[StoredRequest]:
        """Iterate over the requests in the order in which they were accepted.

        Each is as it was when the iteration came to it. No transaction stays open between two.

        Args:
            key: only requests of this session.
            state: only requests in this state.
        """
        wanted = {"key": key, "state": None if state is None else state.value}
        values = [value for value in wanted.values() if value is not None]
        conditions = [f" AND {name} = ?" for name, value in wanted.items() if value is not None]
        query = f"number > ? {''.join(conditions)} ORDER BY number LIMIT {_PAGE}"

        def page(connection: sqlite3.Connection) -> builtins.list[int]:
            # Not the whole rows: each may have media of 25 MB.
            rows = connection.execute(
                f"SELECT number FROM requests WHERE {query}",  # noqa: S608 (constants)
                (after, *values),
            )
            return [number for (number,) in rows]

        after = 0
        while numbers := self._read(page):
            for number in numbers:
                found = self._one(f"number = ?{''.join(conditions)}", (number, *values))
                if found is not None:
                    yield found
            after = numbers[-1]

    def take_over(self) -> int:
        """Return the requests of processes that have died to the queue, in their old places.

        They are marked as `interrupted` until they finish.

        Returns:
            How many they are.
        """
        owners = self._read(lambda connection: other_owners(connection, self._owner.name))
        return sum(map(self._take_over_from, owners))

    def forget(self, before: float) -> int:
        """Remove requests that finished long ago.

        Args:
            before: remove those that finished earlier than this, in seconds since the epoch.

        Returns:
            How many were removed.
        """

        def forget(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "DELETE FROM requests WHERE number IN (SELECT number FROM requests"
                " WHERE finished < ? ORDER BY finished LIMIT ?)",
                (before, _PAGE),
            ).rowcount

        total = 0
        while count := self._write(forget):
            total += count
        return total

    def changes(self) -> object:
        """Return a value that is another one after each change, by any thread or process.

        It takes microseconds, so it can be compared many times a second. Values of different
        stores cannot be compared.
        """
        with self._failures():
            return self._database.changes()

    def close(self) -> None:
        """Close the file. Requests that this store owns count as those of a process that has died.

        Does nothing if it is closed, or in a forked child.
        """
        self._database.close()
        self._owner.release()

    def _take_over_from(self, owner: str) -> int:
        def take_over(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "UPDATE requests SET state = 'queued', owner = NULL, interrupted = 1"
                " WHERE owner = ?",
                (owner,),
            ).rowcount

        with self._failures(), self._owner.in_place_of(owner) as has_died:
            return self._database.write(take_over) if has_died else 0

    def _change_own(self, request_id: str, assignments: str, values: tuple[object, ...]) -> bool:
        def change(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(
                f"UPDATE requests SET {assignments} WHERE id = ? AND owner = ?",  # noqa: S608 (constants)
                (*values, request_id, self._owner.name),
            )
            return changed.rowcount > 0

        return self._write(change)

    def _one(self, condition: str, values: tuple[object, ...]) -> StoredRequest | None:
        def one(connection: sqlite3.Connection) -> StoredRequest | None:
            row = connection.execute(f"{SELECT} WHERE {condition}", values).fetchone()
            return None if row is None else request(row)

        return self._read(one)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._failures():
            return self._database.read(work)

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._failures():
            return self._database.write(work)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise storage_error(self._path, error, IF_DAMAGED) from error
