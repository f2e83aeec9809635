"""The table of capabilities is complete, and every row names tests."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from functools import cache
from pathlib import Path

import google.antigravity
import pytest

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "capabilities.rst"

README = "The SDK's README"
MORE = "More of the SDK"
NAMES = "Public names of google.antigravity"
COMMANDS = "Commands of the reference loop (agy-bridge 0.1.4)"

_COMMANDS = """
    CreateAgent ShutdownAgent Chat Send SignalIdle WaitForWakeup Cancel WaitForIdle IsIdle
    GetHistory GetTurnCount GetTotalUsage GetLastTurnUsage GetCompactionIndices
    GetLastResponse ClearHistory Delete Disconnect Shutdown
"""
_WORDS = {"Inter-agent delay", "Quota registry", "Unknown agent id"}


def rows(section: str) -> dict[str, list[str]]:
    """Read a section's table: the first cell of each row, with the tests that the row names."""
    _, title, rest = TABLE.read_text().partition(f"\n{section}\n{'-' * len(section)}\n")
    assert title, f"no section {section!r}"
    text = re.split(r"^[^\n]+\n-{3,}$", rest, maxsplit=1, flags=re.MULTILINE)[0]
    table: dict[str, list[str]] = {}
    for row in re.split(r"^   \* - ", text, flags=re.MULTILINE)[2:]:  # Not the header.
        first, *others = re.split(r"^     - ", row, flags=re.MULTILINE)
        name = " ".join(first.split()).strip("`").replace("\\", "")
        assert name not in table, f"{name} has two rows"
        table[name] = re.findall(r"``(tests/\S+)``", " ".join(others))
    return table


@cache
def functions_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def test_every_heading_of_the_sdks_readme_has_a_row() -> None:
    readme = importlib.metadata.metadata("google-antigravity")["Description"]
    features = readme.partition("## Gemini Enterprise")[2].partition("## Architecture")[0]
    headings = re.findall(r"^### (.*)$", features, re.MULTILINE)

    assert len(headings) > 10
    assert set(headings) == set(rows(README))


def test_every_public_name_of_the_sdk_has_a_row() -> None:
    assert set(rows(NAMES)) == set(google.antigravity.__all__)


def test_every_command_of_the_reference_loop_has_a_row() -> None:
    assert set(rows(COMMANDS)) == {*_COMMANDS.split(), *_WORDS}


@pytest.mark.parametrize("section", [README, MORE, NAMES, COMMANDS])
def test_every_row_names_existing_tests(section: str) -> None:
    table = rows(section)
    assert table

    for name, tests in table.items():
        assert tests, f"{name} names no test"
        for test in tests:
            path, _, function = test.partition("::")
            assert (ROOT / path).is_file(), f"{name}: {path}"
            assert function in functions_in(path), f"{name}: {test}"
            assert function.startswith("test_")
