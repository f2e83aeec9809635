"""Replaces a file, for example to remove lines, without the risk of losing others.

The new content is written to a new file in the same folder. The new file is synced to disk and then
replaces the old one with one atomic rename. Until then the old file is unchanged, also if the
process is killed, the disk is full or the folder is read-only. The new file gets the old file's
owner, permissions and extended attributes (which hold access control lists).
"""

from __future__ import annotations

import io
import os
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from agy_actors.cli.records import parse_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["replacing", "rewrite_without"]

_NEW_FILE = 0o666  # Without the bits of the umask, as for every new file.


def rewrite_without(file: io.FileIO, path: Path, superseded: Sequence[int]) -> None:
    """Replace a file of results by one without some of its records.

    Args:
        file: the old file, open for reading; it stays open.
        path: the file's name. If it is a link, the link's target is replaced.
        superseded: the offsets of the records to remove, in ascending order.

    Raises:
        OSError: the file could not be replaced, and is unchanged.
    """
    target = Path(os.path.realpath(path))
    before = os.fstat(file.fileno())
    if not os.path.samestat(before, target.stat()):
        raise OSError(f"{path} was replaced by another file during the run")
    with replacing(target, before, before.st_ino) as out:
        _copy_without(file, out, superseded)


@contextmanager
def replacing(target: Path, before: os.stat_result | None, key: int) -> Iterator[BinaryIO]:
    """Write the new content of a file in the block; the file is replaced when the block is left.

    Args:
        target: the file, not a link.
        before: the status of the file; `None` if it does not exist.
        key: the inode of a file that this process has locked, so that no other process replaces the
            same file at the same time.

    Raises:
        OSError: the file could not be replaced, and is unchanged.
    """
    # The name is fixed, so that a file left by a killed process is found and removed. It is short,
    # so that it fits wherever the target's name fits.
    copy = target.with_name(f".agy-actors-{key}.tmp")
    with suppress(FileNotFoundError):
        copy.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(copy, flags, 0o600 if before else _NEW_FILE)
    try:
        with io.FileIO(descriptor, "w") as raw, io.BufferedWriter(raw, 1 << 20) as out:
            yield out
            out.flush()
            if before is not None:
                _copy_permissions(target, before, copy)
            os.fsync(descriptor)
        copy.replace(target)
    except BaseException:
        with suppress(OSError):
            copy.unlink()
        raise
    _sync_folder(target.parent)


def _copy_without(file: io.FileIO, out: BinaryIO, superseded: Sequence[int]) -> None:
    left = iter(superseded)
    skip = next(left, None)
    offset = 0
    file.seek(0)
    reader = io.BufferedReader(file, 1 << 20)
    try:
        for line in reader:
            if offset == skip and parse_record(line) is not None:
                skip = next(left, None)
            else:
                out.write(line)
            offset += len(line)
    finally:
        reader.detach()  # Otherwise closing the reader would close the file.
    if skip is not None:
        raise OSError("another program changed the file during the run")


def _copy_permissions(target: Path, before: os.stat_result, copy: Path) -> None:
    now = copy.stat()
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid) and hasattr(os, "chown"):
        os.chown(copy, before.st_uid, before.st_gid)
    shutil.copystat(target, copy)
    seconds = time.time()
    os.utime(copy, (seconds, seconds))  # `copystat` copied the old times.


def _sync_folder(folder: Path) -> None:
    """Sync the renamed entry to disk, on systems where a folder can be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
