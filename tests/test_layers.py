"""Imports point down through the layers of the package, and no modules import each other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import agy_actors
from tests.import_contract import Contract, circles_in, private_sdk_imports, upward_imports

if TYPE_CHECKING:
    from collections.abc import Callable

CONTRACT = Contract(
    "agy_actors",
    [
        "cli",
        "testing",
        "telemetry",
        "",  # The public names, which those above may use.
        "_supervisors",
        "_sessions",
        "_agents",
        "_log",
        "_sdk",
        "_supervision",
        "_dotenv _open_file_limit",
        "_actors",
        "_public_paths",
    ],
)
FOLDER = Path(str(agy_actors.__file__)).parent


def test_imports_point_down() -> None:
    assert upward_imports(CONTRACT, CONTRACT.graph()) == []


def test_no_modules_import_each_other() -> None:
    assert circles_in(CONTRACT.graph()) == []


def test_no_module_has_more_than_400_lines() -> None:
    modules = Path(agy_actors.__file__).parent.rglob("*.py")

    assert [path.name for path in modules if len(path.read_text().splitlines()) > 400] == []


def test_only_one_package_uses_private_modules_of_the_sdk() -> None:
    assert private_sdk_imports(FOLDER) == []


# The contract can fail.


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Path]:
    """Write a package `made_up`, with the sources of its modules."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(sources: dict[str, str]) -> Path:
        package = tmp_path / "made_up"
        for name, source in {"__init__": "", **sources}.items():
            path = package / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(source)
        return package

    return write


MADE_UP = Contract("made_up", ["high", "middle other", "low"])
TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("low/a", "from made_up.high.a import x"),
        ("low/a", "import made_up.high.a"),
        ("low/a", "def f():\n    from made_up.high import a"),
        ("low/a", f"{TYPES}from made_up.high.a import x"),
        ("middle/a", f"{TYPES}from made_up.other.a import x"),
    ],
)
def test_an_import_that_does_not_point_down_is_found(
    write: Callable[[dict[str, str]], Path], importer: str, source: str
) -> None:
    modules = dict.fromkeys(["high/a", "middle/a", "other/a", "low/a"], "x = 1")
    write({**modules, importer: source})

    [(module, imported)] = upward_imports(MADE_UP, MADE_UP.graph())

    assert module == f"made_up.{importer.replace('/', '.')}"
    assert imported in {"made_up.high.a", "made_up.other.a"}


def test_an_import_that_points_down_is_allowed(
    write: Callable[[dict[str, str]], Path],
) -> None:
    write({"high/a": "from made_up.low.a import x", "low/a": "x = 1", "middle/a": ""})

    assert upward_imports(MADE_UP, MADE_UP.graph()) == []


def test_a_module_in_no_layer_is_an_error(write: Callable[[dict[str, str]], Path]) -> None:
    write({"high/a": "import made_up.unknown", "unknown": ""})

    with pytest.raises(LookupError, match=r"made_up\.unknown is in no layer"):
        upward_imports(MADE_UP, MADE_UP.graph())


def test_circles_are_found_for_every_kind_of_import(
    write: Callable[[dict[str, str]], Path],
) -> None:
    write(
        {
            "low/a": "from made_up.low.b import x",
            "low/b": f"{TYPES}from made_up.low.c import x",
            "low/c": "def f():\n    from made_up.low.a import x",
            "low/d": "from made_up.low.a import x",
        }
    )

    assert circles_in(MADE_UP.graph()) == [["made_up.low.a", "made_up.low.b", "made_up.low.c"]]


@pytest.mark.parametrize(
    "source",
    [
        "from google.antigravity.connections.local import local_connection",
        "from google.antigravity import connections",
        "import google.antigravity.tools.tool_runner",
        "from google.antigravity.types import _Private",
        f"{TYPES}from google.antigravity.hooks.hooks import HookContext",
    ],
)
def test_an_import_of_a_private_module_of_the_sdk_is_found(
    write: Callable[[dict[str, str]], Path], source: str
) -> None:
    folder = write({"_sdk/a": source, "high/a": source, "low/a": "import google.antigravity"})

    [found] = private_sdk_imports(folder)

    assert found.startswith("high/a.py: google.antigravity")
