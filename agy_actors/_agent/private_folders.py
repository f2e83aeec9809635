"""Folders of conversations: only their owner can read those that we create.

The harness writes databases with mode 0600, but transcripts with mode 0644 in folders with mode
0755 (google-antigravity 0.1.22, umask 022). So the folder above them must keep others out. The
process's umask is not touched: it would also change the files that an agent's tools write.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import stat
import tempfile
from pathlib import Path

from loguru import logger

__all__ = [
    "make_private_folder",
    "make_private_folders",
    "make_private_temporary_folder",
    "warn_of_readers",
    "warn_once_of_readers",
]

_PRIVATE = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_MOST_REMEMBERED = 1024
"""Folders that are remembered, so that each is named once. Arbitrary."""


def make_private_folder(folder: Path) -> None:
    """Create a folder, and those above it, if they do not exist.

    Each folder that is created has mode 0700, whatever the umask. One that exists stays as it is.

    Raises:
        OSError: it cannot be created; names the path.
    """
    try:
        _make(folder)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_private_folder(folder.parent)
        _make(folder)


def make_private_folders(*folders: str | None) -> None:
    """Create the folders that a configuration names. See `make_private_folder`."""
    for folder in folders:
        if folder is not None:
            make_private_folder(Path(folder))


def make_private_temporary_folder() -> Path:
    """Create a folder for conversations that end with their supervisor."""
    folder = Path(tempfile.mkdtemp(prefix="agy_actors_"))
    folder.chmod(_PRIVATE)
    return folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=_PRIVATE)
    except FileExistsError:  # Perhaps made by somebody else just now.
        if not folder.is_dir():
            raise
    else:
        # The umask may have taken rights from the owner, and a default ACL may have given some to
        # others. Not every file system has modes: FAT refuses this.
        with contextlib.suppress(OSError):
            folder.chmod(_PRIVATE)


def warn_of_readers(folder: Path) -> None:
    """Log a WARNING if the mode of a folder lets its group or others in.

    Does nothing where there are no such modes, and if there is no such folder.
    """
    if os.name != "posix":
        return
    try:
        status = folder.stat()
    except OSError:
        return
    if not status.st_mode & _OTHERS:
        return
    path = folder.resolve()
    # Nobody may change the mode of another user's folder, and /tmp must stay open to all.
    own = status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX
    remedy = (
        f"run: chmod 700 {shlex.quote(str(path))}"
        if own
        else "use a folder of your own, or one below it, which agy_actors creates with mode 0700"
    )
    logger.warning(
        "Other users can read the conversations that are kept in {} (its mode is {:04o}); {}",
        path,
        stat.S_IMODE(status.st_mode),
        remedy,
    )


@functools.lru_cache(maxsize=_MOST_REMEMBERED)
def warn_once_of_readers(folder: Path) -> None:
    """Do the same once per folder: the members of a pool, say, have one in common."""
    warn_of_readers(folder)
