"""A process that is killed while it packs or unpacks a conversation loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors._sdk.conversation_labels import read_labels
from tests.forked import start_child
from tests.sdk.packed_files import ID, LABEL, Files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS = ("open", "replace", "rename", "unlink", "rmdir", "mkdir", "chmod", "fsync", "utime")
"""The calls of `os` that change files, or that are near one that does."""


class Killed(BaseException):
    """Stands for the end of the process."""


class Kill:
    """Ends the process at a call: neither this call nor any later one has an effect."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.struck = False

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **options: Any) -> Any:
            if self._left == 0:
                self.struck = True
                raise Killed
            self._left -= 1
            return call(*args, **options)

        return count


@contextlib.contextmanager
def killed_at(call: int) -> Iterator[Kill]:
    kill = Kill(call)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, kill.wrap(getattr(os, name)))
        with contextlib.suppress(Killed):
            yield kill


def make(files: Files, *, packed: bool) -> None:
    files.create(log=True)
    if packed:
        files.pack()


@pytest.mark.parametrize("packed", [False, True], ids=["while packing", "while unpacking"])
@pytest.mark.parametrize("then_pack", [False, True], ids=["then unpack", "then pack and unpack"])
def test_nothing_is_lost_by_a_process_that_is_killed_at_any_call(
    tmp_path: Path, packed: bool, then_pack: bool
) -> None:
    calls = 0
    struck = True
    while struck:
        files = Files(tmp_path / str(calls))
        make(files, packed=packed)
        with killed_at(calls) as kill:
            if packed:
                files.packed().unpack()
            else:
                files.pack()
        struck = kill.struck

        labels = list(read_labels(files.save_dir))
        if then_pack:
            files.pack()
            assert files.names() == {files.archive.name}
        files.packed().unpack()

        assert labels == [(ID, LABEL)]
        assert files.there() == files.content
        assert files.names() == {*(path.name for path in files.content), files.label.name} & {
            files.database.name,
            files.log.name,
            files.label.name,
        }
        calls += 1
    assert calls > 10


@pytest.mark.parametrize("packed", [False, True], ids=["while packing", "while unpacking"])
def test_the_new_form_is_on_the_disk_before_the_old_one_is_removed(
    tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("needs the names of open files")
    files = Files(tmp_path)
    make(files, packed=packed)
    events: list[str] = []
    watched = {path: path.name for path in (files.archive, files.database, files.log)}
    watched |= {path.with_name(f"{path.name}.tmp"): f"{path.name}.tmp" for path in watched}
    watched |= {files.save_dir: "folder", files.brain / "tool.sh": "tool.sh"}
    watched |= {files.brain.with_name(f"{ID}.tmp") / "tool.sh": "tool.sh.tmp", files.brain: "brain"}

    def record(name: str, path: Path) -> None:
        if path in watched:
            events.append(f"{name} {watched[path].removeprefix(ID + '.')}")

    fsync, unlink, replace = os.fsync, os.unlink, os.replace

    def note_fsync(descriptor: int) -> None:
        record("sync", Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    def note_unlink(path: Path, **options: Any) -> None:
        existed = Path(path).exists()
        unlink(path, **options)
        if existed and not options:
            record("remove", Path(path))

    def note_replace(old: Path, new: Path) -> None:
        replace(old, new)
        record("name", Path(new))

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "unlink", note_unlink)
    monkeypatch.setattr(os, "replace", note_replace)

    if packed:
        files.packed().unpack()

        assert position(events, "sync db.tmp", "name db", "sync folder", "remove tar.xz")
        assert position(events, "sync db-wal.tmp", "name db-wal", "sync folder", "name db")
        assert position(events, "sync tool.sh.tmp", "name tool.sh", "sync brain", "name db")
    else:
        files.pack()

        assert position(events, "sync tar.xz.tmp", "name tar.xz", "sync folder", "remove db")
        assert position(events, "remove db", "sync folder", "remove db-wal")
        assert position(events, "remove db", "sync folder", "remove tool.sh")


def position(events: list[str], *expected: str) -> bool:
    """Whether the expected events happen in this order, with any others between them."""
    left = iter(events)
    return all(event in left for event in expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a forked child")
def test_nothing_is_lost_by_a_process_that_gets_sigkill(tmp_path: Path) -> None:
    for rounds in range(1, 16):
        files = Files(tmp_path / str(rounds))
        files.create(log=True)
        read, write = os.pipe()

        def pack_and_unpack(files: Files = files, write: int = write) -> None:
            while True:
                files.pack()
                os.write(write, b".")
                files.packed().unpack()
                os.write(write, b".")

        child = start_child(pack_and_unpack)
        for _ in range(rounds):
            os.read(read, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)

        files.packed().unpack()
        assert files.there() == files.content
