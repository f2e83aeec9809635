"""Room for many agents' descriptors, in processes with a limit of their own."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agy_actors._supervision._open_files import hint

if TYPE_CHECKING:
    from agy_actors.testing import ScriptedModel

PROGRAM = """
import resource, sys
soft, hard, agents = map(int, sys.argv[2:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from google.antigravity import LocalOpenAIAgentConfig
from agy_actors import AgentStartError, Chat, CreateAgent, Supervisor
config = LocalOpenAIAgentConfig(base_url=sys.argv[1], model="m").lightweight()
with Supervisor.start() as supervisor:
    creations = [supervisor.ask(CreateAgent(config), block=False) for _ in range(agents)]
    created, errors = [], []
    for creation in creations:
        try:
            created.append(creation.get(timeout=50))
        except AgentStartError as error:
            errors.append(str(error))
    answers = {agent.ask(Chat("hi"), timeout=50).text for agent in created[:1]}
print(len(created), answers, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
print(*errors, sep="\\n")
"""


def run(model: ScriptedModel, soft: int, hard: int, agents: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, model.base_url, str(soft), str(hard), str(agents)],
        capture_output=True,
        text=True,
        timeout=55,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_limit_is_raised_when_agents_are_many(model: ScriptedModel) -> None:
    first, *errors = run(model, 64, 4096, 20)

    assert first == "20 {'echo: hi'} 4096"
    assert errors == [""]


def test_where_it_cannot_be_raised_the_error_names_it(model: ScriptedModel) -> None:
    first, *errors = run(model, 160, 160, 40)

    assert first.endswith("{'echo: hi'} 160")
    assert int(first.split()[0]) < 40
    assert all("RLIMIT_NOFILE" in error for error in errors), errors


@pytest.mark.parametrize(
    ("error", "hinted"),
    [
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError(errno.ENOENT, "No such file"), False),
        (RuntimeError("no"), False),
        (None, False),
    ],
)
def test_only_a_lack_of_descriptors_is_explained(error: Exception | None, hinted: bool) -> None:
    assert ("RLIMIT_NOFILE" in hint(error)) is hinted


def test_a_lack_of_descriptors_is_found_behind_another_error() -> None:
    error = RuntimeError("no connection")
    error.__cause__ = OSError(errno.EMFILE, "Too many open files")

    assert "RLIMIT_NOFILE" in hint(error)
