from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agy_actors.cli.prompt_file import PromptFile
from agy_actors.cli.prompt_template import PromptTemplate
from agy_actors.cli.prompts import Entry, Format, Reading
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path


def fill(template: str, **values: Any) -> str:
    return PromptTemplate.parse(template).fill(values, "file, line 1")


def read(path: Path, template: str, **reading: Any) -> list[Entry]:
    with PromptFile(str(path), Reading(template=PromptTemplate.parse(template), **reading)) as file:
        return [*file.read()]


def test_names_in_braces_are_replaced_by_values() -> None:
    assert fill("{a} and {b}, {a}", a="x", b="y") == "x and y, x"


def test_a_value_is_not_a_template() -> None:
    assert fill("{a}", a="{b}") == "{b}"


def test_doubled_braces_are_braces() -> None:
    assert fill('{{"text": "{a}"}}', a="x") == '{"text": "x"}'


def test_a_name_may_contain_spaces_and_other_letters() -> None:
    template = PromptTemplate.parse("{größe in m}")

    assert template.fill({"größe in m": "2"}, "here") == "2"


def test_a_value_that_is_not_a_text_is_written_as_json() -> None:
    assert fill("{a} {b} {c}", a=1.5, b=True, c=["ö"]) == '1.5 true ["ö"]'


@pytest.mark.parametrize(
    "template", ["{a.b}", "{a[0]}", "{a!r}", "{a:>5}", "{}", "{ }", "{a", "a}", "{a{b}}", "plain"]
)
def test_anything_but_names_is_an_error(template: str) -> None:
    with pytest.raises(UsageProblem, match="--template"):
        PromptTemplate.parse(template)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"b": "x"}, "file, line 1: no column 'a', which --template needs; the columns are 'b'"),
        ({}, r"the columns are \(none\)"),
        ({"a": None}, "file, line 1: the column 'a' is empty"),
    ],
)
def test_a_missing_value_is_an_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        fill("{a}", **values)


class TestReading:
    def test_an_id_is_kept_and_may_be_used(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("id,text\n7,x\n")

        assert read(path, "{id}: {text}") == [Entry("line 2", "7", "7: x", {"text": "x"})]

    def test_the_delimiter_with_the_columns_is_chosen(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("one;two,three\n1;2,3\n")

        assert [entry.prompt for entry in read(path, "{one}")] == ["1"]

    def test_columns_without_names_have_numbers(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("x,y\n")

        assert [e.prompt for e in read(path, "{column 2} {column 1}", header=False)] == ["y x"]

    def test_an_unnamed_file_with_the_columns_is_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "prompts"
        path.write_text("one,two\n1,2\n")

        assert [entry.prompt for entry in read(path, "{two}")] == ["2"]

    def test_an_unnamed_file_without_the_columns_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "prompts"
        path.write_text("one,two\n1,2\n")

        with pytest.raises(UsageProblem, match=r"--template: .* choose one with --format"):
            read(path, "{three}")

    def test_a_line_of_text_is_the_column_prompt(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("x\n")

        assert read(path, "<{prompt}>") == [Entry("line 1", None, "<x>", {"prompt": "x"})]
        with pytest.raises(UsageProblem, match="line 1: no column 'other'"):
            read(path, "{other}", format=Format.TEXT)

    def test_a_prompt_of_blanks_is_an_error(self, tmp_path: Path) -> None:
        for name, content in {"a.csv": "x,y\n ,1\n", "a.jsonl": '{"x": " ", "y": 1}\n'}.items():
            (tmp_path / name).write_text(content)

            with pytest.raises(UsageProblem, match="the prompt is empty"):
                read(tmp_path / name, "{x}")
