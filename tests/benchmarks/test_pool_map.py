"""The benchmark of new conversations in pools, in its smallest size."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from benchmarks import pool_map


def test_each_request_of_a_pool_has_one_message_of_a_user() -> None:
    app = pool_map.app

    outcome = CliRunner().invoke(app, ["--prompts", "6", "--size", "2", "--thinking", "0"])

    assert outcome.exit_code == 0, outcome.output
    assert "new conversations: " in outcome.output
    assert re.search(r"6 requests, at most 1 messages of users in one", outcome.output)
    assert re.search(r"throughput, new / kept: \d", outcome.output)
