"""The benchmarks in their smallest size; their results mean nothing here."""

from __future__ import annotations

import functools
import gc
import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchmarks import __main__ as suite
from benchmarks import kernel, scale
from benchmarks._agent_groups import RAW, REFERENCE
from benchmarks._files import write_files
from benchmarks._rescued import RESCUED
from benchmarks._results import OURS, Ratio, Results, Row, Unit
from benchmarks._rounds import alternate, in_turn
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The raw SDK leaves the pipes of its processes to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PEERS = {
    "turn": {OURS, RAW, REFERENCE},
    "together": {OURS, RAW, REFERENCE},
    "scale": {OURS, RAW, REFERENCE},
    "crash": {OURS, RESCUED},
    "during": {OURS, REFERENCE},
    "neighbours": {OURS, REFERENCE},
}


@pytest.fixture(autouse=True)
def no_pipes_left() -> Iterator[None]:
    """Collect the pipes here, where their warnings are ignored, and not in a later test."""
    yield
    gc.collect()


@pytest.fixture
def results() -> Results:
    return Results()


@pytest.mark.parametrize(
    "area",
    [pytest.param(area, marks=() if area == "turn" else pytest.mark.slow) for area in PEERS],
)
def test_an_area_has_a_row_of_every_peer_for_each_measure(area: str, results: Results) -> None:
    suite.AREAS[area].run(Size.TINY, results)

    (name,) = results.areas()
    for group in results.groups(name):
        assert {row.peer for row in group} == PEERS[area]
        assert all(value > 0 for row in group for value in row.values if row.unit is Unit.SECONDS)


@pytest.mark.slow
def test_actors_are_measured_against_pykkas_and_against_bare_threads(results: Results) -> None:
    kernel.run(Size.TINY, results)

    for group in results.groups(kernel.AREA):
        assert {OURS, "pykka", "queue.Queue"} <= {row.peer for row in group}
    assert "bare hand-off" in {row.peer for row in results.rows}
    assert results.notes == []


def test_another_peer_is_first_in_each_round() -> None:
    calls: list[str] = []

    def measure(peer: str) -> dict[str, float]:
        calls.append(peer)
        return {"what": float(len(calls))}

    values = alternate({peer: functools.partial(measure, peer) for peer in "ab"}, 2)

    assert calls == ["a", "b", "b", "a"]
    assert values == {("what", "a"): [1.0, 4.0], ("what", "b"): [2.0, 3.0]}
    assert list(in_turn("abc", 2)) == [["a", "b", "c"], ["b", "c", "a"]]


def test_a_ratio_is_that_of_the_medians_with_the_spread_of_the_rounds() -> None:
    ours = Row("area", "what", OURS, (1.0, 2.0, 3.0))
    theirs = Row("area", "what", "peer", (2.0, 2.0, 2.0))

    assert ours.ratio_to(theirs) == Ratio(1.0, 0.5, 1.5)


@pytest.fixture
def some_results(results: Results) -> Results:
    for count in (1, 16):
        for what, unit in (
            (scale.READY, Unit.SECONDS),
            (scale.MEMORY, Unit.BYTES),
            (scale.OWN_DESCRIPTORS, Unit.DESCRIPTORS),
        ):
            key = f"{count} agents: {what}"
            results.add(scale.AREA, {(key, OURS): [1.0], (key, RAW): [2.0]}, unit)
    return results


def test_results_are_written_as_data_and_as_tables(some_results: Results, tmp_path: Path) -> None:
    write_files(some_results, tmp_path, Size.TINY)

    assert len(json.loads((tmp_path / "results.json").read_text())["rows"]) == 12
    written = (tmp_path / "table.csv").read_text()
    assert f"{scale.AREA},1 agents: ready,raw SDK,second,2,2,2,0.5" in written
    assert ".. list-table:: Many agents" in (tmp_path / "table.rst").read_text()
    assert ":Python: " in (tmp_path / "machine.rst").read_text()


def test_plots_show_time_memory_and_descriptors(some_results: Results, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    write_files(some_results, tmp_path, Size.TINY)

    assert {path.stem for path in tmp_path.glob("*.svg")} == {"start", "memory", "descriptors"}


def test_results_note_a_quick_run_and_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(suite, "AREAS", {"nothing": SimpleNamespace(run=lambda *_: None)})
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))

    CliRunner().invoke(suite.app, ["--quick", "--out", str(tmp_path)], catch_exceptions=False)

    written = json.loads((tmp_path / "results.json").read_text())
    assert written["machine"]["Run"] == "quick"
    assert "load 99.0" in written["notes"][0]


def test_an_unknown_area_is_refused_with_the_known_ones() -> None:
    outcome = CliRunner().invoke(suite.app, ["--only", "nothing"])

    assert outcome.exit_code == 2
    assert "kernel" in outcome.output


def test_an_area_that_fails_does_not_lose_the_rows_of_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_: Size, __: Results) -> None:
        raise RuntimeError("too slow")

    def measure(_: Size, results: Results) -> None:
        results.add("Area", {("what", OURS): [1.0]})

    areas = {"bad": SimpleNamespace(run=fail), "good": SimpleNamespace(run=measure)}
    monkeypatch.setattr(suite, "AREAS", areas)

    outcome = CliRunner().invoke(suite.app, ["--out", str(tmp_path)])

    assert outcome.exit_code == 1
    written = json.loads((tmp_path / "results.json").read_text())
    assert [row["what"] for row in written["rows"]] == ["what"]
    assert "failed: bad, with RuntimeError: too slow" in written["notes"]
