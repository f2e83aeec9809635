from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors.cli import _results
from agy_actors.cli._prompts import PromptLine, UsageProblem
from agy_actors.cli._results import Failure, Result, ResultFile

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = Failure("ModelError", "HTTP 503", retryable=True)


def prompt(number: int, text: str = "Question?") -> PromptLine:
    return PromptLine(number, f"line-{number + 1}", text)


def result(
    number: int,
    text: str | None = "Answer.",
    error: Failure | None = None,
    asked: str = "Question?",
) -> Result:
    return Result(prompt(number, asked), text, agent="a-1", seconds=1.23456, error=error)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_a_result_is_one_line_of_the_documented_shape(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    asked = PromptLine(4, "x", "Naïve?\nYes", {"tag": 1})

    with ResultFile(out) as results:
        results.write(Result(asked, "Öl\n", "a-2", 0.51239, 2, {"total_tokens": 9}, error=None))

    assert out.read_bytes().count(b"\n") == 1
    assert read(out) == [
        {
            "id": "x",
            "index": 4,
            "prompt": "Naïve?\nYes",
            "text": "Öl\n",
            "usage": {"total_tokens": 9},
            "agent": "a-2",
            "seconds": 0.512,
            "attempts": 2,
            "error": None,
            "extra": {"tag": 1},
        }
    ]


def test_a_failure_tells_its_type_message_and_whether_to_try_again(tmp_path: Path) -> None:
    class BusyError(Exception):
        retryable = True

    out = tmp_path / "out.jsonl"
    with ResultFile(out) as results:
        results.write(result(0, None, Failure.of(BusyError("come back later"))))
        results.write(result(1, "half", Failure.of(ValueError("no"))))

    assert [record["error"] for record in read(out)] == [
        {"type": "BusyError", "message": "come back later", "retryable": True},
        {"type": "ValueError", "message": "no", "retryable": False},
    ]


def test_half_of_a_surrogate_pair_from_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    with ResultFile(out) as results:
        results.write(result(0, "a\ud800b"))

    assert read(out)[0]["text"] == "a\ud800b"


def test_a_result_is_in_the_file_before_the_next_one(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    with ResultFile(out) as results:
        results.write(result(0))
        assert len(read(out)) == 1
        results.write(result(1))
        assert len(read(out)) == 2


def test_what_is_answered_is_not_asked_again(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with ResultFile(out) as results:
        results.write(result(0))
        results.write(result(1, None, FAILED))

    with ResultFile(out) as results:
        pending = results.pending([prompt(0), prompt(1), prompt(2)])

        assert results.answered == 1
    assert [line.index for line in pending] == [1, 2]


def test_a_changed_prompt_is_asked_anew(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with ResultFile(out) as results:
        results.write(result(0))

    with ResultFile(out) as results:
        assert results.pending([prompt(0, "Another question?")])


def test_a_failed_prompt_that_succeeds_is_answered_for_good(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for error in (FAILED, None):
        with ResultFile(out) as results:
            assert results.pending([prompt(0)])
            results.write(result(0, error=error))

    with ResultFile(out) as results:
        assert not results.pending([prompt(0)])
    assert [record["error"] is None for record in read(out)] == [False, True]


texts = st.text(st.sampled_from('aé🌧"\\\n\u2028\x85{}'), max_size=5)
runs = st.lists(st.tuples(texts, texts, st.booleans()), min_size=1, max_size=4)


@given(entries=runs, data=st.data())
def test_a_file_cut_at_any_byte_keeps_every_complete_line(
    entries: list[tuple[str, str, bool]], data: st.DataObject
) -> None:
    written = [
        result(number, text, FAILED if failed else None, asked)
        for number, (asked, text, failed) in enumerate(entries)
    ]
    lines = [one.to_line() for one in written]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)), label="cut")
    # A record is complete without the newline at its end.
    complete = [one for one in range(len(lines)) if len(b"".join(lines[: one + 1])) <= cut + 1]

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.jsonl")
        out.write_bytes(whole[:cut])
        with ResultFile(out) as results:
            pending = results.pending(one.prompt for one in written)
            for one in written:
                if one.prompt in pending:
                    results.write(one)
        after = out.read_bytes()

    answered = [one for one in complete if written[one].error is None]
    assert [one.index for one in pending] == [
        one for one in range(len(written)) if one not in answered
    ]
    kept = b"".join(lines[one] for one in complete)
    asked_again = b"".join(lines[one.index] for one in pending)
    assert after == kept + asked_again


@pytest.mark.parametrize(
    "content",
    [
        b"my notes\n",
        b"my notes",
        b'{"prompt": "What?", "id": "1"}\n',
        b'{"prompt": "What?", "id": "1"}',
        b"[]\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
    ],
)
@pytest.mark.parametrize("after_results", [False, True])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(
    tmp_path: Path, content: bytes, after_results: bool
) -> None:
    out = tmp_path / "out.jsonl"
    before = (result(0).to_line() if after_results else b"") + content
    out.write_bytes(before)

    with pytest.raises(
        UsageProblem, match="not a result of an earlier run; name another"
    ) as caught:
        ResultFile(out)

    assert str(out) in str(caught.value)
    assert out.read_bytes() == before


def test_the_line_that_is_no_result_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(result(0).to_line() + b"\nnotes\n" + result(1).to_line())

    with pytest.raises(UsageProblem, match="line 3 is not"):
        ResultFile(out)


@pytest.mark.parametrize("name", [".", "missing/out.jsonl", "nul\0"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageProblem, match=r"cannot be written to .*; name a file"):
        ResultFile(tmp_path / name)


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    out = tmp_path / "out.jsonl"

    with ResultFile(out), pytest.raises(UsageProblem, match="another run"):
        ResultFile(out)

    with ResultFile(out):
        pass  # The first has let go of it, and the refused one too.


def test_without_locks_the_file_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_results, "fcntl", None)

    with ResultFile(tmp_path / "out.jsonl") as results:
        results.write(result(0))

    assert results.answered == 1


WRITER = """
import sys
from pathlib import Path
from agy_actors.cli._prompts import PromptLine
from agy_actors.cli._results import Result, ResultFile
with ResultFile(Path(sys.argv[1])) as results:
    for number in range(10**9):
        results.write(Result(PromptLine(number, str(number), "q"), "x" * 999, "a", 0.0))
        if number == 99:
            print(flush=True)
"""


def test_a_killed_run_is_taken_up_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()

    with ResultFile(out) as results:
        answered = results.answered

    records = read(out)
    assert answered >= 100
    assert [record["index"] for record in records] == list(range(answered))


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_half(
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
    monkeypatch.setattr(_results, "_open", lambda path: FullDisk(path, "a+"))

    with ResultFile(out) as results, pytest.raises(OSError, match="No space"):
        results.write(result(0))

    assert out.read_bytes() == b""
    assert results.answered == 0


@pytest.mark.parametrize("path", [None, Path("-")])
def test_standard_output_is_written_and_stays_open(
    path: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        out.write("before\n")
        with ResultFile(path) as results:
            results.write(result(0, "Öl"))
            assert not results.pending([prompt(0)])
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
        with ResultFile(fifo) as results:
            results.write(result(0))
        line = os.read(reader, 10_000)
    finally:
        os.close(reader)

    assert json.loads(line)["id"] == "line-1"


def test_a_closed_file_is_not_written_to(tmp_path: Path) -> None:
    results = ResultFile(tmp_path / "out.jsonl")
    results.close()
    with contextlib.closing(results), pytest.raises(ValueError, match="closed"):
        results.write(result(0))


def test_the_state_shows_in_the_repr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show: Callable[[ResultFile], str] = repr

    with ResultFile(tmp_path / "out.jsonl") as results:
        results.write(result(0))

    assert show(results) == f"<ResultFile {tmp_path / 'out.jsonl'}: 1 answered>"
