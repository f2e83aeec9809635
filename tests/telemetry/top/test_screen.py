from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from agy_actors.telemetry.top import layout
from agy_actors.telemetry.top import screen as screens
from agy_actors.telemetry.top.layout import row_line, shown_in, top_of
from agy_actors.telemetry.top.rows import Row, make_rows, summarize
from agy_actors.telemetry.top.screen import Screen, compose_screen
from tests.telemetry.top.snapshots import ROOT, TREE, event, node, snapshot


def screen(**facts: Any) -> Screen:
    now = snapshot(*TREE, at=60.0)
    usual: dict[str, Any] = {
        "name": "shop",
        "summary": summarize(now, None),
        "ended": False,
        "rows": make_rows(now, snapshot(*TREE, at=0.0), ()),
        "selected": 0,
        "top": 0,
        "events": [event(1)],
        "problem": "",
        "notice": "",
        "asks": None,
        "helps": False,
    }
    return Screen(**usual | facts)


def text_of(made: Screen, width: int = 80, height: int = 24) -> str:
    return "\n".join(line.text for line in compose_screen(made, width, height)[0])


def test_a_wide_screen_shows_everything() -> None:
    lines = text_of(screen()).splitlines()

    assert lines[0].split() == [
        "shop:",
        "3",
        "agents,",
        "1",
        "busy,",
        "1",
        "restarting,",
        "3",
        "queued",
    ]
    assert lines[1].split() == ["name", "state", "turn", "age", "queue", "restarts", "tok/min"]
    assert lines[2].split() == [">-", "root", "up", "3", "5", "0"]
    assert lines[3].split() == ["north", "busy", "3/2", "1.2s", "2", "0"]
    assert lines[5].split() == ["east", "restarting", "4", "0"]
    assert "north: crashed" in text_of(screen())
    assert lines[-1].startswith("c cancel")


def test_a_narrow_screen_shows_the_state_and_the_age() -> None:
    lines = text_of(screen(), 40).splitlines()

    assert lines[1].split() == ["name", "state", "age"]
    assert lines[3].split() == ["north", "busy", "1.2s"]


def test_a_very_narrow_screen_shows_the_state() -> None:
    lines = text_of(screen(selected=1), 20, 8).splitlines()

    assert lines[3].split() == [">", "north", "busy"]


@given(st.integers(0, 130), st.integers(0, 40), st.integers(0, 5), st.booleans())
def test_a_screen_fits_exactly(width: int, height: int, selected: int, helps: bool) -> None:
    made = screen(selected=selected, helps=helps, notice="done" * 50)

    lines, _ = compose_screen(made, width, height)

    assert len(lines) <= height
    assert {cell_len(line.text) for line in lines} <= {width}
    if height >= 4 and width and not helps:
        assert len(lines) == height
        assert sum(line.text.startswith(">") for line in lines) == 1


@pytest.mark.parametrize("width", [10, 40, 80, 200])
def test_lines_of_ascii_names_are_ascii(width: int) -> None:
    for made in (screen(), screen(helps=True), screen(asks=ROOT), screen(problem="no answer")):
        assert text_of(made, width).isascii()


def test_control_characters_never_reach_the_terminal() -> None:
    bad = node("root/\x1b[2J\x07é", state="idle")
    [_, row] = make_rows(snapshot(ROOT, bad), None, ())
    shown = row_line(row, selected=False, width=80)
    logged = layout.event_line(event(1, "a\x1b]0;title\x07\nb"), 80)

    line = shown.text + logged.text

    assert not any(ord(character) < 32 or ord(character) == 127 for character in line)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "café 日本"), ("latin-1", "caf? ??"), ("nonsense", "caf? ??")],
)
def test_characters_that_the_terminal_has_not_are_question_marks(encoding: str, shown: str) -> None:
    assert shown_in("café 日本", encoding) == shown


def test_wide_characters_do_not_move_the_columns() -> None:
    rows = make_rows(snapshot(ROOT, node(f"root/{'日本語' * 9}", state="idle")), None, ())

    line = row_line(rows[1], selected=True, width=80)

    assert cell_len(line.text) == 80
    assert "idle" in line.text


@given(st.integers(0, 999), st.integers(0, 999), st.integers(1, 1000), st.integers(1, 100))
def test_the_selected_row_is_on_the_screen(selected: int, top: int, rows: int, height: int) -> None:
    selected = min(selected, rows - 1)

    first = top_of(selected, top, rows, height)

    assert 0 <= first <= selected < first + height
    assert first == 0 or first + height <= rows


def test_only_the_rows_on_the_screen_are_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    formatted: list[Row] = []

    def format_row(row: Row, **options: Any) -> layout.Line:
        formatted.append(row)
        return row_line(row, **options)

    monkeypatch.setattr(screens, "row_line", format_row)
    nodes = [node(f"root/{number}") for number in range(1000)]
    rows = make_rows(snapshot(ROOT, *nodes), None, ())

    compose_screen(screen(rows=rows, selected=500), 80, 24)

    assert len(formatted) < 24
    assert any(row.node.name == "499" for row in formatted)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"summary": None, "rows": []}, "shop: waiting for the first answer"),
        ({"ended": True, "rows": []}, "shop: the supervisor has ended"),
        ({"problem": "no answer from x"}, "no answer from x; trying again"),
        ({"notice": "did it"}, "did it"),
        ({"asks": ROOT}, "Shut down supervisor 'root'? y/n"),
        ({"helps": True}, "Any key closes this help."),
    ],
)
def test_what_happens_is_said_in_words(facts: dict[str, Any], words: str) -> None:
    assert words in text_of(screen(**facts))


@pytest.mark.parametrize("facts", [{"notice": "x"}, {"asks": ROOT}])
def test_a_problem_is_not_shown_instead_of_a_question(facts: dict[str, Any]) -> None:
    assert ("y/n" in text_of(screen(problem="no answer", **facts))) == ("asks" in facts)


def test_a_row_without_an_answer_says_so() -> None:
    rows = make_rows(snapshot(ROOT, node("root/a", state="busy", silent=7.4)), None, ())

    line = row_line(rows[1], selected=False, width=80)

    assert "no answer 7s" in line.text
    assert "red" in line.style


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0.0s"), (59.94, "59.9s"), (61, "1m01s"), (7200, "2h")]
)
def test_ages_are_short(seconds: float, shown: str) -> None:
    assert layout._seconds(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (9999, "9999"), (12_345, "12.3k"), (2.5e6, "2.5M"), (3e9, "3.0G")],
)
def test_numbers_are_short(number: float, shown: str) -> None:
    assert layout._short(number) == shown
