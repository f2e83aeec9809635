"""The benchmark of telemetry, in its smallest size."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from benchmarks import telemetry

SMALLEST = ["--asks", "20", "--rounds", "2", "--children", "2"]


def test_the_cost_of_an_ask_is_compared() -> None:
    outcome = CliRunner().invoke(telemetry.app, [*SMALLEST, "--max-ratio", "1000"])

    assert outcome.exit_code == 0, outcome.output
    for what in ("median", "mean"):
        assert re.search(rf"ask, {what}: \d.* without metrics, .*, ratio \d", outcome.output)


@pytest.mark.slow
def test_a_ratio_that_is_too_high_is_a_failure() -> None:
    outcome = CliRunner().invoke(telemetry.app, [*SMALLEST, "--max-ratio", "0"])

    assert outcome.exit_code == 1, outcome.output
    assert "FAILED: an ask costs" in outcome.output
