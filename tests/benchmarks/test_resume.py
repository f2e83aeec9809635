"""The benchmark of resuming a run, in its smallest size."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from benchmarks import resume


@pytest.mark.parametrize("options", [[], pytest.param(["--old"], marks=pytest.mark.slow)])
def test_everything_is_found_answered(options: list[str]) -> None:
    outcome = CliRunner().invoke(resume.app, ["--records", "300", *options])

    assert outcome.exit_code == 0, outcome.output
    assert re.search(r"300 records, a file of \d+ MB: [\d.]+ s", outcome.output)
