from __future__ import annotations

import csv
import io
import json
import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors.cli.ledger import Ledger
from agy_actors.cli.prompt_file import PromptFile
from agy_actors.cli.prompts import Format, PromptLine, Reading
from agy_actors.cli.records import text_id
from agy_actors.cli.usage_problem import UsageProblem


def read_prompts(source: str, reading: Reading | None = None) -> list[PromptLine]:
    with PromptFile(source, reading) as prompts:
        return Ledger(prompts.read, prompts.name).pending()


def write(folder: Path, content: str | bytes, name: str = "prompts.txt") -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_each_line_of_a_text_file_is_a_prompt(tmp_path: Path) -> None:
    source = write(tmp_path, "\ufeffFirst?\r\n\r\n  Second: naïve 🌧?  \n\n")

    prompts = read_prompts(source)

    assert prompts == [
        PromptLine(0, text_id("First?"), "First?"),
        PromptLine(1, text_id("Second: naïve 🌧?"), "Second: naïve 🌧?"),
    ]


def test_each_line_of_a_jsonl_file_is_an_object_or_a_string(tmp_path: Path) -> None:
    source = write(
        tmp_path,
        '{"prompt": "First?", "id": "a", "tag": [1]}\r\n"Second?"\n\n{"prompt": " x ", "id": 7}',
        "prompts.JSONL",
    )

    prompts = read_prompts(source)

    assert prompts == [
        PromptLine(0, "a", "First?", {"tag": [1]}),
        PromptLine(1, text_id("Second?"), "Second?"),
        PromptLine(2, "7", " x "),
    ]


def test_jsonl_is_recognised_by_its_first_line(tmp_path: Path) -> None:
    source = write(tmp_path, '\n{"prompt": "First?"}\n"Second?"\n')

    assert [prompt.prompt for prompt in read_prompts(source)] == ["First?", "Second?"]


def test_a_text_file_may_begin_with_other_json(tmp_path: Path) -> None:
    source = write(tmp_path, '"Quoted"\n[1]\n{"prompt": "x"}\n')

    assert [prompt.prompt for prompt in read_prompts(source)] == [
        '"Quoted"',
        "[1]",
        '{"prompt": "x"}',
    ]


def test_unicode_line_separators_do_not_split_a_line(tmp_path: Path) -> None:
    source = write(tmp_path, '{"prompt": "one\u2028still one\x85and one"}\n')

    assert [prompt.prompt for prompt in read_prompts(source)] == ["one\u2028still one\x85and one"]


def test_prompts_are_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"First?\nSecond?\n")))

    assert [prompt.prompt for prompt in read_prompts("-")] == ["First?", "Second?"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "contains no prompt"),
        ("\ufeff\r\n  \n", "contains no prompt"),
        (b"fine\n\xff\xfe\n", "line 2: not UTF-8"),
        ("fine".encode("utf-16"), "line 1: not UTF-8"),
        ('{"prompt": "a"}\n{"prompt": "b"\n', r"line 2: not JSON .*write \{"),
        ('{"prompt": "a"}\n17\n', "line 2: neither an object nor a string"),
        (
            '{"prompt": "a"}\n{"text": "b"}\n',
            'line 2: .* no "prompt"; it has "text"; .*--column',
        ),
        ('{"prompt": 3}\n', 'line 1: "prompt" is not a string'),
        ('{"prompt": "  "}\n', 'line 1: "prompt" is not a string or is empty'),
        ('{"prompt": "a", "id": true}\n', 'line 1: "id" must be'),
        ('{"prompt": "a", "id": ""}\n', 'line 1: "id" must be'),
        ('{"prompt": "a", "id": 1.5}\n', 'line 1: "id" must be'),
        ('{"prompt": "a", "n": NaN}\n{"prompt": "b", "n": NaN}', "line 1: not JSON .*NaN"),
        ('{"prompt": "\\ud800"}\n', "line 1: a lone surrogate"),
        ('{"prompt": "a"}\n' + "[" * 100_000, "line 2: not JSON"),
        (
            '{"prompt": "a", "id": 1}\n\n{"prompt": "b", "id": "1"}\n',
            "line 3: the id '1' .* line 1",
        ),
        ("fine".encode("utf-16-le"), "line 1: a NUL character"),
    ],
)
def test_an_error_names_the_file_and_the_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    source = write(tmp_path, content)

    with pytest.raises(UsageProblem, match=message) as caught:
        read_prompts(source)

    assert source in str(caught.value)


@pytest.mark.parametrize("name", ["missing.txt", ".", "nul\0.txt"])
def test_an_unreadable_file_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageProblem, match=r"cannot be read: .*; give a text, CSV or JSONL file"):
        read_prompts(str(tmp_path / name))


def test_empty_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))

    with pytest.raises(UsageProblem, match="standard input contains no prompt"):
        read_prompts("-")


class TestCsv:
    def test_columns_are_found_by_their_names(self, tmp_path: Path) -> None:
        content = '\ufeffid,Prompt,tag\r\n7,"Say ""hi"",\nand, then, go",x\r\n,Second?,\r\n\r\n'
        source = write(tmp_path, content, "prompts.csv")

        assert read_prompts(source) == [
            PromptLine(0, "7", 'Say "hi",\nand, then, go', {"tag": "x"}),
            PromptLine(1, text_id("Second?"), "Second?", {"tag": ""}),
        ]

    @pytest.mark.parametrize(
        ("name", "delimiter"),
        [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.csv", "|"), ("a.tsv", "\t")],
    )
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_every_usual_delimiter_is_recognised(
        self, tmp_path: Path, name: str, delimiter: str, end: str
    ) -> None:
        rows = [["id", "prompt"], ["1", '"a, b; c\n\td|"'], ["2", "x"]]
        source = write(tmp_path, "".join(delimiter.join(row) + end for row in rows), name)

        prompts = read_prompts(source)

        assert [(one.id, one.prompt) for one in prompts] == [("1", "a, b; c\n\td|"), ("2", "x")]

    def test_a_tsv_file_may_contain_commas(self, tmp_path: Path) -> None:
        source = write(tmp_path, "prompt\ttag\nOne, two?\ta,b\n", "prompts.tsv")

        assert read_prompts(source)[0].prompt == "One, two?"

    @pytest.mark.parametrize("column", ["question", "Question", "2"])
    def test_the_column_can_be_named(self, tmp_path: Path, column: str) -> None:
        source = write(tmp_path, "id;question;prompt\n1;Why?;not this\n", "prompts.csv")

        prompts = read_prompts(source, Reading(column=column))

        assert prompts == [PromptLine(0, "1", "Why?", {"prompt": "not this"})]

    def test_it_may_have_no_header(self, tmp_path: Path) -> None:
        one = write(tmp_path, '"First, ""you""?"\nSecond?\n', "one.csv")
        two = write(tmp_path, "a,First?\nb,Second?\n", "two.csv")

        assert [p.prompt for p in read_prompts(one, Reading(header=False))] == [
            'First, "you"?',
            "Second?",
        ]
        assert read_prompts(two, Reading(column="2", header=False))[1] == PromptLine(
            1, text_id("Second?"), "Second?", {"column 1": "b"}
        )

    def test_a_prompt_may_be_long(self, tmp_path: Path) -> None:
        limit = csv.field_size_limit()
        source = write(tmp_path, f"prompt\n{'x' * 200_000}\n", "prompts.csv")

        assert len(read_prompts(source)[0].prompt) == 200_000
        assert csv.field_size_limit() == limit

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                "id,question\n1,Why?\n",
                r"no column 'prompt'; its columns are 'id', 'question'; ",
            ),
            ("Why?\nHow?\n", "no column 'prompt'; its columns are 'Why.'; .*--no-header"),
            ("PROMPT,Prompt \n1,2\n", "more than one column"),
            ("id,prompt\n1,Why, then?\n", "line 2: the number of values is 3, .* double quotes"),
            ("id,prompt\n1,Why\nthen?\n", "line 3: the number of values is 1"),
            ('id,prompt\n1,"Why?\n2,How?\n', "line 2: not CSV"),
            ('id,prompt\n1,"Why?" he said\n', "line 2: not CSV .*twice"),
            ('prompt\n"a\nb"\n" "\n\n"c\n', "line 6: not CSV"),
            ("id,prompt\n1, \n", "line 2: the prompt is empty"),
            ("id,prompt\n1,a\n1,b\n", "line 3: the id '1' is also the id of line 2"),
            ("id,prompt\n", "contains no prompt"),
            ("", "contains no prompt"),
            (b"prompt\nfine\n\xff\n", "line 3: not UTF-8"),
            (b"prompt\nfi\0ne\n", "line 2: a NUL"),
        ],
    )
    def test_an_error_names_the_line(
        self, tmp_path: Path, content: str | bytes, message: str
    ) -> None:
        source = write(tmp_path, content, "prompts.csv")

        with pytest.raises(UsageProblem, match=message):
            read_prompts(source)

    @pytest.mark.parametrize("column", ["missing", "0", "4"])
    def test_a_missing_column_is_an_error_that_lists_the_columns(
        self, tmp_path: Path, column: str
    ) -> None:
        source = write(tmp_path, "id,prompt,tag\n1,a,b\n", "prompts.csv")

        with pytest.raises(UsageProblem, match=rf"no column '{column}'; .* 'id', 'prompt', 'tag'"):
            read_prompts(source, Reading(column=column))

    def test_without_a_header_the_error_asks_for_the_number(self, tmp_path: Path) -> None:
        source = write(tmp_path, "a,First?\n", "prompts.csv")

        with pytest.raises(UsageProblem, match=r"has 2 columns; .*--column 1 to --column 2"):
            read_prompts(source, Reading(header=False))


class TestJson:
    @pytest.mark.parametrize("indent", [None, 2])
    def test_it_is_a_list_of_objects_or_strings(self, tmp_path: Path, indent: int | None) -> None:
        values = [{"prompt": "First?", "id": 1, "tag": [2]}, "Second?"]
        source = write(tmp_path, json.dumps(values, indent=indent), "prompts.json")

        assert read_prompts(source) == [
            PromptLine(0, "1", "First?", {"tag": [2]}),
            PromptLine(1, text_id("Second?"), "Second?"),
        ]

    def test_a_json_file_may_contain_json_lines(self, tmp_path: Path) -> None:
        source = write(tmp_path, '{"prompt": "a"}\n{"prompt": "b"}\n', "prompts.json")

        assert [one.prompt for one in read_prompts(source)] == ["a", "b"]

    def test_the_field_can_be_named(self, tmp_path: Path) -> None:
        for name, content in (
            ("a.jsonl", '{"question": "Why?", "prompt": 3}\n'),
            ("a.json", '[{"question": "Why?", "prompt": 3}]'),
            ("a", '{"question": "Why?", "prompt": 3}\n'),
        ):
            source = write(tmp_path, content, name)

            assert read_prompts(source, Reading(column="question")) == [
                PromptLine(0, text_id("Why?"), "Why?", {"prompt": 3})
            ]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"prompts": ["a"]}', "not a list of prompts"),
            ('["a", {"text": "b"}]', 'item 2: the object has no "prompt"; it has "text"'),
            ("[", "not JSON"),
            ("[]", "contains no prompt"),
            ('["a", "a", {"prompt": "b", "id": 1}, {"prompt": "c", "id": 1}]', "item 4: the id"),
        ],
    )
    def test_an_invalid_value_is_an_error(self, tmp_path: Path, content: str, message: str) -> None:
        source = write(tmp_path, content, "prompts.json")

        with pytest.raises(UsageProblem, match=message):
            read_prompts(source)


class TestWhatCannotBeGuessed:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("id,prompt\n1,Why?\n", "begins like CSV, .*--format csv, or --format text"),
            ("id;Prompt\n1;Why?\n", "begins like CSV"),
            ("prompt\ttag\nWhy?\tx\n", "begins like CSV"),
            ("prompt\nWhy?\n", "begins like CSV"),
            ('[\n  "a",\n  "b"\n]\n', "may be JSON or text; use --format json"),
            ('{\n  "prompt": "a"\n}\n', "may be JSON or text"),
        ],
    )
    @pytest.mark.parametrize("name", ["prompts", "prompts.txt", "-"])
    def test_an_ambiguous_format_is_an_error_that_names_the_option(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        content: str,
        message: str,
        name: str,
    ) -> None:
        source = write(tmp_path, content, name)
        if name == "-":
            source = "-"
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))

        with pytest.raises(UsageProblem, match=message):
            read_prompts(source)

        if name != "-":
            lines = [line.strip() for line in content.splitlines()]
            assert [one.prompt for one in read_prompts(source, Reading(Format.TEXT))] == lines

    @pytest.mark.parametrize("name", ["a.xlsx", "a.yaml", "a.XLSX", "a.csv.gz"])
    def test_files_with_other_suffixes_are_refused(self, tmp_path: Path, name: str) -> None:
        source = write(tmp_path, "a\n", name)

        with pytest.raises(UsageProblem, match="cannot be read; convert it to CSV or JSONL"):
            read_prompts(source)

    @pytest.mark.parametrize(
        ("reading", "message"),
        [
            (Reading(column="question"), "--column question: .* choose one with --format"),
            (Reading(Format.TEXT, "question"), "read as text, which has no columns"),
            (Reading(header=False), "--no-header is for CSV and TSV"),
        ],
    )
    def test_options_that_do_not_fit_are_refused(
        self, tmp_path: Path, reading: Reading, message: str
    ) -> None:
        with pytest.raises(UsageProblem, match=message):
            read_prompts(write(tmp_path, "a\n"), reading)

    def test_the_column_option_shows_that_it_is_csv(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content = b"id;question\n1;Why?\n"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

        assert read_prompts("-", Reading(column="question")) == [PromptLine(0, "1", "Why?")]


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    fifo = tmp_path / "prompts.csv"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_text, args=("prompt\na\nb\n",))
    writer.start()

    assert [one.prompt for one in read_prompts(str(fifo))] == ["a", "b"]
    writer.join()


texts = st.text('aé🌧"\\\n\r\u2028\x85 {}', min_size=1, max_size=5)


fields = st.dictionaries(
    st.sampled_from(["tag", "ID", ""]), texts | st.none() | st.lists(st.integers(), max_size=2)
)


@given(
    entries=st.lists(st.tuples(texts.filter(str.strip), fields), min_size=1), escaped=st.booleans()
)
def test_jsonl_is_read_as_it_was_written(
    entries: list[tuple[str, dict[str, object]]], escaped: bool
) -> None:
    lines = [
        json.dumps({**extra, "prompt": prompt, "id": number}, ensure_ascii=escaped)
        for number, (prompt, extra) in enumerate(entries)
    ]
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder), "\n".join(lines), "prompts.jsonl")

        prompts = read_prompts(source)

    assert [(prompt.prompt, dict(prompt.extra)) for prompt in prompts] == entries
    assert [prompt.id for prompt in prompts] == [str(number) for number in range(len(entries))]
