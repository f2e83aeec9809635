"""The benchmark of agents asked at once, in its smallest size."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from benchmarks import overload


@pytest.mark.slow
def test_each_limit_is_measured_and_the_adaptive_one_is_judged_by_the_best() -> None:
    outcome = CliRunner().invoke(
        overload.app, ["--agents", "3", "--limits", "1", "--silence", "1", "--only", "silent"]
    )

    assert "silent: limit adaptive: " in outcome.output, outcome.output
    assert "errors 0" in outcome.output
    assert "of the best fixed one (1)" in outcome.output


def test_a_limit_that_loses_turns_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: int, limit: str, __: float, ___: bool) -> overload.Run:
        return overload.Run(2.0, {"TurnStalled": 1} if limit == "adaptive" else {}, 0.1)

    monkeypatch.setattr(overload, "_run_apart", run)

    outcome = CliRunner().invoke(overload.app, ["--agents", "3", "--limits", "1,2"])

    assert outcome.exit_code == 1
    assert "lost turns: {'TurnStalled': 1}" in outcome.output
