"""Sessions whose folder cannot be written: errors name the key, the folder and the remedy."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.connections.local import local_connection

from tests import programs
from tests.sessions.session_programs import folder_in, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors.testing import ScriptedModel


def others_reach(path: str) -> bool:
    """Return whether other users can reach a file."""
    return all(folder.stat().st_mode & 0o001 for folder in Path(path).resolve().parents)


pytestmark = pytest.mark.skipif(
    os.getuid() == 0 and not others_reach(str(local_connection._get_default_binary_path(None))),
    reason="the files of the SDK can be read only by a user who can write anywhere",
)

READ_ONLY = """
import json, os, sys
from pathlib import Path
from agy_actors import AgyActorsError, Supervisor
from agy_actors.testing.scripted_model.configs import openai_config

state_dir, part, base_url = sys.argv[1:]
if os.getuid() == 0:  # The system lets this user write anywhere.
    for folder, _, files in [*os.walk(state_dir)]:
        for name in ("", *files):
            os.chown(os.path.join(folder, name), 65534, 65534)
    os.environ["HOME"] = state_dir
    os.setgid(65534)
    os.setuid(65534)
outcomes = []

def attempt(use):
    try:
        outcomes.append(["ok", use()])
    except Exception as error:
        outcomes.append([type(error).__name__, str(error), isinstance(error, AgyActorsError)])

config = openai_config(base_url, {})
with Supervisor.start(state_dir=state_dir) as supervisor:
    if part == "start":
        Path(state_dir, "sessions", "users").chmod(0o500)
        attempt(lambda: str(supervisor.create_sessions(config, name="users")))
        Path(state_dir, "sessions", "users").chmod(0o700)
    users = supervisor.create_sessions(config, name="users")
    if part == "run":
        users["ada"].ask("awake", timeout=20)
        Path(state_dir, "sessions", "users").chmod(0o500)
        attempt(lambda: users["ada"].ask("still awake", timeout=20).text)
        attempt(lambda: users["bob"].ask("asleep", timeout=20).text)
        attempt(lambda: users.submit("ada", "hi").id)
        attempt(lambda: users["new"].ask("new", timeout=20).text)
        Path(state_dir, "sessions", "users").chmod(0o700)
    attempt(lambda: users["bob"].ask("now", timeout=20).text)
    attempt(lambda: users["new"].ask("now", timeout=20).text)
print(json.dumps(outcomes))
"""


def read_only(folder: Path, model: ScriptedModel, part: str) -> list[list[Any]]:
    done = programs.run(
        [sys.executable, "-c", READ_ONLY, str(folder), part, model.base_url],
        capture_output=True,
        timeout=90,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    outcomes: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A folder that another user may reach."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.slow
def test_a_folder_that_is_read_only_prevents_the_start(
    state_dir: Path, model: ScriptedModel
) -> None:
    with run(state_dir, model) as users:
        users["bob"].ask("bob first")

    outcomes = read_only(state_dir, model, "start")

    kind, text, *_ = outcomes[0]
    assert kind == "AgentStartError"
    assert "users" in text
    assert str(folder_in(state_dir)) in text
    assert "permissions" in text
    assert outcomes[1:] == [["ok", "echo: now"]] * 2


def test_a_folder_that_becomes_read_only_gives_typed_errors_and_recovers(
    state_dir: Path, model: ScriptedModel
) -> None:
    with run(state_dir, model) as users:
        users["bob"].ask("bob first")

    awake, asleep, submitted, new, *later = read_only(state_dir, model, "run")

    assert awake == ["ok", "echo: still awake"]
    for (kind, text, typed), expected, key in (
        (asleep, "AgentStartError", "'bob'"),
        (submitted, "RequestNotSaved", "'ada'"),
        (new, "AgentStartError", "'new'"),
    ):
        assert (kind, typed) == (expected, True), text
        assert key in text
        assert str(folder_in(state_dir)) in text
        assert "permissions" in text
    assert later == [["ok", "echo: now"]] * 2
