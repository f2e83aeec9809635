"""One owner per conversation: a lock file beside the conversation's database.

The harness opens a conversation that another process has open without complaint. Each of the
two goes on with its own history, and turns are lost (measured with google-antigravity 0.1.22).
So whoever opens a conversation first locks the file `<save_dir>/<conversation_id>.lock`, and
everybody else gets `ConversationInUse`.

Guarantees:

*   At most one `ConversationLock` of a conversation is held at a time: in all programs that use
    the same folder, by whatever spelling of its path, on systems that have `fcntl`; in this
    process on others.
*   The lock is free as soon as its holder releases it or dies, even by SIGKILL. A forked child
    does not keep it, and neither does a program that was started by the holder.
*   A lock that was renounced is never held again.

How:

*   `flock` on a descriptor of our own. The operating system drops the lock when the last copy of
    the descriptor is closed. Started programs have no copy (O_CLOEXEC). A forked child would have
    one, so it closes its copies before anything else runs in it. It must not unlock them: that
    would release the parent's lock. A fork waits while a lock is taken, so that a child knows
    every descriptor.
*   Two descriptors of one process exclude each other like those of two processes, so agents of
    one program cannot share a conversation either. The registry in this process tells who the
    holder is where there is no `fcntl`.
*   The holder removes the file while it still has the lock. Who locks a file checks that the path
    still leads to it, and tries again if not. So a removed file's lock is worth nothing, and
    nobody waits for a child that has not yet closed its copy.
*   A file that a killed holder left behind is not locked. The next owner takes it over.

Why not the package `filelock`: its `UnixFileLock` (release 3.20.0) opens the file with O_TRUNC
before it has the lock, so that the second opener erases what the first has written about itself;
and it registers nothing for forks, so that a forked child keeps the lock of a parent that died.
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

from agy_actors._agent._errors import AgentStartError, ConversationInUse
from agy_actors._agent.private_folders import make_private_folder
from agy_actors._harness import harness_with
from agy_actors._kernel import current_host

if TYPE_CHECKING:
    from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows. Locks hold within this process there.
    fcntl = None

__all__ = ["ConversationLock", "Holder"]

_MOST_BYTES = 4096
"""Bytes of a lock file that are read. Arbitrary: what we write takes about a hundred."""

_LOOK_EVERY = 0.005
"""Seconds between two looks at a database. Arbitrary: a harness takes a few milliseconds."""

_registry = threading.RLock()
"""Held while a lock is taken or released, and during a fork. Re-entrant: a signal handler that
runs on the same thread may fork."""

_held: dict[Path, ConversationLock] = {}
"""The locks that this process holds, by the path of their file."""


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a conversation, as far as it is known."""

    pid: int | None = None
    host: str | None = None
    since: float | None = None
    """In seconds since the epoch."""

    @classmethod
    def here(cls, pid: int | None, since: float | None = None) -> Holder:
        """Return a process of this host as a holder."""
        return cls(pid, socket.gethostname(), since)

    @classmethod
    def read(cls, content: bytes) -> Holder:
        """Read what a holder has written. What makes no sense is unknown."""
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
        """Return what `read` reads."""
        return json.dumps(dataclasses.asdict(self)).encode()

    def __str__(self) -> str:
        if self.pid is None:
            return "an unknown program"
        where = "" if self.host is None else f" on host {self.host!r}"
        own = " (this one)" if self == Holder.here(os.getpid(), self.since) else ""
        return f"process {self.pid}{own}{where}"


class ConversationLock:
    """The right to open one conversation. For any thread.

    Args:
        folder: where the conversation is kept. It is created if it does not exist.
        conversation_id: the conversation.
        who: who wants to open it, for errors.
    """

    def __init__(self, folder: str | os.PathLike[str], conversation_id: str, who: str) -> None:
        self._folder = Path(folder)
        self._conversation_id = conversation_id
        self._who = who
        self._path: Path | None = None
        self._descriptor: int | None = None
        self.holder = Holder()
        """Who holds it, while it is held: this process, and since when."""
        self._renounced = False

    @property
    def held(self) -> bool:
        """Whether this lock is held."""
        return self._path is not None

    def take(self, purpose: str = "open") -> None:
        """Take the lock. Does nothing if it is held already. Does not wait for its holder.

        Args:
            purpose: what is to be done with the conversation, for errors.

        Raises:
            ConversationInUse: somebody else holds it.
            AgentStartError: it was renounced.
            OSError: the lock file cannot be made or locked; names its path.
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
            holder = Holder.here(os.getpid(), current_host().time())
            if fcntl is not None:
                make_private_folder(folder)
                self._descriptor = self._lock_file(path, fcntl, purpose)
                # What is written only informs others. A full disk must not keep an owner out.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, 0)
                    os.pwrite(self._descriptor, holder.write(), 0)
            self.holder = holder
            self._path = path
            _held[path] = self

    async def wait_for_harness(self, seconds: float) -> None:
        """Wait until no harness has the database open any more. While the lock is held.

        One that its last owner has just left is not done with it at once, nor is one of a
        program that does not take our locks: the SDK by itself, say.

        Raises:
            ConversationInUse: one still has it after so many seconds.
        """
        database = self._folder / f"{self._conversation_id}.db"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (pid := harness_with(database)) is not None:
            if loop.time() >= deadline:
                raise self.in_use(Holder.here(pid))
            await asyncio.sleep(_LOOK_EVERY)

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
            # In case the file could not be removed, and somebody has a copy of the descriptor.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def renounce(self) -> None:
        """Release the lock, and refuse to take it again."""
        with _registry:
            self._renounced = True
            self.release()

    def in_use(self, holder: Holder, purpose: str = "open") -> ConversationInUse:
        """Return the error that names who holds the conversation."""
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
                holder = Holder.read(os.pread(descriptor, _MOST_BYTES, 0))
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

    def _forget(self) -> None:
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
    except (ValueError, OverflowError, OSError):  # No date, or none that the system knows.
        return None
    return float(value)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")


def _forget_parents_locks() -> None:
    """Begin anew in a forked child: the conversations are its parent's."""
    for lock in _held.values():
        lock._forget()  # noqa: SLF001 (a lock's own module)
    _held.clear()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_registry.acquire,
        after_in_parent=_registry.release,
        after_in_child=_forget_parents_locks,
    )
