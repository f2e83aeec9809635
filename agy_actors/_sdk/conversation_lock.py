"""One owner per conversation: a lock file beside the conversation's database.

The harness also opens a conversation that another process has open. Each of the two continues with
its own history, and turns are lost (measured with google-antigravity 0.1.22). So a session locks
the file `<save_dir>/<conversation_id>.lock` before it opens the conversation, and all other
sessions get `ConversationInUse`.

Guarantees:

*   At most one `ConversationLock` of a conversation is held at a time: in all programs that use
    the same folder, with any spelling of its path, on systems that have `fcntl`; in this
    process on others.
*   The lock is free as soon as its holder releases it or dies, even by SIGKILL. A forked child
    does not keep it, and neither does a program that the holder has started.
*   A renounced lock is never held again.

How it works:

*   It uses `flock` on its own descriptor. The operating system drops the lock when the last copy
    of the descriptor is closed. Started programs have no copy (O_CLOEXEC). A forked child has one,
    so it closes its copies before anything else runs in it. It must not unlock them, because that
    would release the parent's lock. A fork waits while a lock is taken, so a child knows every
    descriptor.
*   Two descriptors of one process exclude each other like those of two processes, so agents of
    one program cannot share a conversation either. Without `fcntl`, the registry in this process
    knows the holder.
*   The holder removes the file while it still has the lock. A process that locks a file checks
    that the path still leads to it, and otherwise tries again. So the lock of a removed file has
    no effect, and nothing waits for a child that has not yet closed its copy.
*   The file that a killed holder leaves behind is not locked. The next owner uses it.

The package `filelock` is no alternative. Its `UnixFileLock` (release 3.20.0) opens the file with
O_TRUNC before it has the lock, so a second process erases the first one's data.
It does not handle forks, so a forked child keeps the lock of a parent that died.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agy_actors._actors.runtime import current_runtime
from agy_actors._sdk.errors import AgentStartError, ConversationInUse
from agy_actors._sdk.private_folders import make_private_folder
from agy_actors._sdk.process.database_holders import harness_with

if TYPE_CHECKING:
    from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows. There, locks only work within this process.
    fcntl = None

__all__ = ["ConversationLock", "Holder"]

_MAX_BYTES = 4096
"""The largest number of bytes to read from a lock file. Arbitrary: `Holder.write` returns about a
hundred."""

_POLL_INTERVAL = 0.005
"""Seconds between two checks of a database. Arbitrary: a harness takes a few milliseconds."""

_registry = threading.RLock()
"""Held while a lock is taken or released, and during a fork. Re-entrant: a signal handler that
runs on the same thread may fork."""

_held: dict[Path, ConversationLock] = {}
"""The locks that this process holds, by the path of their file."""


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a conversation, as far as known."""

    pid: int | None = None
    host: str | None = None
    since: float | None = None
    """When it opened the conversation, in seconds since the epoch."""

    @classmethod
    def here(cls, pid: int | None, since: float | None = None) -> Holder:
        """Return a process of this computer as a holder."""
        return cls(pid, socket.gethostname(), since)

    @classmethod
    def read(cls, content: bytes) -> Holder:
        """Parse the content of a lock file. Invalid fields become `None`."""
        try:
            facts = json.loads(content)
        except ValueError:
            return cls()
        if not isinstance(facts, dict):
            return cls()
        pid, host, since = (facts.get(name) for name in ("pid", "host", "since"))
        return cls(
            pid=pid if type(pid) is int and pid > 0 else None,
            host=host if isinstance(host, str) and host else None,
            since=_as_time(since),
        )

    def write(self) -> bytes:
        """Return the content of a lock file. `read` parses it."""
        return json.dumps(dataclasses.asdict(self)).encode()

    def __str__(self) -> str:
        if self.pid is None:
            return "an unknown program"
        where = "" if self.host is None else f" on host {self.host!r}"
        own = " (this one)" if self == Holder.here(os.getpid(), self.since) else ""
        return f"process {self.pid}{own}{where}"


class ConversationLock:
    """The right to open one conversation. Thread-safe.

    Args:
        folder: the folder of the conversation. It is created if it does not exist.
        conversation_id: the id of the conversation.
        who: the agent that opens it, for error messages.
    """

    def __init__(self, folder: str | os.PathLike[str], conversation_id: str, who: str) -> None:
        self._folder = Path(folder)
        self._conversation_id = conversation_id
        self._who = who
        self._path: Path | None = None
        self._descriptor: int | None = None
        self.holder = Holder()
        """The holder while it is held: this process."""
        self._renounced = False

    @property
    def held(self) -> bool:
        """Whether this lock is held."""
        return self._path is not None

    def take(self, purpose: str = "open") -> None:
        """Take the lock without waiting. Does nothing if this lock is held already.

        Args:
            purpose: the verb for error messages, as in "cannot open conversation".

        Raises:
            ConversationInUse: another agent or program holds it.
            AgentStartError: it was renounced.
            OSError: the lock file cannot be made or locked. The error has its path.
        """
        with _registry:
            if self._renounced:
                raise AgentStartError(f"{self._who} was abandoned and cannot open a conversation")
            if self.held:
                return
            folder = Path(os.path.realpath(self._folder))
            path = folder / f"{self._conversation_id}.lock"
            other = _held.get(path)
            if other is not None:
                raise self.in_use(other.holder, purpose)
            holder = Holder.here(os.getpid(), current_runtime().time())
            if fcntl is not None:
                make_private_folder(folder)
                self._descriptor = self._lock_file(path, fcntl, purpose)
                # The content is only information for others. It must not fail on a full disk.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, 0)
                    os.pwrite(self._descriptor, holder.write(), 0)
            self.holder = holder
            self._path = path
            _held[path] = self

    async def wait_for_harness(self, seconds: float) -> None:
        """Wait until no harness has the database open. Call it while the lock is held.

        The harness of the last owner closes it a moment later. The harness of a program without
        these locks, such as one that uses only the SDK, may have it open, too.

        Raises:
            ConversationInUse: a harness still has it open after `seconds`.
        """
        database = self._folder / f"{self._conversation_id}.db"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (pid := harness_with(database)) is not None:
            if loop.time() >= deadline:
                raise self.in_use(Holder.here(pid))
            await asyncio.sleep(_POLL_INTERVAL)

    def release(self) -> None:
        """Release the lock. Does nothing if it is not held."""
        with _registry:
            path, self._path = self._path, None
            descriptor, self._descriptor = self._descriptor, None
            if path is None:
                return
            _held.pop(path, None)
            if descriptor is None or fcntl is None:
                return
            with contextlib.suppress(OSError):  # The folder may be gone, or be read-only by now.
                if _leads_to(path, descriptor):
                    path.unlink()
            # In case the file was not removed and another process has a copy of the descriptor.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def renounce(self) -> None:
        """Release the lock, and refuse to take it again."""
        with _registry:
            self._renounced = True
            self.release()

    def in_use(self, holder: Holder, purpose: str = "open") -> ConversationInUse:
        """Return the error that names the holder of the conversation."""
        since = "" if holder.since is None else f" since {_iso(holder.since)}"
        return ConversationInUse(
            f"{self._who} cannot {purpose} conversation {self._conversation_id} in"
            f" {self._folder}: it has been open{since} in {holder}; stop that one or wait until"
            " it sleeps, or use another name, conversation_id or folder",
            conversation_id=self._conversation_id,
            pid=holder.pid,
            host=holder.host,
            since=holder.since,
        )

    def _lock_file(self, path: Path, locks: Any, purpose: str) -> int:
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise self._cannot("made", path, error) from error
            keep = False
            try:
                locks.flock(descriptor, locks.LOCK_EX | locks.LOCK_NB)
                keep = _leads_to(path, descriptor)
            except BlockingIOError:
                holder = Holder.read(os.pread(descriptor, _MAX_BYTES, 0))
                if _leads_to(path, descriptor):
                    raise self.in_use(holder, purpose) from None
            except OSError as error:
                raise self._cannot("locked", path, error) from error
            finally:
                if not keep:
                    os.close(descriptor)
            if keep:
                return descriptor

    def _cannot(self, what: str, path: Path, error: OSError) -> OSError:
        return OSError(
            error.errno,
            f"the lock file of conversation {self._conversation_id} cannot be {what}:"
            f" {error.strerror}",
            str(path),
        )

    def _close_in_child(self) -> None:
        """Close the descriptor in a forked child, which does not own the conversation."""
        descriptor, self._descriptor, self._path = self._descriptor, None, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _leads_to(path: Path, descriptor: int) -> bool:
    """Return whether a path leads to the file of a descriptor."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _as_time(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        _iso(value)
    except (ValueError, OverflowError, OSError):  # Not a date that the system supports.
        return None
    return float(value)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")


def _drop_parents_locks() -> None:
    """Drop all locks in a forked child: the parent owns the conversations."""
    for lock in _held.values():
        lock._close_in_child()  # noqa: SLF001 (the same module)
    _held.clear()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_registry.acquire,
        after_in_parent=_registry.release,
        after_in_child=_drop_parents_locks,
    )
