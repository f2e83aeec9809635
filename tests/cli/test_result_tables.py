"""Results as CSV and Parquet."""

from __future__ import annotations

import csv
import importlib
import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors.cli.prompts import PromptLine
from agy_actors.cli.record_row import COLUMNS
from agy_actors.cli.records import Result
from agy_actors.cli.usage_problem import UsageProblem
from agy_actors.testing import ScriptedModel, http_error, say, silence
from tests.cli.command_line import COMMAND, PATIENCE, at, run, start
from tests.cli.map_results import asked
from tests.cli.result_files import FAILED, Run, result

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIXES = ["csv", "parquet"]


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read a table as other programs do."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [*csv.DictReader(file)]
    rows: list[dict[str, Any]] = parquet().read_table(path).to_pylist()
    return rows


def parquet() -> Any:
    return pytest.importorskip("pyarrow.parquet")


def line(number: int, **extra: Any) -> PromptLine:
    return PromptLine(number, f"id-{number}", f"Question {number}?", extra)


def full(prompt: PromptLine, **fields: Any) -> Result:
    return Result(prompt, **{"text": "Answer.", "agent": "agent-1", "seconds": 1.5, **fields})


@pytest.fixture(params=SUFFIXES)
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "parquet":
        parquet()
    path: Path = tmp_path / f"out.{request.param}"
    return path


class TestTheTable:
    def test_a_row_has_the_fields_of_a_result(self, out: Path) -> None:
        usage = {"total": 9}
        with Run(out, line(0)) as first:
            first.write(
                full(
                    line(0),
                    text='"Öl",\r\nand more',
                    model="gemini",
                    time="2026-01-31T23:59:59.123+00:00",
                    usage=usage,
                    has_schema=True,
                    structured={"a": None},
                )
            )

        (row,) = read_table(out)
        assert tuple(row) == COLUMNS
        assert (row["id"], row["prompt"]) == ("id-0", "Question 0?")
        assert row["text"] == '"Öl",\r\nand more'
        assert (row["model"], row["time"]) == ("gemini", "2026-01-31T23:59:59.123+00:00")
        assert json.loads(row["usage"]) == usage
        assert json.loads(row["structured"]) == {"a": None}
        assert float(row["seconds"]) == 1.5
        assert not row["error_type"]

    def test_the_rows_have_the_order_of_the_prompts(self, out: Path) -> None:
        with Run(out, line(0), line(1), line(2)) as first:
            for number in (2, 0, 1):
                first.write(full(line(number)))

        assert [row["id"] for row in read_table(out)] == ["id-0", "id-1", "id-2"]

    def test_an_error_has_columns(self, out: Path) -> None:
        with Run(out, line(0)) as first:
            first.write(full(line(0), text=None, error=FAILED))

        (row,) = read_table(out)
        assert row["error_type"] == "ModelError"
        assert row["error_message"] == "HTTP 503"
        assert row["error_retryable"] in (True, "true")
        assert not row["text"]

    def test_further_fields_of_the_prompts_are_columns(self, out: Path) -> None:
        with Run(out, line(0, text="Hello", size=1), line(1, text="Bye", tags=["x"])) as first:
            first.write(full(line(0, text="Hello", size=1)))
            first.write(full(line(1, text="Bye", tags=["x"])))

        rows = read_table(out)
        assert [row["extra.text"] for row in rows] == ["Hello", "Bye"]
        assert str(rows[0]["extra.size"]) == "1"
        assert [json.loads(row["extra.tags"] or "0") for row in rows] == [0, ["x"]]

    def test_a_lone_surrogate_in_an_answer_is_replaced(self, out: Path) -> None:
        with Run(out, line(0)) as first:
            first.write(full(line(0), text="half \ud83d"))

        assert read_table(out)[0]["text"] == "half ?"

    def test_no_other_file_remains(self, out: Path) -> None:
        with Run(out, line(0)) as first:
            first.write(full(line(0)))
            files = {path.name for path in out.parent.iterdir()}

        assert files == {f"{out.name}.journal"}
        assert [*out.parent.iterdir()] == [out]

    def test_a_link_and_permissions_remain(self, out: Path) -> None:
        target = out.with_name("target")
        with Run(out, line(0)) as first:
            first.write(full(line(0)))
        out.rename(target)
        target.chmod(0o640)
        out.symlink_to(target)

        with Run(out, line(0), line(1)) as second:
            second.write(full(line(1)))

        assert out.is_symlink()
        assert target.stat().st_mode & 0o777 == 0o640
        assert len(read_table(out)) == 2


class TestTheNextRun:
    PROMPTS = (line(0, text="x", size=1), line(1, text="", size=2), line(2))

    @pytest.fixture
    def earlier(self, out: Path) -> Path:
        with Run(out, *self.PROMPTS) as first:
            first.write(full(self.PROMPTS[1], usage={"a": 1}, text=""))
            first.write(full(self.PROMPTS[0], text=None, error=FAILED))
        return out

    def test_it_asks_the_unanswered_prompts(self, earlier: Path) -> None:
        with Run(earlier, *self.PROMPTS) as second:
            pending = [prompt.id for prompt in second.pending]

        assert pending == ["id-0", "id-2"]

    def test_it_keeps_the_other_rows(self, earlier: Path) -> None:
        before = read_table(earlier)

        with Run(earlier, *self.PROMPTS) as second:
            second.write(full(self.PROMPTS[0], text="At last."))

        after = read_table(earlier)
        assert [row["id"] for row in after] == ["id-0", "id-1"]
        assert after[0]["text"] == "At last."
        assert after[1] == before[1]

    def test_it_leaves_the_table_alone_if_it_has_no_result(self, earlier: Path) -> None:
        before = earlier.stat()

        with Run(earlier, *self.PROMPTS):
            pass

        assert (earlier.stat().st_ino, earlier.stat().st_mtime_ns) == (
            before.st_ino,
            before.st_mtime_ns,
        )
        assert [*earlier.parent.iterdir()] == [earlier]

    def test_it_continues_with_the_journal_of_a_killed_run(self, earlier: Path) -> None:
        journal = earlier.with_name(f"{earlier.name}.journal")
        # It had copied one row of the table, and was writing a result.
        journal.write_bytes(full(line(2), text="New.").to_line() + b'{"id": "id-')

        with Run(earlier, *self.PROMPTS) as second:
            pending = [prompt.id for prompt in second.pending]

        assert pending == ["id-0"]
        rows = read_table(earlier)
        assert [row["id"] for row in rows] == ["id-0", "id-1", "id-2"]
        assert rows[2]["text"] == "New."
        assert not journal.exists()

    def test_it_is_refused_while_the_other_runs(self, earlier: Path) -> None:
        with (
            Run(earlier, *self.PROMPTS),
            pytest.raises(UsageProblem, match="another run is writing"),
        ):
            Run(earlier, *self.PROMPTS)


class TestAFileOfTheUsers:
    @pytest.mark.parametrize(
        "content", ["id,text\n1,a\n", "notes", f"{','.join(COLUMNS)}\r\na,b\r\n", "\xff"]
    )
    def test_it_is_left_as_it_is(self, out: Path, content: str) -> None:
        out.write_bytes(content.encode("latin-1"))

        with pytest.raises(UsageProblem, match="is not a file with results of an earlier run"):
            Run(out)

        assert out.read_bytes() == content.encode("latin-1")
        assert [*out.parent.iterdir()] == [out]

    def test_a_row_that_is_not_a_result_is_an_error(self, tmp_path: Path) -> None:
        out = tmp_path / "out.csv"
        with Run(out) as first:
            first.write(result(0))
        text = out.read_text().replace("1.23", "soon")
        out.write_text(text)

        with pytest.raises(UsageProblem, match="not a file with results"):
            Run(out)

    def test_an_empty_file_is_used(self, out: Path) -> None:
        out.touch()

        with Run(out) as first:
            first.write(result(0))

        assert len(read_table(out)) == 1

    def test_a_folder_is_an_error(self, out: Path) -> None:
        out.mkdir()

        with pytest.raises(UsageProblem, match="cannot be read: Is a directory"):
            Run(out)


class TestATableThatCannotBeWritten:
    def test_the_results_stay_in_the_journal(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", fail)
            with Run(out) as first:
                first.write(result(0))

        assert "No space left" in str(first.file.problem)
        assert not out.exists()
        with Run(out) as second:
            assert len(second.pending) == 4
        assert len(read_table(out)) == 1


class TestParquet:
    @pytest.mark.parametrize(
        ("values", "kept"),
        [
            ((1, 2), [1, 2]),
            ((1, 2.5), [1.0, 2.5]),
            ((True, None), [True, None]),
            (("a", 1), ["a", "1"]),
            ((True, 1), ["true", "1"]),
            ((2**64, 1), [str(2**64), "1"]),
            (({"a": 1}, None), ['{"a": 1}', None]),
        ],
    )
    def test_a_further_field_has_the_type_of_its_values(
        self, tmp_path: Path, values: Sequence[Any], kept: list[Any]
    ) -> None:
        parquet()
        prompts = [line(number, field=value) for number, value in enumerate(values)]
        with Run(tmp_path / "out.parquet", *prompts) as first:
            for prompt in prompts:
                first.write(full(prompt))

        rows = read_table(tmp_path / "out.parquet")
        assert [row["extra.field"] for row in rows] == kept

    def test_more_rows_than_a_group_are_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parquet()
        monkeypatch.setattr("agy_actors.cli.result_parquet._GROUP", 2)
        prompts = [line(number) for number in range(5)]
        with Run(tmp_path / "out.parquet", *prompts) as first:
            for prompt in prompts:
                first.write(full(prompt))

        assert len(read_table(tmp_path / "out.parquet")) == 5

    @pytest.mark.parametrize("command", [["prompts.parquet"], ["-", "-o", "out.parquet"]])
    def test_without_pyarrow_the_error_names_the_extra(
        self, tmp_path: Path, command: list[str]
    ) -> None:
        (tmp_path / "prompts.parquet").write_bytes(b"PAR1")
        # In a fresh interpreter, which finds modules in its folder first.
        (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError('pyarrow')")

        done = subprocess.run(
            [*COMMAND, "map", *command, "--rehearse"],
            input="a\n",
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

        assert "pip install 'agy-actors[parquet]'" in done.stderr
        assert "REHEARSAL" not in done.stderr
        assert done.returncode == 2


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_keeps_its_answers_and_the_next_asks_only_the_others(
    model: ScriptedModel, out: Path, end: signal.Signals
) -> None:
    prompts = out.with_name("prompts.txt")
    prompts.write_text("".join(f"prompt {n}\n" for n in range(6)))
    command = ["map", str(prompts), "-o", str(out), "-n", "2", *at(model)]
    model.then(*[say(lambda request: f"echo: {request.prompt}")] * 3)
    model.when("", silence("half an ans"))
    with start(*command) as process:
        model.wait_for_requests(5, timeout=PATIENCE)
        process.send_signal(end)
        process.communicate(timeout=PATIENCE)
    if end is not signal.SIGKILL:
        assert len(read_table(out)) == 3
    model.reset()

    done = run(*command)

    assert len(asked(model)) == 3
    rows = read_table(out)
    assert [row["text"] for row in rows] == [f"echo: prompt {n}" for n in range(6)]
    assert "3 of 6 prompts are already answered" in done.stderr
    assert done.returncode == 0


def test_prompts_and_results_can_be_tables(model: ScriptedModel, out: Path) -> None:
    prompts = out.with_name(f"prompts{out.suffix}")
    if out.suffix == ".csv":
        prompts.write_text("id,language,question\nx,French,Hello\n")
    else:
        arrow = importlib.import_module("pyarrow")
        columns = {"id": ["x"], "language": ["French"], "question": ["Hello"]}
        parquet().write_table(arrow.table(columns), prompts)

    done = run("map", str(prompts), "--column=question", "-o", str(out), *at(model))

    (row,) = read_table(out)
    assert (row["id"], row["prompt"], row["text"]) == ("x", "Hello", "echo: Hello")
    assert row["extra.language"] == "French"
    assert done.returncode == 0


def test_a_failed_prompt_is_asked_again(model: ScriptedModel, out: Path) -> None:
    command = ["map", "-", "-o", str(out), *at(model)]
    model.when("b", http_error(400), times=1)

    first = run(*command, stdin="a\nb\n")
    second = run(*command, stdin="a\nb\n")
    third = run(*command, stdin="a\nb\n")

    assert (first.returncode, second.returncode, third.returncode) == (1, 0, 0)
    assert [row["text"] for row in read_table(out)] == ["echo: a", "echo: b"]
    assert "nothing was asked" in third.stderr
    assert asked(model) == ["a", "b", "b"]
