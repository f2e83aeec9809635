"""Descriptors for many agents, in processes with a separate limit."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

import pytest

from agy_actors._agents.open_files import hint
from tests import programs

if TYPE_CHECKING:
    from agy_actors.testing import ScriptedModel

PROGRAM = """
import resource, sys
soft, hard, agents, raises = map(int, sys.argv[2:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from google.antigravity import LocalOpenAIAgentConfig
from agy_actors import AgentStartError, Chat, CreateAgent, Supervisor, raise_open_file_limit
if raises:
    assert raise_open_file_limit() == hard
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


def run(
    model: ScriptedModel, soft: int, hard: int, agents: int, *, raises: bool = False
) -> list[str]:
    numbers = map(str, (soft, hard, agents, int(raises)))
    done = programs.run(
        [sys.executable, "-c", PROGRAM, model.base_url, *numbers],
        capture_output=True,
        text=True,
        timeout=55,
        check=True,
    )
    return str(done.stdout).splitlines()


def test_a_program_that_raises_the_limit_has_room_for_many_agents(model: ScriptedModel) -> None:
    first, *errors = run(model, 64, 4096, 20, raises=True)

    assert first == "20 {'echo: hi'} 4096"
    assert errors == [""]


def test_supervisors_do_not_raise_the_limit_and_the_error_says_how(model: ScriptedModel) -> None:
    first, *errors = run(model, 160, 4096, 40)

    assert first.endswith("{'echo: hi'} 160")
    assert int(first.split()[0]) < 40
    assert all("agy_actors.raise_open_file_limit()" in error for error in errors), errors


def test_an_error_at_the_hard_limit_names_the_limit(model: ScriptedModel) -> None:
    first, *errors = run(model, 160, 160, 40)

    assert first.endswith("{'echo: hi'} 160")
    assert int(first.split()[0]) < 40
    assert all("RLIMIT_NOFILE" in error for error in errors), errors
    assert not any("raise_open_file_limit" in error for error in errors)


def test_the_command_line_raises_the_limit() -> None:
    program = (
        "import resource; from typer.testing import CliRunner; from agy_actors.cli.app import app;"
        " resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512));"
        " CliRunner().invoke(app, ['map', 'nothing.txt', '--rehearse']);"
        " print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )

    done = programs.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=55, check=True
    )

    assert done.stdout == "(512, 512)\n"


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
