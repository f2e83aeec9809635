"""How far the harness has got with writing a conversation's database.

The harness does not say when SQLite fails to write: turns go on as if nothing had happened, and
are lost at the next restart (google-antigravity 0.1.22). SQLite keeps what it has committed in
the file `ID.db-shm`, the index of the write-ahead log `ID.db-wal` (SQLite's documentation,
"WAL-mode File Format"). Reading its first bytes takes no lock and disturbs nobody.

A turn without tools makes seven commits, one of them before the model is asked (measured with
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
_LARGEST_PAGE = 65536  # Which does not fit into 16 bits, and is written as 1.
_FRAME_HEADER = 24
_LOG_HEADER = 32
_LOOKS = 3
"""Looks at a header that is just being written. Arbitrary: that takes less than a microsecond."""


@dataclasses.dataclass(frozen=True, slots=True)
class Committed:
    """What a database has committed to its write-ahead log."""

    header: bytes
    """Another one after each commit."""

    salt: bytes
    """Another one each time the log begins anew."""

    size: int
    """Bytes of the log that are committed."""

    log_size: int
    """Bytes of the log. More than `size` if a write failed, or while there is one; also where
    the log has begun anew, for it does not become shorter then."""

    @property
    def has_rest(self) -> bool:
        """Whether something follows in the log that is not committed."""
        return self.log_size > self.size


def read_committed(database: Path) -> Committed | None:
    """Return what a database has committed, or `None` where that cannot be known.

    The database is open in another process, and in WAL mode.
    """
    index, log = (database.with_name(database.name + end) for end in ("-shm", "-wal"))
    try:
        with index.open("rb", buffering=0) as file:
            for _ in range(_LOOKS):
                copies = os.read(file.fileno(), 2 * _HEADER.size)
                first, second = copies[: _HEADER.size], copies[_HEADER.size :]
                if first == second:  # Else it is being written.
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
