"""The options of ``map`` for prompts and answers."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors.testing import ScriptedModel, call_tool
from tests.cli.command_line import at, run
from tests.cli.map_results import asked, records

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
TOKYO = {"city": "Tokyo", "population": 37_000_000}


def write(folder: Path, content: Any, name: str = "schema.json") -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


class TestTheSystemInstructions:
    def test_the_model_gets_the_text(self, model: ScriptedModel) -> None:
        run("map", "-", "--system", "Answer in Latin.", *at(model), stdin="a\n")

        (request,) = model.requests
        assert "Answer in Latin." in request.system

    def test_the_text_can_be_in_a_file(self, model: ScriptedModel, tmp_path: Path) -> None:
        path = write(tmp_path, "Answer in Latin.\nBriefly.\n", "system.txt")

        run("map", "-", f"--system=@{path}", *at(model), stdin="a\n")

        (request,) = model.requests
        assert "Answer in Latin.\nBriefly." in request.system

    def test_two_at_signs_stand_for_one(self, model: ScriptedModel) -> None:
        run("map", "-", "--system=@@home", *at(model), stdin="a\n")

        (request,) = model.requests
        assert "@home" in request.system
        assert "@@home" not in request.system

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("@no/such/file", "--system @no/such/file: the file cannot be read: No such file"),
            ("@.", "--system @.: the file cannot be read: Is a directory"),
            (" ", "--system is empty; write a text"),
        ],
    )
    def test_a_text_that_cannot_be_used_is_an_error(self, value: str, message: str) -> None:
        done = run("map", "-", "--rehearse", f"--system={value}", stdin="a\n")

        assert message in " ".join(done.stderr.split())
        assert done.returncode == 2

    def test_a_file_that_is_not_utf8_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "system").write_bytes(b"\xff\xfe")

        done = run("map", "-", "--rehearse", f"--system=@{tmp_path / 'system'}", stdin="a\n")

        assert "not UTF-8" in done.stderr
        assert done.returncode == 2


class TestASchema:
    def test_a_result_has_the_data_of_its_answer(
        self, model: ScriptedModel, tmp_path: Path
    ) -> None:
        model.then(call_tool("finish", TOKYO))

        done = run("map", "-", "--schema", write(tmp_path, SCHEMA), *at(model), stdin="a\n")

        (record,) = records(done.stdout)
        assert record["structured"] == TOKYO
        assert record["error"] is None
        assert done.returncode == 0

    def test_an_answer_without_data_is_an_error(self, model: ScriptedModel, tmp_path: Path) -> None:
        done = run("map", "-", "--schema", write(tmp_path, SCHEMA), *at(model), stdin="a\n")

        (record,) = records(done.stdout)
        assert record["structured"] is None
        assert record["error"]["type"] == "InvalidOutput"
        assert done.returncode == 1

    def test_a_result_without_a_schema_has_no_data(self, model: ScriptedModel) -> None:
        done = run("map", "-", *at(model), stdin="a\n")

        (record,) = records(done.stdout)
        assert "structured" not in record

    def test_a_rehearsal_answers_with_data_that_fit(self, tmp_path: Path) -> None:
        schema = write(tmp_path, SCHEMA)

        done = run("map", "-", "--rehearse", "--schema", schema, stdin="a\n")

        (record,) = records(done.stdout)
        assert record["structured"] == {"city": "example", "population": 1}
        assert done.returncode == 0

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not JSON"),
            ("[]", "the answers must be JSON objects"),
            ({}, "the answers must be JSON objects"),
            ({"type": "array"}, "the answers must be JSON objects"),
            ({"type": "object", "required": "city"}, "not a JSON Schema: $.required"),
            ({"properties": {"city": {"$ref": "#/$defs/City"}}}, "not a JSON Schema: "),
        ],
    )
    def test_a_file_that_cannot_be_used_is_an_error(
        self, tmp_path: Path, content: Any, message: str
    ) -> None:
        done = run("map", "-", "--rehearse", "--schema", write(tmp_path, content), stdin="a\n")

        assert message in done.stderr
        assert "REHEARSAL" not in done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode == 2

    def test_a_missing_file_is_an_error(self) -> None:
        done = run("map", "-", "--rehearse", "--schema=no/such/file", stdin="a\n")

        assert "--schema no/such/file cannot be read: No such file" in done.stderr
        assert done.returncode == 2


class TestATemplate:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("prompts.csv", "language,text\nFrench,Hello\n"),
            ("prompts.jsonl", '{"language": "French", "text": "Hello"}\n'),
        ],
    )
    def test_the_prompts_are_made_from_columns(
        self, model: ScriptedModel, tmp_path: Path, name: str, content: str
    ) -> None:
        path = write(tmp_path, content, name)

        done = run("map", path, "--template=To {language}: {text}", *at(model))

        (record,) = records(done.stdout)
        assert asked(model) == ["To French: Hello"]
        assert record["prompt"] == "To French: Hello"
        assert record["extra"] == {"language": "French", "text": "Hello"}

    def test_it_can_be_in_a_file(self, model: ScriptedModel, tmp_path: Path) -> None:
        template = write(tmp_path, "Translate:\n{prompt}\n", "template.txt")

        run("map", "-", f"--template=@{template}", *at(model), stdin="Hello\n")

        assert asked(model) == ["Translate:\nHello"]

    def test_a_missing_column_is_an_error_before_any_prompt_is_asked(
        self, model: ScriptedModel, tmp_path: Path
    ) -> None:
        content = '{"text": "a", "language": "French"}\n{"text": "b"}\n'
        path = write(tmp_path, content, "prompts.jsonl")

        done = run("map", path, "--template={language}: {text}", *at(model))

        assert "prompts.jsonl, line 2: no column 'language', which --template needs" in done.stderr
        assert not model.requests
        assert done.returncode == 2

    def test_a_malformed_template_is_an_error(self) -> None:
        done = run("map", "-", "--rehearse", "--template={prompt.__class__}", stdin="a\n")

        assert "must be only the name of a column" in done.stderr
        assert done.returncode == 2

    def test_it_excludes_a_column_with_prompts(self) -> None:
        done = run("map", "-", "--rehearse", "--template={a}", "--column=b", stdin="a\n")

        assert "leave one of them out" in done.stderr
        assert done.returncode == 2


def test_a_result_names_the_time_of_its_answer_in_utc(model: ScriptedModel) -> None:
    before = dt.datetime.now(dt.UTC)

    done = run("map", "-", *at(model), stdin="a\n")

    (record,) = records(done.stdout)
    time = dt.datetime.fromisoformat(record["time"])
    assert time.utcoffset() == dt.timedelta(0)
    assert before - dt.timedelta(seconds=1) <= time <= dt.datetime.now(dt.UTC)
