"""Steps on the table of requests that need several statements."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from agy_actors._actors.runtime import current_runtime

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from agy_actors._sessions.request_state import RequestState

__all__ = ["End", "end", "next_requests", "other_owners"]


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """How a request ends."""

    state: RequestState
    reply: str | None = None
    error: str | None = None


def end(connection: sqlite3.Connection, how: End, number: int, key: str) -> None:
    """End an unfinished request, and let the next one of its key be taken up."""
    connection.execute(
        "UPDATE requests SET state = ?, reply = ?, error = ?, finished = ?, owner = NULL,"
        " interrupted = 0, is_next = 0 WHERE number = ?",
        (how.state.value, how.reply, how.error, current_runtime().time(), number),
    )
    connection.execute(
        "UPDATE requests SET is_next = 1 WHERE number ="
        " (SELECT min(number) FROM requests WHERE key = ? AND finished IS NULL)",
        (key,),
    )


def next_requests(
    connection: sqlite3.Connection, limit: int, skip_keys: Collection[str]
) -> list[tuple[int, str]]:
    """Return the numbers and keys of the oldest requests that can be taken up, one per key."""
    found: list[tuple[int, str]] = []
    query = "SELECT number, key FROM requests WHERE is_next AND state = 'queued' ORDER BY number"
    with contextlib.closing(connection.execute(query)) as rows:
        for number, key in rows:
            if key not in skip_keys:
                found.append((number, key))
            if len(found) == limit:
                break
    return found


def other_owners(connection: sqlite3.Connection, own: str) -> list[str]:
    """Return the owners of requests, except one."""
    rows = connection.execute(
        "SELECT DISTINCT owner FROM requests WHERE owner IS NOT NULL AND owner != ?", (own,)
    )
    return [owner for (owner,) in rows]
