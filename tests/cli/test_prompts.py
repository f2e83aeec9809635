from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors.cli._prompts import (
    DEMO_ANSWERS,
    DEMO_CONVERSATIONS,
    DEMO_PROMPTS,
    DEMO_RECALLED,
    PromptLine,
    UsageProblem,
    read_prompts,
)


def write(folder: Path, content: str | bytes, name: str = "prompts.txt") -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_each_line_of_a_text_file_is_a_prompt(tmp_path: Path) -> None:
    source = write(tmp_path, "\ufeffFirst?\r\n\r\n  Second: naïve 🌧?  \n\n")

    prompts = read_prompts(source)

    assert prompts == [
        PromptLine(0, "line-1", "First?"),
        PromptLine(1, "line-3", "Second: naïve 🌧?"),
    ]


def test_each_line_of_a_jsonl_file_is_an_object_or_a_text(tmp_path: Path) -> None:
    source = write(
        tmp_path,
        '{"prompt": "First?", "id": "a", "tag": [1]}\r\n"Second?"\n\n{"prompt": " x ", "id": 7}',
        "prompts.JSONL",
    )

    prompts = read_prompts(source)

    assert prompts == [
        PromptLine(0, "a", "First?", {"tag": [1]}),
        PromptLine(1, "line-2", "Second?"),
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


def test_prompts_come_from_standard_input_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"First?\nSecond?\n")))

    assert [prompt.id for prompt in read_prompts("-")] == ["line-1", "line-2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no prompt"),
        ("\ufeff\r\n  \n", "holds no prompt"),
        (b"fine\n\xff\xfe\n", "line 2: not UTF-8"),
        ("fine".encode("utf-16"), "line 1: not UTF-8"),
        ('{"prompt": "a"}\n{"prompt": "b"\n', r"line 2: not JSON .*write \{"),
        ('{"prompt": "a"}\n17\n', "line 2: neither an object nor a string"),
        ('{"prompt": "a"}\n{"text": "b"}\n', 'line 2: the object has no "prompt"'),
        ('{"prompt": 3}\n', 'line 1: "prompt" is not a text'),
        ('{"prompt": "  "}\n', 'line 1: "prompt" is not a text, or is empty'),
        ('{"prompt": "a", "id": true}\n', 'line 1: "id" is neither'),
        ('{"prompt": "a", "id": ""}\n', 'line 1: "id" is neither'),
        ('{"prompt": "a", "id": 1.5}\n', 'line 1: "id" is neither'),
        ('{"prompt": "a", "n": NaN}\n{"prompt": "b", "n": NaN}', "line 1: not JSON .*NaN"),
        ('{"prompt": "\\ud800"}\n', "line 1: half of a surrogate pair"),
        ('{"prompt": "a"}\n' + "[" * 100_000, "line 2: not JSON"),
        (
            '{"prompt": "a", "id": 1}\n\n{"prompt": "b", "id": "1"}\n',
            "line 3: the id '1' .* line 1",
        ),
        ('{"prompt": "a"}\n{"prompt": "b", "id": "line-1"}\n', "line 2: the id 'line-1' .* line 1"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    source = write(tmp_path, content)

    with pytest.raises(UsageProblem, match=message) as caught:
        read_prompts(source)

    assert source in str(caught.value)


@pytest.mark.parametrize("name", ["missing.txt", ".", "nul\0.txt"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageProblem, match=r"cannot be read: .*; give a text or JSONL file"):
        read_prompts(str(tmp_path / name))


def test_empty_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))

    with pytest.raises(UsageProblem, match="standard input holds no prompt"):
        read_prompts("-")


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


def test_the_demonstration_has_four_conversations_of_six_different_prompts() -> None:
    assert [len(prompts) for prompts in DEMO_CONVERSATIONS] == [6, 6, 6, 6]
    assert len(set(DEMO_PROMPTS)) == 24
    assert DEMO_ANSWERS.keys() == set(DEMO_PROMPTS)


def test_each_conversation_ends_by_asking_for_what_it_began_with() -> None:
    for prompts in DEMO_CONVERSATIONS:
        word = DEMO_RECALLED[prompts[-1]]

        assert word in prompts[0]
        assert word not in "".join(prompts[1:])
        assert word in DEMO_ANSWERS[prompts[-1]]
