"""Checks and removes the files of one session, and explains their errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agy_actors._actors.errors import AgyActorsError
from agy_actors._sdk.conversation_files import remove_conversation
from agy_actors._sdk.conversation_lock import ConversationLock
from agy_actors._sdk.errors import ConversationInUse
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors._sessions.stored_errors import SessionStorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["APP_DATA", "explain_storage", "is_in_use", "remove_session"]

APP_DATA = "app_data"
"""The folder, in the folder of the sessions, for the harness's other files about conversations."""

_LATE_WRITES = 0.1
"""Seconds after a turn's end in which the harness may still write files. See `open_sessions`."""


def is_in_use(folder: Path, conversation_id: str) -> bool:
    """Return whether a conversation is open, in this program or another."""
    lock = ConversationLock(folder, conversation_id, "a session")
    try:
        lock.take()
    except ConversationInUse:
        return True
    lock.release()
    return False


async def remove_session(
    folder: Path, key: str, app_data_dir: str, forget: Callable[[], object]
) -> None:
    """Remove the files of a session.

    Args:
        folder: the folder of the sessions.
        key: the session's key.
        app_data_dir: the folder of the harness's other files.
        forget: called when they are removed, before another program can open the conversation.

    Raises:
        ConversationInUse: the conversation is open. Nothing was removed.
        OSError: a file cannot be removed.
    """
    conversation_id = conversation_id_of(key)
    lock = ConversationLock(folder, conversation_id, f"session {key!r}")
    lock.take("delete")
    try:
        files = conversation_id, folder, app_data_dir
        found = await asyncio.to_thread(remove_conversation, *files)
        while found:
            await asyncio.sleep(_LATE_WRITES)
            found = await asyncio.to_thread(remove_conversation, *files)
        forget()
    finally:
        lock.release()


def explain_storage(error: Exception) -> Exception:
    """Return an error that also says what to do, if the operating system refused a file."""
    if not isinstance(error, OSError) or isinstance(error, AgyActorsError):
        return error
    explained = SessionStorageError(
        f"{error}; check the permissions of the file and its folder, and the space on the disk",
        path=str(error.filename or ""),
    )
    explained.__cause__ = error
    return explained
