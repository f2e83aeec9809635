"""The recognition of records, and of files that are not ours."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agy_actors.cli.usage_problem import UsageProblem
from tests.cli.result_files import FAILED, Run, prompt, result

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
    first = lines[0].index(b', "prompt"')
    assume(cut == 0 or cut >= first)  # Less could be the beginning of anything.
    # A record is complete without the newline at its end.
    complete = [one for one in range(len(lines)) if len(b"".join(lines[: one + 1])) <= cut + 1]

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.jsonl")
        out.write_bytes(whole[:cut])
        with Run(out, *(one.prompt for one in written)) as run:
            pending = run.pending
            for one in written:
                if one.prompt in pending:
                    run.write(one)
        after = out.read_bytes()

    answered = [one for one in complete if written[one].error is None]
    assert [one.index for one in pending] == [
        one for one in range(len(written)) if one not in answered
    ]
    kept = b"".join(lines[one] for one in answered)
    asked_again = b"".join(lines[one.index] for one in pending)
    assert after == kept + asked_again


OURS = json.loads(result(0).to_line())


OTHERS = [
    b"my notes\n",
    b"my notes",
    b'{"prompt": "What?", "id": "1"}\n',
    b'{"prompt": "What?", "id": "1"}',
    b'{"id": "1", "prompt": "What?"}',
    b'{"id": 1, "prompt": "What?", "note": "mine"}',
    b'{"id": "1", "prompt": "Wh',
    b'{"id": "1", "index": 0, "prompt": "What?", "note": "mi',
    b'{"id": "1", "index": "first", "prompt": "Wh',
    b'{"id": 1, "index": 0, "pro',
    b'{"prompt": "Wh',
    b'{"index": 0, "id": "1", "prompt": "Wh',
    b'{"id": [',
    b"{\n",
    b"7",
    b'"id"',
    b"[]\n",
    b"\0\0\0\0",
    b"\xff\xfe\n",
    b"[" * 100_000 + b"\n",
    b"[" * 100_000,
    *(
        json.dumps(one, sort_keys=by_name).encode() + end
        for end in (b"", b"\n")
        for by_name in (False, True)
        for one in (
            OURS | {"score": 3},
            OURS | {"error": {"code": 3}},
            OURS | {"error": "none"},
            OURS | {"index": "0"},
            OURS | {"text": ["Answer."]},
            {name: value for name, value in OURS.items() if name != "agent"},
        )
    ),
]


@pytest.mark.parametrize("content", OTHERS)
@pytest.mark.parametrize("after_results", [False, True])
def test_a_file_with_other_content_is_refused_and_unchanged(
    tmp_path: Path, content: bytes, after_results: bool
) -> None:
    out = tmp_path / "out.jsonl"
    before = (result(0).to_line() if after_results else b"") + content
    out.write_bytes(before)

    with pytest.raises(
        UsageProblem, match="not a result of an earlier run; name another"
    ) as caught:
        Run(out)

    assert str(out) in str(caught.value)
    assert "remove" not in str(caught.value)
    assert out.read_bytes() == before


@pytest.mark.parametrize("half", [b"{", b'{"id": ', b'{"id": "1', b'{"id": "1", "ind'])
def test_a_short_incomplete_record_is_removed_only_after_other_records(
    tmp_path: Path, half: bytes
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(half)
    with pytest.raises(UsageProblem, match="not a result"):
        Run(out)
    assert out.read_bytes() == half

    out.write_bytes(result(0).to_line() + half)
    with Run(out):
        pass
    assert out.read_bytes() == result(0).to_line()


def test_records_are_recognised_in_any_order_of_their_fields(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text(json.dumps(OURS, sort_keys=True))

    with Run(out, prompt(0)) as run:
        assert not run.pending


def test_the_error_names_the_line_that_is_not_a_result(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(result(0).to_line() + b"\nnotes\n" + result(1).to_line())

    with pytest.raises(UsageProblem, match="line 3 is not"):
        Run(out)
