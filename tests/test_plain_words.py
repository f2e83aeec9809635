"""Keeps words out of the documentation that nobody would say to a colleague.

Two lists: words and phrases to avoid, and private names that modules and functions once had. What
is checked: the README, the changelog, the documentation, and the docstrings of all public names.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

import agy_actors
import agy_actors.testing
from tests.documents import ROOT, documents

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = r"""
    all else
    all of its answer
    anew
    be told of
    beats
    best forgotten
    bring along
    buried
    bury
    calls no stop off
    can be poisoned
    crew
    doubted
    forsake\w*
    guests?
    have a turn
    have so many
    (?<!there )is none(?! of)
    live on
    looks? after
    none is after
    none the wiser
    nothing runs any more
    quarters
    raised to the asker
    rumours?
    see to
    seeing to
    sees to
    so many (?:members|seconds|agents|turns)
    stands? still
    strife
    taken as false
    tenants?
    there is none to be had
    those that came
    to nobody
    trusted again
    what it has
    whoever
    whole number
    whom a supervisor
"""
"""Regular expressions, of which none may match. Upper and lower case are the same."""

NAMES = """
    _answers _be_woken _boot _callers _children _come_up _context _copies _death _decisions
    _diagnosis _doze_later _fleet _have_chat _have_turn _host _human _kernel _launch _life
    _outlast _pace _parent _quarters _run_turn _see_to_end _settings _settle _specs _suspicion _try
    _turns _waiting _workers Rumour Suspicions Tape
"""
"""Names that the code has no more."""

_PHRASES = "|".join(line.strip() for line in WORDS.strip().splitlines())
_WORDS = re.compile(rf"\b(?:{_PHRASES})\b", re.IGNORECASE)
_NAMES = re.compile(rf"(?<![\w.])(?:{'|'.join(NAMES.split())})\b")


def found_in(text: str) -> list[str]:
    """Return the words and names in a text that are to be avoided."""
    flat = " ".join(text.split())
    return _WORDS.findall(flat) + _NAMES.findall(flat)


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield the docstrings of public names and their public members."""
    for package in (agy_actors, agy_actors.testing):
        yield package.__name__, package.__doc__ or ""
        for name in package.__all__:
            thing = getattr(package, name)
            yield f"{package.__name__}.{name}", inspect.getdoc(thing) or ""
            if inspect.isclass(thing):
                yield from members(f"{package.__name__}.{name}", thing)


def members(path: str, kind: type) -> Iterator[tuple[str, str]]:
    for name, value in inspect.getmembers(kind):
        described: Any = value.fget if isinstance(value, property) else value
        ours = str(getattr(described, "__module__", "")).startswith("agy_actors")
        if not name.startswith("_") and ours and callable(described):
            yield f"{path}.{name}", inspect.getdoc(described) or ""


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_a_document_has_no_word_to_avoid(document: Any) -> None:
    assert found_in(document.read_text()) == []


def test_the_changelog_has_no_word_to_avoid() -> None:
    text = (ROOT / "CHANGELOG.rst").read_text()

    assert found_in(re.sub(r"``.*?``", "", text)) == []  # It names what was removed.


def test_no_public_docstring_has_a_word_to_avoid() -> None:
    texts = dict(docstrings())

    assert len(texts) > 300
    assert {path: words for path, text in texts.items() if (words := found_in(text))} == {}


def test_every_public_name_has_a_docstring() -> None:
    assert [path for path, text in docstrings() if not text] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Have a turn: ask the model.", ["Have a turn"]),
        ("See to a child\nof which nothing runs any more.", ["See to", "nothing runs any more"]),
        ("the response_schema is none", ["is none"]),
        ("attempts is a whole\nnumber", ["whole number"]),
        ("what `_fleet` decides", ["_fleet"]),
        ("None of them is none of these", []),
        ("The supervisor restarts the agent.", []),
    ],
)
def test_what_is_to_be_avoided_is_found(text: str, found: list[str]) -> None:
    assert found_in(text) == found
