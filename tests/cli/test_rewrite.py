"""The removal of superseded records from a file of results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agy_actors.cli import rewrite
from tests.cli.result_files import FAILED, Run, prompt, read, result

if TYPE_CHECKING:
    from agy_actors.cli.result_file import ResultFile


class TestTheFileThatReplacesTheOld:
    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        out = tmp_path / "out.jsonl"
        lines = [result(0, error=FAILED), result(1), result(0)]
        out.write_bytes(b"".join(one.to_line() for one in lines))
        return out

    def resume(self, out: Path) -> ResultFile:
        with Run(out, prompt(0), prompt(1)) as run:
            pass
        return run.file

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
    def test_it_has_the_same_permissions(self, out: Path, mode: int) -> None:
        out.chmod(mode)

        self.resume(out)

        assert len(read(out)) == 2
        assert out.stat().st_mode & 0o777 == mode

    def test_a_link_to_it_stays_a_link(self, out: Path, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(out)

        self.resume(link)

        assert link.is_symlink()
        assert len(read(out)) == 2

    def test_it_is_synced_to_disk_before_the_rename(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        replace, sync = Path.replace, os.fsync

        def note_sync(descriptor: int) -> None:
            done.append("sync")
            sync(descriptor)

        def note_replace(self: Path, target: Path) -> Path:
            done.append("replace")
            return replace(self, target)

        monkeypatch.setattr(os, "fsync", note_sync)
        monkeypatch.setattr(Path, "replace", note_replace)

        self.resume(out)

        assert done == ["sync", "replace", "sync"]

    @pytest.mark.parametrize("step", ["_copy_without", "_copy_permissions"])
    def test_if_it_cannot_be_written_the_old_one_stays(
        self, out: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        before = out.read_bytes()
        monkeypatch.setattr(rewrite, step, fail)

        file = self.resume(out)

        assert "No space" in str(file.problem)
        assert out.read_bytes() == before
        assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"]

    def test_a_temporary_file_of_a_killed_run_is_overwritten(self, out: Path) -> None:
        (out.parent / f".agy-actors-{out.stat().st_ino}.tmp").write_text("half")

        file = self.resume(out)

        assert file.problem is None
        assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"]

    def test_another_file_with_the_same_name_is_not_replaced(self, out: Path) -> None:
        with Run(out, prompt(0), prompt(1)) as run:
            out.rename(out.with_name("moved"))
            out.write_text("precious")

        assert out.read_text() == "precious"
        assert len(read(out.with_name("moved"))) == 3
        assert "replaced by another" in str(run.file.problem)

    def test_lines_that_another_program_added_are_kept(self, out: Path) -> None:
        with Run(out, prompt(0), prompt(1)), out.open("ab") as other:
            other.write(b"a note\n")

        assert out.read_bytes().endswith(result(0).to_line() + b"a note\n")
