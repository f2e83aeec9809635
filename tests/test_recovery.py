"""The soak runs of `benchmarks.recovery`, a few repetitions of each."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from benchmarks.recovery import app


@pytest.mark.parametrize(
    "arguments",
    [
        ["errors", "--repetitions", "4"],  # One of each status that fails at once, or nearly so.
        ["kills", "--repetitions", "2"],
        ["queries", "--asks", "200"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_ask_gets_its_own_answer_whatever_breaks(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 0, result.output
    assert "\n0 failures" in result.output
