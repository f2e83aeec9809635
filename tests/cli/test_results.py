from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors.cli import result_file
from agy_actors.cli.prompts import PromptLine
from agy_actors.cli.records import Failure, Result
from agy_actors.cli.result_file import ResultFile, refuse_to_overwrite_prompts
from agy_actors.cli.usage_problem import UsageProblem
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Callable
from tests.cli.result_files import FAILED, Run, ledger, prompt, read, result

TIME = "2026-01-31T23:59:59.123+00:00"


def test_a_result_is_one_line_with_the_documented_fields(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    asked = PromptLine(4, "x", "Naïve?\nYes", {"tag": 1})

    with Run(out) as results:
        results.write(
            Result(asked, "Öl\n", "a-2", 0.51239, 2, {"total_tokens": 9}, None, "gemini", TIME)
        )

    assert out.read_bytes().count(b"\n") == 1
    assert read(out) == [
        {
            "id": "x",
            "index": 4,
            "prompt": "Naïve?\nYes",
            "text": "Öl\n",
            "model": "gemini",
            "time": TIME,
            "usage": {"total_tokens": 9},
            "agent": "a-2",
            "seconds": 0.512,
            "attempts": 2,
            "error": None,
            "extra": {"tag": 1},
        }
    ]


def test_a_failure_contains_type_message_and_retryable(tmp_path: Path) -> None:
    class BusyError(Exception):
        retryable = True

    out = tmp_path / "out.jsonl"
    with Run(out) as results:
        results.write(result(0, None, Failure.of(BusyError("come back later"))))
        results.write(result(1, "half", Failure.of(ValueError("no"))))

    assert [record["error"] for record in read(out)] == [
        {"type": "BusyError", "message": "come back later", "retryable": True},
        {"type": "ValueError", "message": "no", "retryable": False},
    ]


def test_a_lone_surrogate_from_a_model_is_read_back_unchanged(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    with Run(out) as results:
        results.write(result(0, "a\ud800b"))

    assert read(out)[0]["text"] == "a\ud800b"


def test_a_result_is_in_the_file_before_the_next_one(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    with Run(out) as results:
        results.write(result(0))
        assert len(read(out)) == 1
        results.write(result(1))
        assert len(read(out)) == 2


def test_an_answered_prompt_is_not_asked_again(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    prompts = [prompt(0), prompt(1), prompt(2)]
    with Run(out, *prompts) as run:
        run.write(result(0))
        run.write(result(1, None, FAILED))

    with Run(out, *prompts) as run:
        assert [line.index for line in run.pending] == [1, 2]


def test_a_changed_prompt_is_asked_again_and_its_record_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Run(out) as run:
        run.write(result(0))

    with Run(out, prompt(0, "Another question?")) as run:
        assert run.pending
        run.write(result(0, "Another answer.", asked="Another question?"))

    assert [record["text"] for record in read(out)] == ["Another answer."]


@pytest.mark.parametrize("errors", [(FAILED, None), (FAILED, FAILED, None), (FAILED, FAILED)])
def test_a_prompt_that_is_asked_again_has_one_record(
    tmp_path: Path, errors: tuple[Failure | None, ...]
) -> None:
    out = tmp_path / "out.jsonl"
    prompts = [prompt(0), prompt(1), prompt(2)]
    with Run(out, *prompts) as run:
        run.write(result(0))
        run.write(result(1, error=errors[0]))
        run.write(result(2))
    for error in errors[1:]:
        with Run(out, *prompts) as run:
            assert [line.index for line in run.pending] == [1]
            run.write(result(1, error=error))

    assert [record["index"] for record in read(out)] == [0, 2, 1]
    assert (read(out)[-1]["error"] is None) == (errors[-1] is None)


def test_duplicate_records_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    lines = [result(0, error=FAILED), result(1), result(0, error=FAILED), result(0)]
    out.write_bytes(b"".join(one.to_line() for one in lines))

    with Run(out, prompt(0), prompt(1)) as run:
        assert not run.pending

    assert out.read_bytes() == b"".join(one.to_line() for one in lines[1::2])


class TestResultsThatWouldGoIntoTheFileOfPrompts:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        source = tmp_path / "prompts.jsonl"
        source.write_text('{"prompt": "a"}')
        (tmp_path / "folder").mkdir()
        return source

    @pytest.mark.parametrize("name", ["prompts.jsonl", "./folder/../prompts.jsonl"])
    def test_every_spelling_of_the_path_is_refused(self, source: Path, name: str) -> None:
        with pytest.raises(UsageProblem, match="is the file that the prompts are read from"):
            refuse_to_overwrite_prompts(str(source), Path(f"{source.parent}/{name}"))

    @pytest.mark.parametrize("kind", ["symlink_to", "hardlink_to"])
    def test_every_link_to_it_is_refused(self, source: Path, kind: str) -> None:
        link = source.with_name("link")
        getattr(link, kind)(source)

        for pair in ((source, link), (link, source), (link, link)):
            with pytest.raises(UsageProblem, match="name another file"):
                refuse_to_overwrite_prompts(str(pair[0]), pair[1])

    def test_other_files_are_accepted(self, source: Path) -> None:
        refuse_to_overwrite_prompts(str(source), source.with_name("missing"))
        refuse_to_overwrite_prompts("missing", source)
        refuse_to_overwrite_prompts(os.devnull, Path(os.devnull))


@pytest.mark.parametrize("name", [".", "missing/out.jsonl", "nul\0"])
def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageProblem, match=r"cannot be written to .*; name a file"):
        ResultFile(tmp_path / name, ledger(prompt(0)))


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    out = tmp_path / "out.jsonl"

    with Run(out), pytest.raises(UsageProblem, match="another run"):
        Run(out)

    with Run(out):
        pass  # The first has let go of it, and the refused one too.


def test_without_file_locks_results_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "fcntl", None)

    with Run(tmp_path / "out.jsonl") as run:
        run.write(result(0))

    assert len(read(tmp_path / "out.jsonl")) == 1


WRITER = """
import sys
from pathlib import Path
from agy_actors.cli.ledger import Ledger
from agy_actors.cli.prompts import PromptLine
from agy_actors.cli.records import Result
from agy_actors.cli.result_file import ResultFile
with ResultFile(Path(sys.argv[1]), Ledger(lambda: iter(()), "")) as results:
    for number in range(10**9):
        results.write(Result(PromptLine(number, str(number), "q"), "x" * 999, "a", 0.0))
        if number == 99:
            print(flush=True)
"""


def test_a_killed_run_can_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with programs.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()

    asked = [PromptLine(number, str(number), "q") for number in range(100)]
    with Run(out, *asked) as run:
        assert not run.pending

    records = read(out)
    assert [record["index"] for record in records] == list(range(len(records)))


def test_a_full_disk_leaves_no_incomplete_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.FileIO):
        room = 10

        def write(self, data: Any, /) -> int:
            if self.room <= 0:
                raise OSError(28, "No space left on device")
            written = super().write(bytes(data)[: self.room])
            self.room -= written
            return written

    out = tmp_path / "out.jsonl"
    monkeypatch.setattr(result_file, "_open", lambda path: FullDisk(path, "a+"))

    with Run(out) as results, pytest.raises(OSError, match="No space"):
        results.write(result(0))

    assert out.read_bytes() == b""


@pytest.mark.parametrize("path", [None, Path("-")])
def test_standard_output_is_written_and_stays_open(
    path: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        out.write("before\n")
        with Run(path) as results:
            results.write(result(0, "Öl"))
        out.write("after\n")
        out.flush()
        lines = raw.getvalue().decode().splitlines()
        monkeypatch.undo()

    assert [lines[0], lines[2]] == ["before", "after"]
    assert json.loads(lines[1])["text"] == "Öl"
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_written_to_and_never_read(tmp_path: Path) -> None:
    fifo = tmp_path / "out"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with Run(fifo) as results:
            results.write(result(0))
        line = os.read(reader, 10_000)
    finally:
        os.close(reader)

    assert json.loads(line)["id"] == "line-1"


def test_a_closed_file_is_not_written_to(tmp_path: Path) -> None:
    results = ResultFile(tmp_path / "out.jsonl", ledger(prompt(0)))
    results.close()
    with contextlib.closing(results), pytest.raises(ValueError, match="closed"):
        results.write(result(0))


def test_the_repr_contains_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show: Callable[[ResultFile], str] = repr

    with Run(tmp_path / "out.jsonl") as run:
        run.write(result(0))

    assert show(run.file) == f"<ResultFile {tmp_path / 'out.jsonl'}>"
