"""The reference lists all public names, and what it says of them is true."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path
from typing import ForwardRef, get_args

import pytest

import agy_actors
import agy_actors.telemetry
import agy_actors.testing
from agy_actors import AgyActorsError, Event, Message
from agy_actors._supervision.creation import Creation

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
TESTING = REFERENCE / "testing.rst"
TELEMETRY = REFERENCE / "telemetry.rst"
_DOCUMENTED = re.compile(r"^\.\. auto(?:class|exception|function):: (\w+)$", re.MULTILINE)


def documented(*pages: Path) -> Counter[str]:
    return Counter(name for page in pages for name in _DOCUMENTED.findall(page.read_text()))


def public(kind: type) -> set[str]:
    """Return the names of the public subclasses of a class, and of itself."""
    things = {name: getattr(agy_actors, name) for name in agy_actors.__all__}
    return {name for name, x in things.items() if inspect.isclass(x) and issubclass(x, kind)}


def test_every_public_name_is_in_the_reference_once() -> None:
    pages = [page for page in REFERENCE.glob("*.rst") if page not in (TESTING, TELEMETRY)]

    assert documented(*pages) == Counter(agy_actors.__all__)


def test_every_public_name_of_the_testing_kit_is_in_the_reference_once() -> None:
    assert documented(TESTING) == Counter(agy_actors.testing.__all__)


def test_every_public_name_of_telemetry_is_in_the_reference_once() -> None:
    assert documented(TELEMETRY) == Counter(agy_actors.telemetry.__all__)


def test_the_table_of_messages_lists_each_message_with_its_reply() -> None:
    page = (REFERENCE / "messages.rst").read_text()
    rows = re.findall(r"^   \* - :class:`(\w+)`\n     - (.+)$", page, re.MULTILINE)
    table = {name: re.sub(r":class:|[`]", "", reply) for name, reply in rows}
    expected = {name: reply_of(getattr(agy_actors, name)) for name in table}

    assert set(table) == public(Message) - {"Message"}
    assert table == expected


def reply_of(message: type) -> str:
    """Return the type of a message's reply, as the reference writes it."""
    for kind in message.__mro__:
        for base in getattr(kind, "__orig_bases__", ()):
            if getattr(base, "__origin__", None) in (Message, Creation):
                return written(get_args(base)[0])
    raise AssertionError(message)


def written(kind: object) -> str:
    if kind is type(None):
        return "None"
    if isinstance(kind, ForwardRef):
        return kind.__forward_arg__
    if get_args(kind):
        text = re.sub(r"[\w.]+\.(?=\w)", "", str(kind))
        return text.removesuffix("[~P]")
    return getattr(kind, "__name__", str(kind))


def test_the_tree_of_errors_has_each_error_below_its_base() -> None:
    page = (REFERENCE / "errors.rst").read_text()
    tree = page.partition(".. code-block:: text\n\n")[2].partition("\n\n\n")[0]
    path: list[str] = []
    for line in tree.splitlines():
        name = line.strip()
        depth = (len(line) - len(line.lstrip()) - 3) // 4
        path[depth:] = [name]
        if depth:
            assert issubclass(getattr(agy_actors, name), getattr(agy_actors, path[depth - 1]))

    assert set(tree.split()) == public(AgyActorsError)


@pytest.mark.parametrize(
    ("page", "kind", "role"), [("errors", AgyActorsError, "exc"), ("events", Event, "class")]
)
def test_a_table_says_something_of_each(page: str, kind: type, role: str) -> None:
    text = (REFERENCE / f"{page}.rst").read_text()
    rows = re.findall(rf"^   \* - :{role}:`(\w+)`\n     - \S", text, re.MULTILINE)

    assert set(rows) | {"Event", "AgentEvent"} == public(kind) | {"Event", "AgentEvent"}
    assert len(rows) == len(set(rows))


def test_what_the_reference_says_of_retries_is_true() -> None:
    page = (REFERENCE / "errors.rst").read_text()
    rows = re.findall(
        r"^   \* - :exc:`(\w+)`\n     - .+\n     - (yes|no|depends)$", page, re.MULTILINE
    )

    for name, retryable in rows:
        value = getattr(agy_actors, name).retryable
        if isinstance(value, bool):
            assert value is (retryable == "yes"), name
    assert len(rows) > 20


def test_every_term_of_the_glossary_is_linked_somewhere() -> None:
    docs = REFERENCE.parent
    terms = re.findall(
        r"^   (\w[\w ]*)\n      \S", (docs / "glossary.rst").read_text(), re.MULTILINE
    )
    pages = "".join(page.read_text() for page in docs.rglob("*.rst") if "_build" not in page.parts)
    linked = set(re.findall(r":term:`(?:[^`<]+<)?([\w ]+?)>?`", pages))

    assert len(terms) > 10
    assert set(terms) == linked
