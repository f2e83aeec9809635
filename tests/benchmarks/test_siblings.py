"""The benchmark of siblings, in its smallest size."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from benchmarks import siblings


def test_the_cost_of_a_child_is_compared() -> None:
    outcome = CliRunner().invoke(siblings.app, ["--few", "2", "--many", "4", "--max-ratio", "1000"])

    assert outcome.exit_code == 0, outcome.output
    for what in ("created", "restarted", "stopped"):
        assert re.search(rf"{what}, each of 2: \d", outcome.output)
        assert re.search(rf"{what}, ratio of 4 to 2: \d.*processor time \d", outcome.output)


@pytest.mark.slow
def test_a_ratio_that_is_too_high_is_a_failure() -> None:
    outcome = CliRunner().invoke(siblings.app, ["--few", "2", "--many", "4", "--max-ratio", "0"])

    assert outcome.exit_code == 1, outcome.output
    assert "FAILED: stopped costs" in outcome.output
