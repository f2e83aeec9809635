"""The compressed form of a conversation: one tar file, compressed with xz.

Its members are, in this order: `label.json`, which describes the conversation and can be read
without the rest; the database `ID.db`; its write-ahead log `ID.db-wal`, if there is one; the files
`brain/ID/...`. All are regular files. The checksum of xz covers everything.

xz with preset 1 was chosen by measurement: a conversation of five short turns is 459 kB as a
database of SQLite, 9.5 kB after 13 ms with xz, and 15 kB after 5 ms with zlib.
"""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import os
import stat
import tarfile
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from agy_actors._actors.errors import AgyActorsError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "ArchiveDamaged",
    "Member",
    "Source",
    "dump_label",
    "parse_label",
    "read_archive",
    "read_label",
    "write_archive",
]

_LABEL = "label.json"

_PRESET: Final = 1

_CHUNK = 1 << 16
"""Bytes to read at a time. Arbitrary."""

_DAMAGE = (
    tarfile.TarError,
    lzma.LZMAError,
    EOFError,
    ValueError,
    ArithmeticError,
    RecursionError,
)
"""What the standard library raises for invalid content of an archive or a label."""


class ArchiveDamaged(AgyActorsError, ValueError):
    """Raised when a file is not the archive of the expected conversation, or a label is invalid."""


class Member(NamedTuple):
    """A file in an archive, except the label."""

    name: str
    """Its path in the archive, checked: it is relative and contains no `..`."""

    modified: float
    """When it was last changed, in seconds since the epoch."""

    executable: bool
    """Whether its owner may execute it."""

    content: IO[bytes]
    """Readable until the next member is read."""


class Source(NamedTuple):
    """A file to write into an archive."""

    name: str
    """Its path in the archive."""

    modified: float
    """When it was last changed, in seconds since the epoch."""

    executable: bool
    """Whether its owner may execute it."""

    content: BinaryIO
    """Open for reading, at its beginning."""


def write_archive(file: BinaryIO, label: bytes, sources: Iterable[Source]) -> Generator[None]:
    """Write an archive, step by step.

    Args:
        file: where to write it.
        label: the result of `dump_label`.
        sources: the files, each of which is read before the next one is requested.

    Yields:
        Nothing, after each 64 kB, so that the caller can do something else in between.

    Raises:
        OSError: a file cannot be read or written, or became shorter meanwhile.
    """
    with lzma.LZMAFile(file, "wb", preset=_PRESET) as archive:
        yield from _add(archive, Source(_LABEL, 0.0, executable=False, content=io.BytesIO(label)))
        for source in sources:
            yield from _add(archive, source)
        archive.write(bytes(2 * tarfile.BLOCKSIZE))  # The end of a tar file.


def _add(archive: lzma.LZMAFile, source: Source) -> Iterator[None]:
    # Not `TarFile.addfile`, which compresses a whole file at once.
    info = tarfile.TarInfo(source.name)
    left = info.size = source.content.seek(0, io.SEEK_END)
    source.content.seek(0)
    info.mtime = source.modified
    info.mode = 0o700 if source.executable else 0o600
    archive.write(info.tobuf(tarfile.PAX_FORMAT))
    while left:
        chunk = source.content.read(min(left, _CHUNK))
        if not chunk:
            raise OSError(f"{source.name} became shorter while it was read")
        archive.write(chunk)
        left -= len(chunk)
        yield
    archive.write(bytes(-info.size % tarfile.BLOCKSIZE))


def read_archive(path: Path, conversation_id: str, save: Callable[[Member], None]) -> None:
    """Read and check an archive.

    The content is only known to be undamaged when this returns.

    Args:
        path: the archive.
        conversation_id: the conversation that must be in it.
        save: called for each member except the label.

    Raises:
        ArchiveDamaged: it is not a complete archive of this conversation.
        OSError: it cannot be read, or an error of `save`.
    """
    database = f"{conversation_id}.db"
    names: dict[PurePosixPath, bool] = {}  # Whether it is a folder.
    with _open(path) as (archive, decompressed):
        for info in archive:
            name = _check_member(info, conversation_id, names)
            content = archive.extractfile(info)
            if name != _LABEL and content is not None:
                executable = bool(info.mode & stat.S_IXUSR)
                save(Member(name, float(info.mtime), executable, content))
        # Up to the checksum at the end of the file.
        while decompressed.read(_CHUNK):
            pass
        for expected in (_LABEL, database):
            if PurePosixPath(expected) not in names:
                raise ArchiveDamaged(f"{expected} is missing in it")


def read_label(path: Path) -> Mapping[str, Any]:
    """Read the label of an archive, and nothing else.

    Raises:
        ArchiveDamaged: it has no valid label.
        OSError: it cannot be read.
    """
    with _open(path) as (archive, _):
        info = archive.next()
        content = info and info.isreg() and info.name == _LABEL and archive.extractfile(info)
        if not content:
            raise ArchiveDamaged(f"{_LABEL} is missing in it")
        return parse_label(content.read())


def dump_label(label: Mapping[str, Any]) -> bytes:
    """Return a label as JSON, which `parse_label` reads.

    Raises:
        TypeError: it contains a value for which JSON has no form.
    """
    return json.dumps(dict(label)).encode()


def parse_label(content: bytes) -> Mapping[str, Any]:
    """Return the label with this content.

    Raises:
        ArchiveDamaged: it is not a JSON object.
    """
    with _damage_as_our_error():
        label = json.loads(content)
    if not isinstance(label, dict):
        raise ArchiveDamaged("its label is not a JSON object")
    return label


def _check_member(
    info: tarfile.TarInfo, conversation_id: str, names: dict[PurePosixPath, bool]
) -> str:
    """Return the name of a member that may be extracted, and add it to the known names."""
    name = PurePosixPath(info.name)
    parts = name.parts
    is_expected = (
        info.name in (_LABEL, f"{conversation_id}.db", f"{conversation_id}.db-wal")
        or (
            len(parts) > 2  # noqa: PLR2004 (below `brain/ID`)
            and parts[:2] == ("brain", conversation_id)
            and ".." not in parts
            # On Windows, they separate parts of a path, too.
            and not (os.name == "nt" and set(info.name) & set("\\:"))
        )
    )
    if not (info.isreg() and not info.issparse() and is_expected):
        raise ArchiveDamaged(f"it contains {info.name!r}, which does not belong to it")
    if name in names or any(names.get(folder) is False for folder in name.parents):
        raise ArchiveDamaged(f"it contains {info.name!r} twice")
    names.update(dict.fromkeys(name.parents, True))
    names[name] = False
    return str(name)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[tarfile.TarFile, lzma.LZMAFile]]:
    with (
        _damage_as_our_error(),
        path.open("rb") as file,
        lzma.LZMAFile(file) as decompressed,
        # As a stream: only the beginning is read for the label.
        tarfile.open(fileobj=decompressed, mode="r|") as archive,
    ):
        yield archive, decompressed


@contextlib.contextmanager
def _damage_as_our_error() -> Iterator[None]:
    try:
        yield
    except ArchiveDamaged:
        raise
    except _DAMAGE as error:
        raise ArchiveDamaged(str(error) or type(error).__name__) from error
