from __future__ import annotations

import datetime as dt
import decimal
import importlib
import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors.cli.prompt_file import PromptFile
from agy_actors.cli.prompt_template import PromptTemplate
from agy_actors.cli.prompts import Entry, Reading
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("pyarrow")


def write(path: Path, **columns: Any) -> str:
    arrow = importlib.import_module("pyarrow")
    importlib.import_module("pyarrow.parquet").write_table(arrow.table(columns), path)
    return str(path)


def read(source: str, reading: Reading | None = None) -> list[Entry]:
    with PromptFile(source, reading) as file:
        first = [*file.read()]
        assert [*file.read()] == first
        return first


def test_a_row_is_a_prompt_with_an_id_and_further_fields(tmp_path: Path) -> None:
    source = write(tmp_path / "a.parquet", id=[7, None], prompt=["a", "b\n"], n=[1.5, None])

    assert read(source) == [
        Entry("row 1", "7", "a", {"n": 1.5}),
        Entry("row 2", None, "b\n", {"n": None}),
    ]


@pytest.mark.parametrize("column", ["Question", "question", "2"])
def test_the_column_can_be_named(tmp_path: Path, column: str) -> None:
    source = write(tmp_path / "a.parquet", id=["x"], Question=["a"])

    assert read(source, Reading(column=column)) == [Entry("row 1", "x", "a", {})]


def test_a_template_uses_all_columns(tmp_path: Path) -> None:
    source = write(tmp_path / "a.parquet", id=[7], text=["a"], n=[2])
    reading = Reading(template=PromptTemplate.parse("{id} {text} {n}"))

    assert read(source, reading) == [Entry("row 1", "7", "7 a 2", {"text": "a", "n": 2})]


def test_a_file_without_a_suffix_and_standard_input_are_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "prompts", prompt=["a"])
    content = (tmp_path / "prompts").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    assert [entry.prompt for entry in read(source) + read("-")] == ["a", "a"]


def test_values_that_json_does_not_have_become_texts(tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.parquet",
        prompt=["a"],
        day=[dt.date(2026, 1, 31)],
        price=[decimal.Decimal("1.50")],
        raw=[b"\xff"],
        nan=[float("nan")],
        nested=[{"list": [b"\x00"]}],
    )

    (entry,) = read(source)

    assert entry.extra == {
        "day": "2026-01-31",
        "price": "1.50",
        "raw": "/w==",
        "nan": None,
        "nested": {"list": ["AA=="]},
    }


@pytest.mark.parametrize(
    ("columns", "reading", "message"),
    [
        ({"prompt": ["a", None]}, Reading(), "row 2: the prompt is not a text or is empty"),
        ({"prompt": [1]}, Reading(), "row 1: the prompt is not a text"),
        ({"prompt": [" "]}, Reading(), "row 1: the prompt is not a text or is empty"),
        ({"text": ["a"]}, Reading(), "no column 'prompt'; its columns are 'text'"),
        ({"x": ["a"]}, Reading(column="y"), "no column 'y'"),
        ({"xx": ["a"], "XX": ["b"]}, Reading(column="Xx"), "more than one column 'Xx'"),
        ({"prompt": ["a"]}, Reading(header=False), "--no-header is for CSV and TSV"),
        ({"prompt": ["a"], "id": [None]}, Reading(column="9"), "no column '9'"),
        (
            {"a": ["x", None]},
            Reading(template=PromptTemplate.parse("{a}")),
            "row 2: the column 'a' is empty",
        ),
    ],
)
def test_a_prompt_that_cannot_be_used_is_an_error(
    tmp_path: Path, columns: dict[str, Any], reading: Reading, message: str
) -> None:
    source = write(tmp_path / "a.parquet", **columns)

    with pytest.raises(UsageProblem, match=message):
        read(source, reading)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)

    with pytest.raises(UsageProblem, match="not a readable Parquet file"):
        read(str(tmp_path / "a.parquet"))
