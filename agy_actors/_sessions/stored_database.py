"""`StoredDatabase`: an SQLite database that the threads of several processes use.

Guarantees:

*   All methods are thread-safe. One connection, with a lock, serves all threads of a process:
    SQLite lets only one of them write at a time anyway, and a connection per thread would stay
    open until its thread is collected.
*   At most one process at a time opens, creates or replaces the file (`<name>.lock` beside it).
    So no process opens the write-ahead log of a file that another one is replacing.
*   If the file is deleted or replaced while it is open, the next use opens the file that is there.
*   No connection is open across a fork. SQLite forbids both to use and to close a parent's
    connection in a child, and a child that only keeps it would share the parent's list of locks:
    its own connections to the same file would take no locks. So a fork waits until no thread uses
    the connection, and closes it. The next use in the parent opens another one.

Assumption: nothing else in this process opens the file. POSIX drops all locks of a process on a
file when it closes any descriptor of that file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from typing import TYPE_CHECKING, Literal, TypeVar

from agy_actors._actors import forks
from agy_actors._actors.runtime import current_runtime
from agy_actors._sdk.conversation_lock import ConversationLock
from agy_actors._sdk.errors import ConversationInUse
from agy_actors._sdk.private_folders import make_private_folder
from agy_actors._sessions.stored_errors import SessionStorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["StoredDatabase", "connect", "create_database", "remove_database", "transaction"]

T = TypeVar("T")

_BUSY_TIMEOUT = 30.0
"""Seconds that SQLite waits for the lock of another process. Arbitrary: a transaction takes
milliseconds, but a suspended process or a slow disk may take seconds."""

_OPEN_TIMEOUT = 600.0
"""Seconds to wait while another process opens the file. Arbitrary: it may rebuild an index of a
million conversations. If it dies, its lock is free at once."""

_OPEN_INTERVAL = 0.01
"""Seconds between two attempts to take the lock for opening. Arbitrary; an opening takes 2 ms."""

_databases: weakref.WeakSet[StoredDatabase] = weakref.WeakSet()
_registry = threading.RLock()
"""Held while a database is made, and during a fork."""

_held_in_fork: list[StoredDatabase] = []


class StoredDatabase:
    """An SQLite database that the threads of several processes use. Thread-safe.

    Args:
        path: the file.
        open_connection: opens the file and checks or creates its content. It is called while no
            other process opens the file.
    """

    def __init__(self, path: Path, open_connection: Callable[[], sqlite3.Connection]) -> None:
        self._path = path
        self._open_connection = open_connection
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._opened = 0
        self._in_use = False
        self._closed = False
        self._made_in = forks.generation
        with _registry:
            _databases.add(self)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` with the connection, outside of a transaction.

        Raises:
            ForkedProcessError: it was made in the parent process.
            SessionStorageError: it is closed.
            sqlite3.Error: SQLite failed.
            OSError: the lock file cannot be made.
            ConversationInUse: another process opens the file all the time.
        """
        forks.check(self._made_in)
        with self._lock, self._use() as connection:
            return work(connection)

    def read_soon(self, work: Callable[[sqlite3.Connection], T], seconds: float) -> T | None:
        """Call `work` as `read` does; return `None` if other threads use the file for too long.

        Args:
            work: reads from the connection.
            seconds: how long to wait for other threads.

        Raises:
            Exception: as for `read`.
        """
        forks.check(self._made_in)
        if not self._lock.acquire(timeout=seconds):
            return None
        try:
            with self._use() as connection:
                return work(connection)
        finally:
            self._lock.release()

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` with the connection, in a transaction that no other process writes in.

        Raises:
            Exception: as for `read`. Then nothing was written.
        """
        forks.check(self._made_in)
        with self._lock, self._use() as connection, transaction(connection):
            return work(connection)

    def changes(self) -> tuple[int, int, int]:
        """Return a value that is another one after each change, by any thread or process.

        Raises:
            Exception: as for `read`.
        """

        def count(connection: sqlite3.Connection) -> tuple[int, int, int]:
            # `data_version` counts the changes of others, and only within one connection.
            (others,) = connection.execute("PRAGMA data_version").fetchone()
            return self._opened, others, connection.total_changes

        return self.read(count)

    def disconnect(self) -> None:
        """Close the connection. The next use opens the file again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def close(self) -> None:
        """Close the database for good. Does nothing if it is closed, or in a forked child."""
        if self._made_in == forks.generation:
            with self._lock:
                self._closed = True
                self.disconnect()

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        if self._closed:
            raise SessionStorageError(
                f"cannot use {self._path}: it is closed", path=f"{self._path}"
            )
        if self._connection is not None and _identity(self._path) != self._identity:
            self.disconnect()
        if self._connection is None:
            with _only_opener(self._path):
                self._connection = self._open_connection()
                self._identity = _identity(self._path)
                self._opened += 1
        connection = self._connection
        before, self._in_use = self._in_use, True
        try:
            yield connection
        finally:
            self._in_use = before
            # A failed rollback, or a KeyboardInterrupt before the rollback.
            if not before and connection.in_transaction:
                self.disconnect()

    def before_fork(self) -> None:
        """Wait until no other thread uses the connection, and close it."""
        self._lock.acquire()
        # A signal handler may fork while its own thread uses the connection: it has to stay then.
        if not self._in_use:
            with contextlib.suppress(sqlite3.Error):
                self.disconnect()

    def after_fork(self) -> None:
        """Let other threads use the database."""
        self._lock.release()


def connect(
    path: Path, synchronous: Literal["NORMAL", "FULL"], check: Callable[[sqlite3.Connection], None]
) -> sqlite3.Connection:
    """Open an existing database in WAL mode.

    Args:
        path: the file.
        synchronous: whether a transaction is on the disk when it ends ("FULL").
        check: raises if the content is not usable. Then the file stays as it was.

    Raises:
        sqlite3.Error: SQLite failed, or the file does not exist.
        Exception: raised by `check`.
    """
    connection = _connect(path, "rw")
    try:
        check(connection)
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute(f"PRAGMA synchronous = {synchronous}")
    except BaseException:
        connection.close()
        raise
    return connection


def create_database(path: Path, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Create a database with mode 0600, in the place of an old one if there is one.

    The file gets its name when it is complete and on the disk. A crash before that leaves only a
    draft, which the next call removes. Call it while no process opens the file. A process that has
    the old file open notices at its next use that it was replaced.

    Args:
        path: the file.
        fill: writes the content, in one transaction.

    Raises:
        sqlite3.Error: SQLite failed.
        OSError: the folder cannot be created, or a file cannot be removed or renamed.
    """
    make_private_folder(path.parent)
    draft = path.with_name(f"{path.name}.new")
    remove_database(draft)
    with contextlib.closing(_connect(draft, "rwc")) as connection:
        # SQLite gives the mode of this file to its other files.
        with contextlib.suppress(OSError):  # File systems without modes refuse this.
            draft.chmod(0o600)
        with transaction(connection):
            fill(connection)
    remove_database(path)  # The write-ahead log of a deleted database may be left, too.
    draft.rename(path)
    _save_folders(path.parent)


def _connect(path: Path, mode: Literal["rw", "rwc"]) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block writes, or nothing if it raises."""
    # IMMEDIATE: SQLite cannot wait if a transaction that has read begins to write.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already ended it after some errors, such as a full disk.
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def remove_database(path: Path) -> None:
    """Remove the file of a database, its write-ahead log and the index of the log.

    Raises:
        OSError: they cannot be removed.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def _only_opener(path: Path) -> Iterator[None]:
    lock = ConversationLock(path.parent, path.stem, f"the database {path.name}")
    runtime = current_runtime()
    deadline = runtime.monotonic() + _OPEN_TIMEOUT
    while True:
        try:
            lock.take()
            break
        except ConversationInUse:
            if runtime.monotonic() >= deadline:
                raise
        time.sleep(_OPEN_INTERVAL)
    try:
        yield
    finally:
        lock.release()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _save_folders(folder: Path) -> None:
    """Write the names of a new file and of its folders, which may be new, to the disk.

    SQLite does this for its other files only.
    """
    for parent in (folder, *list(folder.parents)[:2]):
        with contextlib.suppress(OSError):  # Not all systems can do this for a folder.
            descriptor = os.open(parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _before_fork() -> None:
    _registry.acquire()
    _held_in_fork[:] = _databases
    for database in _held_in_fork:
        database.before_fork()


def _after_fork() -> None:
    for database in _held_in_fork:
        database.after_fork()
    _held_in_fork.clear()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
