"""Finds the `localharness` process that has a conversation's database open.

When a conversation ends, its harness closes the database a few milliseconds later, or tenths of a
second later in the middle of a turn. The harnesses of a killed program take a moment to end. A
process that opens the database before that does not see their last writes.

SQLite holds a shared lock on the lock bytes of a database while a connection in WAL mode is open.
The harness of google-antigravity 0.1.22 uses that mode with POSIX locks, so `F_GETLK` returns its
process id.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["harness_with"]

_KNOWN_SYSTEM = sys.platform == "linux" and sys.maxsize > 2**32

_FLOCK = "hhqqi4x"
"""`struct flock` of Linux on 64 bits: l_type, l_whence, l_start, l_len, l_pid."""

_SHARED_FIRST = 0x40000002
_SHARED_SIZE = 510
"""The bytes that readers of a database lock (SQLite's file format, "The Lock-Byte Page")."""

_PROGRAM = "localharness"


def harness_with(database: Path) -> int | None:
    """Return the process id of a harness that has a database open, or `None`.

    Other programs that read the database do not count. On unknown systems the result is `None`.

    This opens and closes the database, which drops the POSIX locks of this process on it. This
    process has such locks only while it reads the database.
    """
    if not _KNOWN_SYSTEM:
        return None
    import fcntl  # noqa: PLC0415 (not on every system)

    try:
        descriptor = os.open(database, os.O_RDONLY)
    except OSError:
        return None
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return pid if kind != fcntl.F_UNLCK and _is_harness(pid) else None


def _is_harness(pid: int) -> bool:
    try:
        return _PROGRAM in os.path.basename(os.readlink(f"/proc/{pid}/exe"))  # noqa: PTH115, PTH119 (short)
    except OSError:  # It has ended, or belongs to another user.
        return False
