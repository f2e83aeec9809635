"""The soak runs of `tests.soak.recovery`, a few repetitions of each."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.soak.recovery import app


@pytest.mark.parametrize(
    "arguments",
    [
        # One of each status that fails at once, or nearly so.
        pytest.param(["errors", "--repetitions", "4"], marks=pytest.mark.slow, id="errors"),
        ["kills", "--repetitions", "2"],
        ["queries", "--asks", "200"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_ask_gets_its_own_answer_after_every_failure(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 0, result.output
    assert "\n0 failures" in result.output
