"""Compressed conversations that are damaged, or for which the disk has no space."""

from __future__ import annotations

import contextlib
import io
import pickle
import resource
import tarfile
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from agy_actors._sdk.errors import ConversationCorrupt
from tests.sdk.packed_files import ID, Files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{level} {message}")
    logger.enable("agy_actors")
    yield lines
    logger.disable("agy_actors")
    logger.remove(sink)


@contextlib.contextmanager
def disk_with(size: int) -> Iterator[None]:
    """Let writes fail beyond a number of bytes in a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_space_leaves_an_unpacked_conversation_and_a_warning(
    files: Files, warnings: list[str]
) -> None:
    files.create()

    with disk_with(1000):
        assert not files.pack()

    assert files.there() == files.content
    assert len(warnings) == 1
    assert "session 'ada'" in warnings[0]
    assert str(files.archive) in warnings[0]


def test_a_disk_without_space_leaves_a_packed_conversation_and_an_error_with_the_path(
    files: Files,
) -> None:
    files.create()
    files.pack()
    before = files.there()

    with disk_with(1000), pytest.raises(OSError, match="too large") as caught:
        files.packed().unpack()

    assert str(caught.value.filename).startswith(str(files.database))
    assert files.there() == before
    assert files.names() == {files.archive.name}


def corrupt_error(files: Files) -> ConversationCorrupt:
    """Unpack a damaged archive, check that no file changes, and return the error."""
    before = files.there()
    with pytest.raises(ConversationCorrupt) as caught:
        files.packed().unpack()
    assert files.there() == before
    assert files.names() == {files.archive.name}
    return caught.value


def test_a_damaged_archive_is_an_error_that_says_what_to_do(files: Files) -> None:
    files.create()
    files.pack()
    files.archive.write_bytes(b"not an archive")

    error = corrupt_error(files)

    assert error.path == str(files.archive)
    assert not error.retryable
    for part in ("session 'ada'", str(files.archive), "backup", "sessions.delete(key)"):
        assert part in str(error)
    assert pickle.loads(pickle.dumps(error)).path == error.path


def test_every_truncation_of_an_archive_is_found(files: Files) -> None:
    files.create()
    files.pack()
    content = files.archive.read_bytes()

    for length in [*range(0, len(content), 97), len(content) - 1]:
        files.archive.write_bytes(content[:length])
        corrupt_error(files)


def test_every_wrong_byte_in_an_archive_is_found(files: Files) -> None:
    files.create()
    files.pack()
    content = files.archive.read_bytes()

    for index in [*range(0, len(content), 61), len(content) - 1]:
        wrong = bytearray(content)
        wrong[index] ^= 0x55
        files.archive.write_bytes(wrong)
        corrupt_error(files)


def test_the_end_of_an_archive_is_checked_for_every_length(files: Files) -> None:
    # Whatever the size of the blocks is in which it is read.
    for blocks in range(20):
        files.create()
        files.database.write_bytes(bytes(512 * blocks))
        files.pack()
        wrong = bytearray(files.archive.read_bytes())
        wrong[-20] ^= 0x55
        files.archive.write_bytes(wrong)
        corrupt_error(files)
        files.archive.unlink()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.size = 2 if kind == tarfile.REGTYPE else 0
    return info


WHOLE = [member("label.json"), member(f"{ID}.db")]


@pytest.mark.parametrize(
    "members",
    [
        [],
        [member(f"{ID}.db")],
        [member("label.json")],
        [member("label.json"), member(f"{'f' * 32}.db")],
        [*WHOLE, member("../outside")],
        [*WHOLE, member("/tmp/outside")],
        [*WHOLE, member(f"brain/{ID}")],
        [*WHOLE, member(f"brain/{ID}/../../outside")],
        [*WHOLE, member(f"brain/{'f' * 32}/other")],
        [*WHOLE, member(f"{ID}.lock")],
        [*WHOLE, member(f"brain/{ID}/twice"), member(f"brain/{ID}/twice")],
        [*WHOLE, member(f"brain/{ID}/file"), member(f"brain/{ID}/file/below")],
        [*WHOLE, member(f"brain/{ID}/folder/file"), member(f"brain/{ID}/folder")],
        [*WHOLE, member(f"brain/{ID}/link", tarfile.SYMTYPE, "/etc/passwd")],
        [*WHOLE, member(f"brain/{ID}/link", tarfile.LNKTYPE, f"{ID}.db")],
        [*WHOLE, member(f"brain/{ID}/device", tarfile.CHRTYPE)],
        [*WHOLE, member(f"brain/{ID}/pipe", tarfile.FIFOTYPE)],
        [*WHOLE, member(f"brain/{ID}/folder", tarfile.DIRTYPE)],
    ],
    ids=lambda members: " ".join(f"{one.name}{one.type.decode()}" for one in members),
)
def test_an_archive_with_other_members_is_refused(
    files: Files, members: list[tarfile.TarInfo]
) -> None:
    files.save_dir.mkdir()
    with tarfile.open(files.archive, "w:xz") as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"{}"))

    corrupt_error(files)
