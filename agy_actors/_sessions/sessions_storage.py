"""`SessionsStorage`: the files of sessions: the index, and the requests of other programs.

The refs of sessions use it on the threads of users, and the actor on its own.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from google.antigravity.types import UsageMetadata

from agy_actors._actors.runtime import current_runtime
from agy_actors._sdk.private_folders import make_private_folder
from agy_actors._sessions.awake_session import AwakeSession
from agy_actors._sessions.other_programs import OtherPrograms
from agy_actors._sessions.request_store import REQUESTS, RequestStore
from agy_actors._sessions.session_index import SessionIndex
from agy_actors._sessions.session_info import SessionInfo
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors._sessions.session_labels import find_sessions

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SessionsStorage"]


class SessionsStorage:
    """The files of sessions, and the facts about those that are awake. Thread-safe.

    Args:
        folder: the folder of the sessions.

    Raises:
        SessionStorageError: the index cannot be opened.
        OSError: a folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        make_private_folder(folder)
        self.folder = folder
        self.index = SessionIndex(folder, lambda: find_sessions(folder))
        self.others = OtherPrograms(folder)
        self._awake: dict[str, AwakeSession] = {}
        self._lock = threading.Lock()
        self._requests: RequestStore | None = None
        self._closed = False

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._closed = True
            requests, self._requests = self._requests, None
        if requests is not None:
            requests.close()
        self.index.close()

    def requests(self, *, make: bool) -> RequestStore | None:
        """Return the durable requests.

        Args:
            make: make their database if it does not exist; else return `None` then.

        Raises:
            SessionStorageError: it cannot be opened.
        """
        with self._lock:
            if self._closed or self._requests is not None:
                return self._requests
            if make or (self.folder / REQUESTS).exists():
                self._requests = RequestStore(self.folder)
            return self._requests

    def wake(self, key: str) -> AwakeSession:
        """Return the facts about a session whose agent is to be made, and list the session."""
        known = self.index.get(key)
        if known is None:
            now = current_runtime().time()
            known = SessionInfo(
                key=key,
                conversation_id=conversation_id_of(key),
                created=now,
                last_used=now,
                turns=0,
                usage=UsageMetadata(),
            )
            self.index.put([known])
        facts = self._awake[key] = AwakeSession(known)
        return facts

    def find_awake(self, key: str) -> AwakeSession | None:
        """Return the facts about a session that is awake here; `None` for any other."""
        return self._awake.get(key)

    def sleep(self, key: str) -> None:
        """Note that a session's agent has ended, and write the facts about it."""
        facts = self._awake.get(key)
        if facts is not None:
            self.index.put([facts.info()])
            del self._awake[key]

    def forget(self, key: str) -> None:
        """Note that a session is deleted."""
        self._awake.pop(key, None)
        self.index.remove(key)

    def info(self, key: str) -> SessionInfo | None:
        """Return what is known about a session; `None` if it does not exist."""
        facts = self._awake.get(key)
        return self.index.get(key) if facts is None else facts.info()

    def used(self) -> list[SessionInfo]:
        """Return what is known about the sessions that are awake."""
        return [facts.info() for facts in list(self._awake.values())]
