"""The modules, tests and SDK facts that the documentation names exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = (
    "docs/architecture.rst",
    "docs/contributing.rst",
    "docs/sdk_facts.rst",
    "docs/testing.rst",
)

_PATH = re.compile(r"(?<![\w/.])(?:agy_actors|_actors|_supervision|_agents|_sdk)/[\w/]*(?:\.py)?")
"""A module or a folder of the package. Diagrams leave out the package's name."""

_TEST = re.compile(r"(?<![\w/.])(tests/[\w/.]+\.py)(?:::(\w+))?")
_BARE_TEST = re.compile(r"``(test_\w+)``")
"""A test without its file, as the table of planted bugs names them."""

_FACT = re.compile(r"docs/sdk_facts\.rst,\s+(?:#\s*)?([\w-]+)")
"""How code refers to a fact. A comment may be wrapped before the name."""


def missing_names(text: str) -> list[str]:
    """Return the modules and tests that a text names and that do not exist."""
    modules = [path for path in _PATH.findall(text) if not _module(path).exists()]
    tests = [
        f"{path}::{name}" if name else path
        for path, name in _TEST.findall(text)
        if not (ROOT / path).is_file() or (name and name not in _functions_in(path))
    ]
    everywhere = _tests_anywhere()
    return modules + tests + [name for name in _BARE_TEST.findall(text) if name not in everywhere]


def missing_facts(code: str, facts: str) -> list[str]:
    """Return the facts to which some code refers and that the document does not have."""
    return [name for name in _FACT.findall(code) if f".. _fact-{name}:\n" not in facts]


def _module(path: str) -> Path:
    return ROOT / path if path.startswith("agy_actors") else ROOT / "agy_actors" / path


@cache
def _tests_anywhere() -> set[str]:
    paths = (path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
    return set().union(*(_functions_in(str(path)) for path in paths))


@cache
def _functions_in(path: str) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@pytest.mark.parametrize("document", DOCS)
def test_every_module_and_every_test_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()

    assert _PATH.search(text) or _TEST.search(text)
    assert missing_names(text) == []


def test_every_fact_to_which_the_code_refers_exists() -> None:
    facts = (ROOT / "docs/sdk_facts.rst").read_text()
    code = [path.read_text() for path in sorted((ROOT / "agy_actors").rglob("*.py"))]

    assert missing_facts("\n".join(code), facts) == []


def test_every_fact_names_a_test_or_says_how_it_was_measured() -> None:
    facts = (ROOT / "docs/sdk_facts.rst").read_text().split(".. _fact-")[1:]
    without = [
        fact.partition(":")[0]
        for fact in facts
        if not _TEST.search(fact.partition(":Shown by:")[2]) and "Measured, no test." not in fact
    ]

    assert len(facts) > 30
    assert without == []


@pytest.mark.parametrize(
    "name",
    [
        "agy_actors/_agents/no_such_module.py",
        "agy_actors/_no_such_package/",
        "_sdk/process/no_such_module.py",
        "tests/no_such_file.py",
        "tests/test_docs_names.py::test_no_such_test",
        "tests/no_such_file.py::test_no_such_test",
    ],
)
def test_a_name_that_does_not_exist_is_found(name: str) -> None:
    assert missing_names(f"See ``{name}``, and ``agy_actors/_sdk/``.") == [name]
    assert missing_names(f"    {name}  the layer below") == [name]


def test_a_test_without_its_file_is_found_too() -> None:
    known = test_names_that_exist_are_not_missing.__name__

    assert missing_names(f"``{known}``, ``test_no_such_test``") == ["test_no_such_test"]


def test_names_that_exist_are_not_missing() -> None:
    text = "``agy_actors/_sdk/`` _actors/ tests/conftest.py and tests/test_docs_names.py::_module"

    assert missing_names(text) == []


@pytest.mark.parametrize("gap", [" ", "\n    # "])
def test_a_fact_that_does_not_exist_is_found(gap: str) -> None:
    facts = ".. _fact-known:\n"

    assert missing_facts(f"# See docs/sdk_facts.rst,{gap}known", facts) == []
    assert missing_facts(f"# See docs/sdk_facts.rst,{gap}unknown", facts) == ["unknown"]
