"""Settings by environment variables and `.env` files."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import Chat, InvalidConfig, Supervisor, TurnStalled, WaitForWakeup
from agy_actors._agents import defaults
from agy_actors.testing import ScriptedModel, silence
from tests import programs
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
PER_PROCESS = "AGY_ACTORS_CONVERSATIONS_PER_PROCESS"
SECONDS: dict[str, Callable[[], float]] = {
    "AGY_ACTORS_CHAT_TIMEOUT": defaults.chat_timeout,
    "AGY_ACTORS_STALL_TIMEOUT": defaults.stall_timeout,
    "AGY_ACTORS_HANDLER_TIMEOUT": defaults.handler_timeout,
    "AGY_ACTORS_START_TIMEOUT": defaults.start_timeout,
}


def test_the_references_table_lists_every_variable_with_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = (ROOT / "docs" / "reference" / "settings.rst").read_text()
    table = dict(re.findall(r"^``(AGY_ACTORS_\w+)`` +(\d+|none) ", page, re.MULTILINE))
    sources = "".join(path.read_text() for path in (ROOT / "agy_actors").rglob("*.py"))
    for name in table:
        monkeypatch.delenv(name, raising=False)

    assert set(re.findall(r"AGY_ACTORS_[A-Z_]+", sources)) == set(table)
    assert {name: float(table[name]) for name in SECONDS} == {
        name: seconds() for name, seconds in SECONDS.items()
    }
    assert int(table[PER_PROCESS]) == defaults.conversations_per_process()


def test_a_variable_sets_the_conversations_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PER_PROCESS, "64")

    assert defaults.conversations_per_process() == 64


@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5", "9" * 5000], ids=lambda v: v[:5])
def test_an_invalid_number_is_refused_when_a_supervisor_starts(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(PER_PROCESS, value)

    with pytest.raises(InvalidConfig, match=f"{PER_PROCESS}.*{value[:5]}"):
        Supervisor.start()


@pytest.mark.parametrize("name", SECONDS)
def test_a_variable_sets_a_time(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1.5")

    assert SECONDS[name]() == 1.5


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan"])
def test_an_invalid_time_is_refused_with_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidConfig, match=f"{name}.*{value}"):
        SECONDS[name]()


def test_a_variable_limits_the_wait_for_a_wakeup(
    monkeypatch: pytest.MonkeyPatch, model: ScriptedModel
) -> None:
    monkeypatch.setenv("AGY_ACTORS_HANDLER_TIMEOUT", "0.05")

    with Supervisor.start() as supervisor:
        agent = supervisor.create_agent(model.openai_config())

        assert agent.ask(WaitForWakeup(), timeout=PATIENCE) is False


# .env files.


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder whose parent has a `.env` file."""
    monkeypatch.setenv("AGY_ACTORS_STALL_TIMEOUT", "")  # So that monkeypatch restores it.
    monkeypatch.delenv("AGY_ACTORS_STALL_TIMEOUT")
    (tmp_path / ".env").write_text("AGY_ACTORS_STALL_TIMEOUT=0.3\nAGY_ACTORS_CHAT_TIMEOUT=7\n")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_supervisor_reads_no_file_by_default(folder: Path) -> None:
    del folder
    before = dict(os.environ)

    Supervisor.start().stop()

    assert dict(os.environ) == before
    assert defaults.stall_timeout() == 60


def test_importing_the_package_reads_no_file(folder: Path) -> None:
    program = (
        "import agy_actors, agy_actors.testing, os;"
        " print(os.environ.get('AGY_ACTORS_STALL_TIMEOUT'))"
    )

    done = programs.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )

    assert done.stdout == "None\n"


def test_a_file_sets_variables_that_the_environment_does_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model: ScriptedModel
) -> None:
    del folder
    monkeypatch.setenv("AGY_ACTORS_CHAT_TIMEOUT", "99")
    model.then(silence("half "))

    with Supervisor.start(dotenv=True) as supervisor:
        agent = supervisor.create_agent(model.openai_config())
        with pytest.raises(TurnStalled, match=r"silent for 0\.3 seconds"):
            agent.ask(Chat("hi"), timeout=PATIENCE)

    assert defaults.chat_timeout() == 99


def test_a_variable_disables_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del folder
    monkeypatch.setenv("AGY_ACTORS_DOTENV", "0")

    Supervisor.start(dotenv=True).stop()

    assert defaults.stall_timeout() == 60


def test_an_unreadable_file_is_an_error_without_its_text(folder: Path) -> None:
    (folder.parent / ".env").write_bytes(b"GEMINI_API_KEY=\xff\xfesecret")

    with pytest.raises(InvalidConfig, match=r"\.env cannot be read.*AGY_ACTORS_DOTENV=0") as caught:
        Supervisor.start(dotenv=True)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["prod.env", 1, None])
def test_a_value_that_is_not_a_bool_is_refused(value: Any) -> None:
    with pytest.raises(InvalidConfig, match="dotenv must be True or False"):
        Supervisor.start(dotenv=value)
