"""Plants each known bug in a copy of agy_actors, and shows which simulated tests catch it.

    python -m tests.check_planted_bugs [--only WORD]... [--listed] [--write]

It prints a table; `--write` also puts it into `docs/testing.rst`. The exit code is 1 if a bug is
not caught, or if no test that catches it shows it in at most ten deviations from the schedule of
first come, first served. With `--listed`, only the first test that the documentation lists for a
bug is run on it, and it need not show the bug in few deviations: Hypothesis does not simplify the
failure, which takes minutes for some bugs. `.ci/run` does that.
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

from tests.hypothesis_profiles import NO_SIMPLIFICATION
from tests.simulation.planted import plant, read_bugs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.simulation.planted import Bug

_ROOT = Path(__file__).parents[1]
_PARTS = (
    "agy_actors",
    "pytest_agy_actors.py",
    "tests",
    "pyproject.toml",
    "setup.cfg",
    "README.rst",
)
_TESTS = ("tests/simulation/test_*_model.py", "tests/simulation/test_machine.py")
_ENOUGH = 3
"""The number of failed tests after which a run stops; arbitrary."""
_MAX_DEVIATIONS = 10
_AT_ONCE = 2
_MORE_RUNS = 2
"""How often one test is run again that missed its bug. Arbitrary: few misses come twice."""
_PATIENCE = 900.0
"""Seconds for all tests of one bug. Arbitrary; they take much less."""

_DOCUMENT = _ROOT / "docs" / "testing.rst"
_TABLE = re.compile(
    r"^\.\. list-table::\n(?:(?:   .*)?\n)*   \* - The mistake\n(?:   .*\n)*", re.MULTILINE
)
_ROWS = re.compile(r"^   \* - (.+)\n     - ``(\w+)``", re.MULTILINE)
_DEVIATIONS = re.compile(r"with (\d+) deviations from first come")


@dataclasses.dataclass(frozen=True)
class Catch:
    """A test that caught a bug."""

    test: str
    deviations: int | None
    """Deviations of the schedule that shows the bug; `None` if the test shows no schedule."""


def listed_tests() -> dict[str, str]:
    """Return the first test that the documentation lists for each bug."""
    [table] = _TABLE.findall(_DOCUMENT.read_text())
    return dict(_ROWS.findall(table))


def find_catches(bug: Bug, test: str | None = None) -> list[Catch]:
    """Run the simulated tests, or one of them, on a copy with the bug; return those that fail.

    One test is run again if it misses the bug: it draws its schedules, and may draw none that shows
    the bug.
    """
    catches = _find_catches_once(bug, test)
    for _ in range(0 if test is None else _MORE_RUNS):
        catches = catches or _find_catches_once(bug, test)
    return catches


def _find_catches_once(bug: Bug, test: str | None = None) -> list[Catch]:
    """Run tests once, with other schedules each time."""
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
        _run_tests(folder, test)
        return list(_read_failures(folder / "report.xml"))


def _run_tests(folder: Path, test: str | None) -> None:
    tests = [str(path.relative_to(folder)) for pattern in _TESTS for path in folder.glob(pattern)]
    command = [sys.executable, "-m", "pytest", "-n0", "-q", f"--maxfail={_ENOUGH}"]
    command += ["-p", "no:cacheprovider", "--junit-xml=report.xml", *tests]
    # Hypothesis simplifies a failure for up to five minutes, and takes a timeout for another one.
    command += ["--timeout=600"]
    if test is not None:
        command += [f"--hypothesis-profile={NO_SIMPLIFICATION}"]
    command += ["-m", ""]  # Slow tests too.
    # A failure on real threads shows no schedule.
    command += ["-k", "not threads" if test is None else f"{test} and not threads"]
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


def _is_enough(catches: Sequence[Catch], *, listed: bool) -> bool:
    if listed:
        return bool(catches)
    fewest = _deviations(catches)
    return fewest is not None and fewest <= _MAX_DEVIATIONS


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
        list[str] | None, typer.Option(help="Only bugs with this in their name. Can be repeated.")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--listed", help="Run only the first documented test of each bug.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Put the table into the documentation.")
    ] = False,
) -> None:
    """Plant each bug, and show which tests catch it."""
    bugs = [bug for bug in read_bugs() if not only or any(word in bug.name for word in only)]
    tests = listed_tests() if listed else {}
    if listed and (missing := [bug.name for bug in bugs if bug.name not in tests]):
        raise typer.BadParameter(f"no test is listed for: {'; '.join(missing)}")
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        found: dict[str, list[Catch]] = {}
        for bug, catches in zip(
            bugs, pool.map(lambda bug: find_catches(bug, tests.get(bug.name)), bugs), strict=True
        ):
            found[bug.name] = catches
            print(f"{bug.name}: {len(catches)} tests", file=sys.stderr, flush=True)  # noqa: T201
    table = _table(found)
    print(table)  # noqa: T201 (it is a command)
    if write:
        _DOCUMENT.write_text(_TABLE.sub(lambda _: table, _DOCUMENT.read_text()))
    escaped = [name for name, catches in found.items() if not _is_enough(catches, listed=listed)]
    if escaped:
        print(f"not caught, or not shown simply: {'; '.join(escaped)}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
