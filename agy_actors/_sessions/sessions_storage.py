"""`SessionsStorage`: the files of sessions: the index, and the requests of other programs.

The refs of sessions use it on the threads of users, and the actor on its own.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from google.antigravity.types import UsageMetadata
from loguru import logger

from agy_actors._actors.runtime import current_runtime
from agy_actors._sdk.errors import ConversationInUse
from agy_actors._sdk.private_folders import make_private_folder
from agy_actors._sessions import sessions_steps as steps
from agy_actors._sessions.awake_session import AwakeSession
from agy_actors._sessions.other_programs import OtherPrograms
from agy_actors._sessions.request_store import REQUESTS, RequestStore
from agy_actors._sessions.session_files import remove_session
from agy_actors._sessions.session_index import SessionIndex
from agy_actors._sessions.session_info import SessionInfo
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors._sessions.session_labels import find_sessions
from agy_actors._sessions.stored_errors import SessionStorageError

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors._agents.record import AgentRecord

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
        self._unwritten: dict[str, SessionInfo] = {}
        """The facts that could not be written, by key."""
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

    def count_soon(self, seconds: float) -> tuple[int | None, int | None]:
        """Return the number of sessions, and how many durable requests are queued.

        Args:
            seconds: how long to wait for other threads that use the same file. What cannot be read
                in time is `None`. If the requests were not opened, they are 0.

        Raises:
            SessionStorageError: a file cannot be read.
        """
        requests = self._requests
        queued = 0 if requests is None else requests.count_queued_soon(seconds)
        return self.index.count_soon(seconds), queued

    def cancel_requests(self, key: str) -> None:
        """Cancel the durable requests of a session that wait, if they can be read."""
        try:
            requests = self.requests(make=False)
            if requests is not None:
                requests.cancel_all(key)
        except SessionStorageError as error:
            logger.warning("The durable requests of session {!r} stay: {}", key, error)

    def wake(self, key: str) -> AwakeSession:
        """Return the facts about a session whose agent is to be made."""
        known = self._unwritten.get(key) or self.index.get(key)
        is_new = known is None
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
        facts = self._awake[key] = AwakeSession(known, is_new)
        return facts

    def open(self, key: str, record: AgentRecord) -> bool:
        """Note that a session's conversation was opened, and list the session if it is new.

        Returns:
            Whether it was opened for the first time since the session woke up.
        """
        facts = self._awake.get(key)
        if facts is None or facts.record is not None:
            return False
        facts.record = record
        if facts.is_new:
            self._write(facts.info())
        return True

    def find_awake(self, key: str) -> AwakeSession | None:
        """Return the facts about a session that is awake here; `None` for any other."""
        return self._awake.get(key)

    def length_of(self, key: str) -> int:
        """Return how many steps the conversation of an awake session has."""
        facts = self._awake.get(key)
        return 0 if facts is None or facts.record is None else facts.record.length

    def sleep(self, key: str) -> None:
        """Note that a session's agent has ended, and write the facts about it."""
        facts = self._awake.pop(key, None)
        if facts is not None and not (facts.is_new and facts.record is None):
            self._write(facts.info())

    def _write(self, info: SessionInfo) -> None:
        self._unwritten[info.key] = info
        try:
            self.write()
        except SessionStorageError as error:  # It is written later.
            logger.warning("The index lacks the last use of session {!r}: {}", info.key, error)

    def write(self) -> None:
        """Write the facts that the index lacks. Thread-safe.

        Raises:
            SessionStorageError: they were not written.
        """
        missing = dict(self._unwritten)
        used = [facts.info() for facts in list(self._awake.values()) if facts.record is not None]
        self.index.put([*missing.values(), *used])
        for key, info in missing.items():
            if self._unwritten.get(key) is info:
                self._unwritten.pop(key, None)

    async def remove(self, key: str, app_data_dir: str) -> steps.Event:
        """Remove a session's files, and return what became of it. Not thread-safe.

        Args:
            key: the session's key. It has no agent.
            app_data_dir: the folder of the harness's other files.
        """
        try:
            await remove_session(self.folder, key, app_data_dir, lambda: self._forget(key))
        except ConversationInUse:
            return steps.InUse(key)
        except Exception as error:  # noqa: BLE001 (the asker gets any error)
            return steps.Removed(key, error)
        return steps.Removed(key, None)

    def _forget(self, key: str) -> None:
        self._awake.pop(key, None)
        self._unwritten.pop(key, None)
        self.index.remove(key)
        self.others.clear(key)

    def info(self, key: str) -> SessionInfo | None:
        """Return what is known about a session; `None` if it does not exist."""
        facts = self._awake.get(key)
        if facts is not None and not (facts.is_new and facts.record is None):
            return facts.info()
        return self._unwritten.get(key) or self.index.get(key)
