"""Plants bugs in copies of agy_actors, and shows which simulated tests catch each.

    python -m tests.check_planted_bugs [--only WORD]... [--out FILE]

It prints a table, in the form in which the documentation has it. The exit code is 1 if a bug
is not caught, or if no test that catches it shows it in at most ten deviations from the
schedule of first come, first served.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tests.simulation.planted import plant, read_bugs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.simulation.planted import Bug

_ROOT = Path(__file__).parents[1]
_PARTS = ("agy_actors", "tests", "pyproject.toml", "setup.cfg", "README.rst")
_TESTS = ("tests/simulation/test_*_model.py", "tests/simulation/test_machine.py")
_ENOUGH = 3
"""Tests that catch a bug, after which no more are run; arbitrary."""
_MOST_DEVIATIONS = 10
_AT_ONCE = 2
_PATIENCE = 900.0
"""Seconds for all tests of one bug; arbitrary, and many times what they take."""

_DEVIATIONS = re.compile(r"with (\d+) deviations from first come")


@dataclasses.dataclass(frozen=True)
class Catch:
    """A test that caught a bug."""

    test: str
    deviations: int | None
    """Of the schedule that shows it; `None` if the test shows no schedule."""


def hunt(bug: Bug) -> list[Catch]:
    """Run the simulated tests on a copy with the bug, and return those that catch it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in _PARTS:
            source = _ROOT / part
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(source, folder / part, ignore=ignore)
            else:
                shutil.copy(source, folder / part)
        plant(bug, folder / "agy_actors")
        _run_tests(folder)
        return list(_read_failures(folder / "report.xml"))


def _run_tests(folder: Path) -> None:
    tests = [str(path.relative_to(folder)) for pattern in _TESTS for path in folder.glob(pattern)]
    command = [sys.executable, "-m", "pytest", "-n0", "-q", f"--maxfail={_ENOUGH}"]
    command += ["-p", "no:cacheprovider", "--junit-xml=report.xml", "--timeout=240", *tests]
    command += ["-k", "not threads"]  # What fails on real threads shows no schedule.
    subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_PATIENCE,
        check=False,
    )


def _read_failures(report: Path) -> Iterator[Catch]:
    for case in ET.parse(report).getroot().iter("testcase"):
        failures = [*case.findall("failure"), *case.findall("error")]
        if failures:
            text = "\n".join(failure.text or "" for failure in failures)
            shown = [int(number) for number in _DEVIATIONS.findall(text)]
            yield Catch(str(case.get("name")).partition("[")[0], shown[-1] if shown else None)


def _deviations(catches: Sequence[Catch]) -> int | None:
    shown = [catch.deviations for catch in catches if catch.deviations is not None]
    return min(shown, default=None)


def _table(found: dict[str, list[Catch]]) -> str:
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - The mistake",
        "     - Tests that catch it",
        "     - Deviations",
    ]
    for name, catches in found.items():
        tests = [f"``{test}``" for test in dict.fromkeys(catch.test for catch in catches)]
        deviations = _deviations(catches)
        lines += [
            f"   * - {name}",
            f"     - {', '.join(tests) or 'none'}",
            f"     - {'' if deviations is None else deviations}",
        ]
    return "\n".join(lines) + "\n"


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="Bugs with this in their name. Can be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A file for the table.")] = None,
) -> None:
    """Plant each bug, and see who catches it."""
    bugs = [bug for bug in read_bugs() if not only or any(word in bug.name for word in only)]
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        found: dict[str, list[Catch]] = {}
        for bug, catches in zip(bugs, pool.map(hunt, bugs), strict=True):
            found[bug.name] = catches
            print(f"{bug.name}: {len(catches)} tests", file=sys.stderr, flush=True)  # noqa: T201
    table = _table(found)
    print(table)  # noqa: T201 (it is a command)
    if out is not None:
        out.write_text(table)
    escaped = [
        name
        for name, catches in found.items()
        if (fewest := _deviations(catches)) is None or fewest > _MOST_DEVIATIONS
    ]
    if escaped:
        print(f"not caught, or not shown simply: {'; '.join(escaped)}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
