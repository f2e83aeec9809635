"""Reads how much of a conversation's database the harness has committed.

The harness does not report when SQLite fails to write: turns continue normally, and are lost at the
next restart (google-antigravity 0.1.22). SQLite records its commits in the file `ID.db-shm`, the
index of the write-ahead log `ID.db-wal` (SQLite's documentation, "WAL-mode File Format"). Reading
its first bytes needs no lock and has no effect on others.

A turn without tools makes seven commits, one of them before the request to the model (measured with
that release).
"""

from __future__ import annotations

import dataclasses
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Committed", "read_committed"]

_HEADER = struct.Struct("=III??HII8s8s8s")
"""`WalIndexHdr` in the byte order of the machine: version, unused, changes, initialised, order
of checksums, page size, frames, pages, checksum of a frame, salt, checksum."""

_VERSION = 3007000
_LARGEST_PAGE = 65536  # It does not fit into 16 bits, and is written as 1.
_FRAME_HEADER = 24
_LOG_HEADER = 32
_READS = 3
"""Attempts to read a header while it is being written. Arbitrary: a write takes less than a
microsecond."""


@dataclasses.dataclass(frozen=True, slots=True)
class Committed:
    """The committed part of a database's write-ahead log."""

    header: bytes
    """It changes with each commit."""

    salt: bytes
    """It changes each time the log is restarted."""

    size: int
    """The committed bytes of the log."""

    log_size: int
    """All bytes of the log. More than `size` during a write, after a failed write, and after a
    restart of the log, which does not truncate it."""

    @property
    def has_rest(self) -> bool:
        """Whether the log contains more than the committed bytes."""
        return self.log_size > self.size


def read_committed(database: Path) -> Committed | None:
    """Return the committed part of a database's log, or `None` if it cannot be read.

    The database is open in another process, in WAL mode.
    """
    index, log = (database.with_name(database.name + end) for end in ("-shm", "-wal"))
    try:
        with index.open("rb", buffering=0) as file:
            for _ in range(_READS):
                copies = os.read(file.fileno(), 2 * _HEADER.size)
                first, second = copies[: _HEADER.size], copies[_HEADER.size :]
                if first == second:  # Otherwise it is being written.
                    break
                file.seek(0)
            else:
                return None
        log_size = log.stat().st_size
    except OSError:
        return None
    if len(first) < _HEADER.size:
        return None
    version, _, _, initialised, _, page, frames, _, _, salt, _ = _HEADER.unpack(first)
    if version != _VERSION or not initialised:
        return None
    frame = _FRAME_HEADER + (_LARGEST_PAGE if page == 1 else page)
    return Committed(first, salt, _LOG_HEADER + frames * frame, log_size)
