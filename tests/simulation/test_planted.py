"""Bugs can be planted, and the check finds the tests that catch them.

`.ci/run` runs it on all of them: `python -m tests.check_planted_bugs --listed`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import typer

import agy_actors
from tests import check_planted_bugs
from tests.check_planted_bugs import Catch, find_catches, listed_tests
from tests.simulation.planted import Bug, plant, read_bugs

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


def test_the_documentation_lists_every_bug_with_an_existing_test() -> None:
    listed = listed_tests()

    assert list(listed) == list(BUGS)
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [test for test in listed.values() if f"def {test}(" not in tests] == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_planted_bug_is_caught_and_without_it_the_same_test_passes() -> None:
    name = "a reply is set twice: a cancellation that comes late takes it back"
    test = listed_tests()[name]

    assert [catch.test for catch in find_catches(BUGS[name], test)] == [test]
    assert find_catches(Bug("no bug at all"), test) == []


@pytest.mark.parametrize("deviations", [10, 11, None])
def test_the_check_fails_for_a_bug_that_is_not_caught_or_not_shown_simply(
    deviations: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(bug: Bug, _: str | None) -> list[Catch]:
        is_first = bug.name == next(iter(BUGS))
        return [Catch("a_test", deviations)] if is_first else [Catch("a_test", 0)]

    monkeypatch.setattr(check_planted_bugs, "find_catches", found)

    if deviations == 10:
        check_planted_bugs.main()
    else:
        with pytest.raises(typer.Exit) as raised:
            check_planted_bugs.main()
        assert raised.value.exit_code == 1


def test_only_the_listed_tests_are_run_and_need_not_show_the_bugs_simply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str | None] = []

    def found(_: Bug, test: str | None) -> list[Catch]:
        asked.append(test)
        return [Catch("a_test", 11)]

    monkeypatch.setattr(check_planted_bugs, "find_catches", found)

    check_planted_bugs.main(listed=True)

    assert sorted(map(str, asked)) == sorted(listed_tests().values())


@pytest.mark.parametrize("listed", [False, True])
def test_the_check_fails_for_a_bug_that_no_test_catches(
    listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_planted_bugs, "find_catches", lambda *_: [])

    with pytest.raises(typer.Exit):
        check_planted_bugs.main(listed=listed)


def test_the_table_in_the_documentation_is_replaced_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = tmp_path / "testing.rst"
    before = check_planted_bugs._DOCUMENT.read_text()
    document.write_text(before)
    monkeypatch.setattr(check_planted_bugs, "_DOCUMENT", document)
    monkeypatch.setattr(check_planted_bugs, "find_catches", lambda *_: [Catch("another_test", 3)])

    check_planted_bugs.main(write=True)

    assert listed_tests() == dict.fromkeys(BUGS, "another_test")
    untouched = [check_planted_bugs._TABLE.sub("", text) for text in (before, document.read_text())]
    assert untouched[0] == untouched[1]
