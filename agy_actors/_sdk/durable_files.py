"""Files that are on the disk when a function returns, for power losses and killed processes."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, BinaryIO

from agy_actors._sdk.conversation_files import temporary_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["create_file", "replace_file", "sync_folder"]

_CREATE = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)  # On Windows, where the default changes line ends.
)

_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)
"""Errors of file systems on which a folder cannot be synced."""


@contextlib.contextmanager
def create_file(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Create a file, and sync it to the disk at the end of the block.

    Args:
        path: a path where no file is.
        mode: the permissions of the file, for any umask.

    Raises:
        OSError: it cannot be created, written or synced. The error has its path.
    """
    with _with_path(path), os.fdopen(os.open(path, _CREATE, mode), "wb") as file:
        yield file
        file.flush()
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Give a file, which need not exist, a new content. It has the old or the new one, always.

    Raises:
        OSError: it cannot be written. The error has the path.
    """
    temporary = temporary_path(path)
    temporary.unlink(missing_ok=True)
    with create_file(temporary) as file:
        file.write(content)
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk, on systems where this is possible.

    Raises:
        OSError: the disk reports an error. The error has the path.
    """
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with _with_path(folder):
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _with_path(path: Path) -> Iterator[None]:
    """Give errors of calls that only know a descriptor the path of their file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
