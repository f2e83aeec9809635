"""Streamed text is wrapped between words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors.cli.word_wrap import WordWrap

TEXTS = st.text(alphabet="abcdefgh  \n", max_size=80)


def wrapped(text: str, width: int, *, pieces: int | None = None) -> str:
    wrap = WordWrap(lambda: width)
    size = pieces or max(1, len(text))
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    return "".join(map(wrap.feed, parts)) + wrap.flush()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three four", "one two\nthree four"),
        ("one two\nthree four", "one two\nthree four"),
        ("exactly ten", "exactly\nten"),
        ("0123456789 next", "0123456789\nnext"),
        ("a 0123456789abcdef b", "a\n0123456789abcdef b"),
        ("  if indented:", "  if\nindented:"),
        ("one\n\n  two", "one\n\n  two"),
        ("a\tb\tc", "a\tb\nc"),
        ("日本語の文章です", "日本語の文\n章です"),
        ("", ""),
    ],
)
def test_a_line_is_wrapped_before_the_word_that_does_not_fit(text: str, expected: str) -> None:
    lines = wrapped(text, 10).split("\n")

    assert "\n".join(line.rstrip() for line in lines) == expected


def test_a_word_is_held_back_until_it_is_complete() -> None:
    wrap = WordWrap(lambda: 10)

    assert wrap.feed("hello wor") == "hello "
    assert wrap.feed("ld again") == "\nworld "
    assert wrap.flush() == "\nagain"


@given(TEXTS, st.integers(min_value=1, max_value=12), st.integers(min_value=1, max_value=9))
def test_the_result_does_not_depend_on_the_pieces(text: str, width: int, pieces: int) -> None:
    assert wrapped(text, width, pieces=pieces) == wrapped(text, width)


@given(TEXTS, st.integers(min_value=1, max_value=12))
def test_no_word_is_lost_and_no_word_that_fits_is_split(text: str, width: int) -> None:
    lines = wrapped(text, width).split("\n")

    assert " ".join(lines).split() == text.split()
    for line in lines:
        for word in re.finditer(r"\S+", line):
            in_one_row = word.start() // width == (word.end() - 1) // width
            assert in_one_row or len(word[0]) > width


def test_it_knows_the_column() -> None:
    wrap = WordWrap(lambda: 10)

    wrap.feed("one two three ")

    assert wrap.column == len("three ")


def test_a_partly_written_word_is_not_split() -> None:
    wrap = WordWrap(lambda: 10)

    assert wrap.feed("one two thr") == "one two "
    assert wrap.flush() == "\nthr"
    assert wrap.feed("ee four") == "ee "
