from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors.telemetry.top.history import History
from agy_actors.telemetry.top.rows import Row, make_rows, select, summarize
from agy_actors.telemetry.top.snapshot import Node, Snapshot
from tests.telemetry.top.snapshots import ROOT, TREE, event, node, snapshot


def row_of(rows: list[Row], name: str) -> Row:
    return next(row for row in rows if row.node.name == name)


def test_each_node_has_a_row_below_its_supervisor() -> None:
    rows = make_rows(snapshot(*TREE), None, ())

    assert [(row.depth, row.node.name) for row in rows] == [
        (0, "root"),
        (1, "north"),
        (1, "team"),
        (2, "east"),
        (2, "clock"),
        (1, "south"),
    ]


def test_a_collapsed_supervisor_hides_all_below_and_keeps_its_sums() -> None:
    whole = make_rows(snapshot(*TREE), None, ())
    folded = make_rows(snapshot(*TREE), None, {"root/team"})

    assert [row.node.name for row in folded] == ["root", "north", "team", "south"]
    assert (row_of(folded, "team").has_children, row_of(folded, "team").expanded) == (True, False)
    assert row_of(folded, "team").restarts == row_of(whole, "team").restarts == 4
    assert [row.node.name for row in make_rows(snapshot(*TREE), None, {"root"})] == ["root"]


def test_queues_and_restarts_are_summed_up() -> None:
    rows = make_rows(snapshot(*TREE), None, ())

    assert (row_of(rows, "root").queue, row_of(rows, "root").restarts) == (3, 5)
    assert (row_of(rows, "team").queue, row_of(rows, "team").restarts) == (1, 4)


def test_tokens_per_minute_come_from_the_difference() -> None:
    before = snapshot(ROOT, node("root/a", tokens=100), node("root/b", tokens=7), at=10.0)
    now = snapshot(ROOT, node("root/a", tokens=160), node("root/b", tokens=7), at=20.0)

    rows = make_rows(now, before, ())

    assert [row.tokens_per_minute for row in rows] == [360.0, 360.0, 0.0]
    assert summarize(now, before).tokens_per_minute == 360.0


def test_the_old_tokens_of_a_conversation_that_was_just_opened_are_no_rate() -> None:
    before = snapshot(ROOT, node("root/a", tokens=0), at=0.0)
    now = snapshot(ROOT, node("root/a", tokens=10), node("root/new", tokens=99_999), at=60.0)

    rows = make_rows(now, before, ())

    assert [row.tokens_per_minute for row in rows] == [10.0, 10.0, None]


@pytest.mark.parametrize("before", [None, snapshot(*TREE, at=5.0), snapshot(*TREE, at=6.0)])
def test_without_an_earlier_snapshot_no_rate_is_known(before: Snapshot | None) -> None:
    rows = make_rows(snapshot(*TREE, at=5.0), before, ())

    assert {row.tokens_per_minute for row in rows} <= {None, 0.0}


def test_the_summary_counts_agents_only() -> None:
    summary = summarize(snapshot(*TREE), None)

    assert (summary.agents, summary.busy, summary.restarting, summary.queue) == (3, 1, 1, 3)
    assert summarize(snapshot(ended=True), None).agents == 0


def test_the_selection_stays_with_its_node_or_its_place() -> None:
    rows = make_rows(snapshot(*TREE), None, ())

    assert select(rows, "root/team/east", 0) == 3
    assert select(rows, "root/gone", 2) == 2
    assert select(rows, "root/gone", 99) == 5
    assert select(rows, None, 0) == 0
    assert select([], "root", 3) == 0


def test_a_row_says_that_its_thread_does_not_respond_after_two_seconds() -> None:
    [_, short, long] = make_rows(
        snapshot(ROOT, node("root/a", silent=1.9), node("root/b", silent=2.0)), None, ()
    )

    assert (short.is_silent, long.is_silent) == (False, True)


@st.composite
def trees(draw: st.DrawFn) -> tuple[Node, ...]:
    """Draw the nodes of a tree, in the order of a snapshot."""
    made: list[Node] = []

    def add(path: str, depth: int) -> None:
        facts: dict[str, Any] = {
            "queue": draw(st.integers(0, 5)),
            "restarts": draw(st.integers(0, 5)),
            "tokens": draw(st.integers(0, 10**9)),
        }
        made.append(node(path, "supervisor" if depth else "agent", **facts))
        for number in range(draw(st.integers(0, 3)) if depth else 0):
            add(f"{path}/{number}", depth - 1)

    add("root", 3)
    return tuple(made)


@given(trees(), trees(), st.floats(0.1, 100), st.data())
def test_rows_are_a_part_of_the_tree_in_its_order(
    now: tuple[Node, ...], before: tuple[Node, ...], seconds: float, data: st.DataObject
) -> None:
    collapsed = data.draw(st.sets(st.sampled_from([one.id for one in now])))
    earlier = snapshot(*before, at=0.0)

    rows = make_rows(snapshot(*now, at=seconds), earlier, collapsed)

    ids = [row.node.id for row in rows]
    hidden = [one for one in now if one.id not in ids]
    assert ids == [one.id for one in now if one.id in ids]
    for row in rows:
        assert row.depth == row.node.id.count("/")
        assert row.tokens_per_minute is None or row.tokens_per_minute >= 0
    for one in hidden:
        assert any(one.id.startswith(f"{folded}/") for folded in collapsed)
    for shown in ids:
        assert not any(shown.startswith(f"{folded}/") for folded in collapsed)


@given(trees())
def test_the_first_row_has_the_sums_of_all_nodes(nodes: tuple[Node, ...]) -> None:
    first = make_rows(snapshot(*nodes), None, {"root"})[0]

    assert first.queue == sum(one.queue for one in nodes)
    assert first.restarts == sum(one.restarts for one in nodes)


@given(trees())
def test_a_snapshot_is_the_same_after_json(nodes: tuple[Node, ...]) -> None:
    made = snapshot(*nodes, at=1.5, events=(event(1), event(2)), last_event=2)

    assert Snapshot.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"at": 0, "nodes": [{}], "events": [], "last_event": 0, "ended": False},
        {"at": "x", "nodes": [], "events": [], "last_event": 0, "ended": False},
        {"at": 0, "nodes": 3, "events": [], "last_event": 0, "ended": False},
        {
            "at": 0,
            "nodes": [{"id": 1, "parent": "", "kind": "agent", "name": "a", "state": "up"}],
            "events": [],
            "last_event": 0,
            "ended": False,
        },
    ],
)
def test_other_json_is_no_snapshot(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Snapshot.from_json(value)


def test_rates_are_over_the_last_fifteen_seconds() -> None:
    history = History()

    before = [history.add(snapshot(at=float(at))) for at in range(0, 60, 5)]

    assert [None if one is None else one.at for one in before[:6]] == [None, 0, 0, 0, 5, 10]
    assert before[-1] is not None
    assert before[-1].at == 40.0


def test_the_history_keeps_one_snapshot_of_a_second() -> None:
    history = History()

    for tick in range(10_000):
        history.add(snapshot(at=tick / 10))

    assert len(history._kept) <= 17


def test_the_history_of_a_program_that_was_started_again_is_dropped() -> None:
    history = History()
    history.add(snapshot(at=1000.0))

    assert history.add(snapshot(at=1.0)) is None
