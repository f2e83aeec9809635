"""Bugs can be planted: `python -m tests.check_planted_bugs` shows which tests catch them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import agy_actors
from tests.simulation.planted import plant, read_bugs

PACKAGE = Path(agy_actors.__file__).parent
BUGS = {bug.name: bug for bug in read_bugs()}


def test_there_are_as_many_bugs_as_names() -> None:
    assert len(BUGS) == len(read_bugs()) >= 12


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_fits_into_the_code_as_it_is(name: str, tmp_path: Path) -> None:
    bug = BUGS[name]
    for edit in bug.edits:
        (tmp_path / edit.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / edit.file, tmp_path / edit.file)

    plant(bug, tmp_path)

    for edit in bug.edits:
        changed = (tmp_path / edit.file).read_text()
        assert changed != (PACKAGE / edit.file).read_text()
        compile(changed, edit.file, "exec")


def test_every_bug_stands_in_the_documentation() -> None:
    table = (PACKAGE.parent / "docs" / "planted_bugs.rst").read_text()

    assert [name for name in BUGS if f"* - {name}" not in table] == []
