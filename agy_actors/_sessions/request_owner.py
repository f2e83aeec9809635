"""`RequestOwner`: shows other processes that the owner of running requests is alive."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agy_actors._actors.runtime import current_runtime
from agy_actors._sdk.conversation_lock import ConversationLock
from agy_actors._sdk.errors import ConversationInUse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["RequestOwner"]

_WHO = "the queue of requests"


class RequestOwner:
    """A name for a process, with a lock that the operating system drops when the process dies.

    A process id is no such name: another process may get it. A forked child does not keep the
    lock, see `ConversationLock`.

    Args:
        folder: the folder of the locks. It is created if it does not exist.

    Raises:
        OSError: the lock cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = current_runtime().new_id()
        """The name, which no other owner has."""
        self._lock = ConversationLock(folder, self.name, _WHO)
        self._lock.take()

    @contextlib.contextmanager
    def in_place_of(self, name: str) -> Iterator[bool]:
        """Tell whether an owner has died. If so, no other process is told this in the block.

        Raises:
            OSError: the lock cannot be made.
        """
        lock = ConversationLock(self._folder, name, _WHO)
        try:
            lock.take()
        except ConversationInUse:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def release(self) -> None:
        """Release the lock. Does nothing in a forked child, or if it is released."""
        self._lock.release()
