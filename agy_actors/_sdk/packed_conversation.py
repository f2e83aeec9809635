"""Conversations whose files are compressed while nobody has them open.

A conversation is in one of two forms:

*   *Packed*: only the archive `ID.tar.xz` exists (see `conversation_archive`).
*   *Unpacked*: the database `ID.db` of the harness exists, with the files of its folder
    `brain/ID`, and `ID.label.json`, which describes the conversation.

Guarantees, if only the owner of the conversation's lock packs and unpacks it:

*   No file is lost when the process is killed, or the power fails, at any point. A new form is
    completely on the disk before the first file of the old form is removed.
*   `ID.db` decides: if it exists, the conversation is unpacked, and an archive beside it is of no
    use. So it is the last file that unpacking creates, and the first one that packing removes.
    Whatever else is left of another form is replaced or removed.
*   A disk without space prevents packing, but not the use of the conversation.
*   Packing removes only files that are in the archive and have not changed since they were read.
    Links and other special files in `brain/ID` stay where they are.

A write-ahead log that a killed harness left behind (`ID.db-wal`) is packed as it is: it contains
turns that are not in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from loguru import logger

from agy_actors._sdk.conversation_archive import (
    ArchiveDamaged,
    Member,
    Source,
    dump_label,
    read_archive,
    write_archive,
)
from agy_actors._sdk.conversation_files import (
    DATABASE_SUFFIX,
    LABEL_SUFFIX,
    archive_path,
    brain_folder,
    remove_temporary_files,
    temporary_path,
)
from agy_actors._sdk.conversation_labels import corrupt, read_labels
from agy_actors._sdk.durable_files import create_file, replace_file, sync_folder
from agy_actors._sdk.errors import AgentStartError
from agy_actors._sdk.private_folders import make_private_folder
from agy_actors._sdk.process.database_holders import harness_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["PackedConversation", "read_labels"]

_POLL_INTERVAL = 0.005
"""Seconds between two checks whether a harness has the database open. A harness closes it up to
3 ms after the end of its conversation (measured with google-antigravity 0.1.22)."""

_TIME_STEP = 0.001
"""Seconds by which the time of a file must differ to count as later: an archive has rounded times.
"""

_Identity = tuple[int, int, int]
"""Inode, size and time of change of a file: other values once it was replaced or written."""


class _Staged(NamedTuple):
    """A file from the archive that does not have its name yet."""

    temporary: Path
    target: Path
    modified: float


class PackedConversation:
    """The files of one conversation, compressed into one file while nobody has it open.

    Not thread-safe. Call it with the conversation's lock held.

    Args:
        conversation_id: the id of the conversation.
        save_dir: the folder of the databases, which also gets the archive.
        app_data_dir: the folder of the harness, which has the transcripts in `brain/ID`; `None`
            leaves them where they are.
        label: returns what `read_labels` returns for this conversation: a mapping that can be
            written as JSON. Called by `unpack` and `pack`.
        who: the owner of the conversation for messages, as in "session 'ada'".
    """

    def __init__(
        self,
        conversation_id: str,
        save_dir: Path,
        app_data_dir: str | Path | None,
        label: Callable[[], Mapping[str, Any]],
        who: str,
    ) -> None:
        self._conversation_id = conversation_id
        self._save_dir = save_dir
        self._app_data_dir = None if app_data_dir is None else Path(app_data_dir)
        self._make_label = label
        self._who = who
        self._archive = archive_path(save_dir, conversation_id)
        self._database = save_dir / f"{conversation_id}{DATABASE_SUFFIX}"
        self._log = save_dir / f"{conversation_id}{DATABASE_SUFFIX}-wal"
        self._log_index = save_dir / f"{conversation_id}{DATABASE_SUFFIX}-shm"
        self._label = save_dir / f"{conversation_id}{LABEL_SUFFIX}"
        self._brain = None if app_data_dir is None else brain_folder(app_data_dir, conversation_id)

    def unpack(self) -> None:
        """Restore the files, before a harness opens the conversation. Blocks for milliseconds.

        If there are no files, it only writes the label.

        Raises:
            ConversationCorrupt: the archive is damaged. No file was changed.
            AgentStartError: the archive has files for `app_data_dir`, which is `None`.
            OSError: a file cannot be read or written. The error has its path, and the archive was
                not changed.
        """
        make_private_folder(self._save_dir)
        self._remove_temporary_files()
        if self._database.exists():
            self._write_label()
            self._archive.unlink(missing_ok=True)
        elif self._archive.exists():
            try:
                self._restore()
            except BaseException:
                with contextlib.suppress(OSError):
                    self._remove_temporary_files()
                raise
        else:
            self._write_label()

    async def pack(self, seconds: float) -> bool:
        """Compress the files, and return whether it did. Logs a warning if the disk prevents it.

        Compressing takes about 20 ms for a short conversation, and up to 0.3 s per MB of text.
        Other tasks of the loop run meanwhile. If it is cancelled, the files stay unpacked.

        Args:
            seconds: how long to wait, at most, until no harness has the database open. The time
                to compress is not limited.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._is_open():
            if loop.time() >= deadline:
                logger.debug("The conversation of {} is still open, and not packed", self._who)
                return False
            await asyncio.sleep(_POLL_INTERVAL)
        try:
            return await self._pack()
        except OSError as error:
            logger.warning(
                "The conversation of {} cannot be compressed, and stays as it is (nothing is lost);"
                " make room or correct the permissions: {}",
                self._who,
                error,
            )
            return False

    def _restore(self) -> None:
        staged: list[_Staged] = []
        try:
            read_archive(
                self._archive,
                self._conversation_id,
                lambda member: staged.append(self._stage(member)),
            )
        except ArchiveDamaged as error:
            raise corrupt(self._who, self._archive, error) from error
        self._write_label()
        # What a process left that was killed while it packed. SQLite would apply the log.
        self._log.unlink(missing_ok=True)
        self._log_index.unlink(missing_ok=True)
        for file in staged:
            if file.target != self._database:
                self._place(file)
        for folder in self._folders_of(staged):
            sync_folder(folder)
        temporary_path(self._database).replace(self._database)
        sync_folder(self._save_dir)
        self._archive.unlink()
        self._remove_temporary_files()

    def _stage(self, member: Member) -> _Staged:
        """Write a file of the archive under a temporary name."""
        if member.name.startswith(self._conversation_id):
            target = self._save_dir / member.name
            temporary = temporary_path(target)
        elif self._brain is None:
            raise AgentStartError(
                f"{self._who} cannot be opened: {self._archive} contains transcripts, but"
                " app_data_dir is None; set app_data_dir"
            )
        else:
            target = self._brain / Path(member.name).relative_to("brain", self._conversation_id)
            temporary = temporary_path(self._brain) / target.relative_to(self._brain)
            make_private_folder(temporary.parent)
        with create_file(temporary, 0o700 if member.executable else 0o600) as file:
            shutil.copyfileobj(member.content, file)
        os.utime(temporary, (member.modified, member.modified))
        return _Staged(temporary, target, member.modified)

    def _place(self, file: _Staged) -> None:
        """Give a file its name, unless something wrote a later one after it was packed."""
        if not _is_later(file.target, file.modified):
            make_private_folder(file.target.parent)
            file.temporary.replace(file.target)

    def _folders_of(self, staged: list[_Staged]) -> set[Path]:
        folders = {self._save_dir}
        if self._app_data_dir is not None:
            for file in staged:
                folders.update(
                    folder
                    for folder in file.target.parents
                    if folder.is_relative_to(self._app_data_dir) and folder.exists()
                )
        return folders

    def _write_label(self) -> None:
        replace_file(self._label, dump_label(self._make_label()))

    def _is_open(self) -> bool:
        if harness_with(self._database) is not None:
            return True
        # Where the process cannot be found: SQLite removes the file when a database is closed.
        return sys.platform != "linux" and self._log_index.exists()

    async def _pack(self) -> bool:
        self._remove_temporary_files()
        if not self._database.exists():
            if self._archive.exists():  # The rest belongs to a change that did not finish.
                self._log.unlink(missing_ok=True)
                self._log_index.unlink(missing_ok=True)
            self._label.unlink(missing_ok=True)
            return False
        label = dump_label(self._make_label())
        packed: dict[Path, _Identity] = {}
        temporary = temporary_path(self._archive)
        try:
            with (
                create_file(temporary) as file,
                contextlib.closing(write_archive(file, label, self._sources(packed))) as steps,
            ):
                for _ in steps:
                    await asyncio.sleep(0)
            # This thread may have been stopped for so long that another one took the lock.
            if self._is_open() or not self._is_as(packed):
                self._remove_temporary_files()
                return False
            temporary.replace(self._archive)
        except BaseException:
            with contextlib.suppress(OSError):
                self._remove_temporary_files()
            raise
        sync_folder(self._save_dir)
        self._remove_unpacked(packed)
        return True

    def _is_as(self, packed: Mapping[Path, _Identity]) -> bool:
        """Whether the database and its log are those that were packed."""
        return all(_identity(path) == packed.get(path) for path in (self._database, self._log))

    def _sources(self, packed: dict[Path, _Identity]) -> Iterator[Source]:
        """Open one file after the other, and add each to `packed`."""
        for name, path in self._files():
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                packed[path] = _identity_of(status)
                yield Source(name, status.st_mtime, bool(status.st_mode & stat.S_IXUSR), file)

    def _files(self) -> Iterator[tuple[str, Path]]:
        yield self._database.name, self._database
        if self._log.exists():
            yield self._log.name, self._log
        if self._brain is not None:
            for path in _regular_files(self._brain):
                relative = path.relative_to(self._brain)
                yield PurePath("brain", self._conversation_id, relative).as_posix(), path

    def _remove_unpacked(self, packed: Mapping[Path, _Identity]) -> None:
        self._database.unlink()
        # Before the others: with the database, the conversation would be unpacked without them.
        sync_folder(self._save_dir)
        for path, identity in packed.items():
            with contextlib.suppress(OSError):  # The next owner replaces what is left.
                if _identity(path) == identity:
                    path.unlink()
        if self._brain is not None:
            for folder, _, _ in os.walk(self._brain, topdown=False):
                with contextlib.suppress(OSError):  # It is not empty.
                    Path(folder).rmdir()
        for path in (self._log_index, self._label):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _remove_temporary_files(self) -> None:
        remove_temporary_files(self._conversation_id, self._save_dir, self._app_data_dir)


def _regular_files(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(path, name)
            if stat.S_ISREG(file.lstat().st_mode):
                yield file


def _identity(path: Path) -> _Identity | None:
    try:
        return _identity_of(path.lstat())
    except FileNotFoundError:
        return None


def _identity_of(status: os.stat_result) -> _Identity:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _is_later(path: Path, modified: float) -> bool:
    try:
        return path.lstat().st_mtime > modified + _TIME_STEP
    except FileNotFoundError:
        return False
