"""Folders of conversations that only their owner can read.

The harness writes databases with mode 0600, but transcripts with mode 0644 in folders with mode
0755 (google-antigravity 0.1.22, umask 022). So the folder above them must be private. The umask of
the process does not change, because it would also affect the files that an agent's tools write.
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

_MAX_REMEMBERED = 1024
"""Folders to remember, so that each causes one warning. Arbitrary."""


def make_private_folder(folder: Path) -> None:
    """Create a folder and its parents, if they do not exist.

    Each created folder has mode 0700, for any umask. Existing folders do not change.

    Raises:
        OSError: it cannot be created. The error has the path.
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
    except FileExistsError:  # It may have been created just now.
        if not folder.is_dir():
            raise
    else:
        # The umask may have removed rights of the owner, and a default ACL may have added rights
        # for others. File systems without modes, such as FAT, refuse this.
        with contextlib.suppress(OSError):
            folder.chmod(_PRIVATE)


def warn_of_readers(folder: Path) -> None:
    """Log a WARNING if the mode of a folder gives access to its group or to others.

    Does nothing on systems without such modes, and if the folder does not exist.
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
    # Only its owner can change the mode of a folder, and /tmp must stay accessible to all.
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


@functools.lru_cache(maxsize=_MAX_REMEMBERED)
def warn_once_of_readers(folder: Path) -> None:
    """Call `warn_of_readers` once for each folder. The members of a pool share one."""
    warn_of_readers(folder)
