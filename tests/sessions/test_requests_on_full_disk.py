"""Durable requests with the real harness on a full disk."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests import programs

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors.testing import ScriptedModel

FULL_DISK = """
import json, resource, signal, sys
from agy_actors import RequestNotSaved, Supervisor
from agy_actors.testing.scripted_model.configs import openai_config

folder, base_url, room = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
accepted, failures = [], []
with Supervisor.start(state_dir=folder) as supervisor:
    users = supervisor.create_sessions(openai_config(base_url, {}), name="users")
    users.submit("ada", "before", id="before").result(timeout=60)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), hard))
    for number in range(8):
        try:
            users.submit("ada", f"{number} " + "x" * 50_000, id=f"{number}")
            accepted.append(f"{number}")
        except RequestNotSaved as error:
            failures.append([error.retryable, error.path, str(error)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for number in range(8):
        users.submit("ada", f"{number} " + "x" * 50_000, id=f"{number}")
    for receipt in users.receipts():
        receipt.result(timeout=60)
    ids = [receipt.id for receipt in users.receipts()]
print(json.dumps([accepted, failures, ids]))
"""


@pytest.mark.slow
def test_on_a_full_disk_no_request_is_accepted_and_none_is_lost(
    tmp_path: Path, model: ScriptedModel
) -> None:
    done = programs.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), model.base_url, "200000"],
        capture_output=True,
        timeout=60,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    accepted, failures, ids = json.loads(done.stdout.splitlines()[-1])
    assert len(accepted) + len(failures) == 8
    assert failures
    for retryable, path, text in failures:
        assert retryable
        assert path.endswith("requests.sqlite3")
        assert "full" in text
    assert sorted(ids) == sorted(["before", *(f"{n}" for n in range(8))])
    assert len(model.requests) == 9
