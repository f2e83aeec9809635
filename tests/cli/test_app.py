from __future__ import annotations

import importlib.metadata
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from agy_actors.testing import ScriptedModel, http_error
from tests.cli.command_line import COMMAND, PATIENCE, at, run

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t-k3y-of-mine"


def test_a_command_runs_in_a_fresh_interpreter() -> None:
    """The other tests fork their commands (see `tests.programs`)."""
    done = subprocess.run(
        [*COMMAND, "map", "-", "--rehearse"],
        input="a\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )

    assert '"text": "(rehearsal) No model was asked: a"' in done.stdout
    assert done.stderr.startswith("REHEARSAL")


def test_version_prints_the_version() -> None:
    done = run("--version")

    assert done.stdout == f"agy-actors {importlib.metadata.version('agy-actors')}\n"
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["demo", "map", "chat"])
def test_each_command_has_help(command: str) -> None:
    done = run(command, "--help", env={"COLUMNS": "200", "PATH": "/bin"})

    for option in ("--model", "--base-url", "--rehearse", "--log-level"):
        assert option in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["map", "-", "-n", "0"], "greater than or equal to 1"),
        (["map", "-", "-n", "65"], "less than or equal to 64"),
        (["map", "-", "--retries", "-1"], "greater than or equal to 0"),
        (["map", "-", "--max-failures", "-1"], "greater than or equal to 0"),
        (["map", "-", "--timeout", "0"], "above 0, got 0"),
        (["map", "-", "--timeout", "nan"], "above 0, got nan"),
        (["chat", "--timeout", "-1"], "above 0, got -1"),
        (["map", "no/such/file"], "no/such/file cannot be read"),
        (["map", "-", "-o", "no/such/folder/out"], "cannot be written to no/such/folder/out"),
        (["map", "-", "--rehearse", "--model=x"], "--rehearse uses no model"),
        (["demo", "--base-url=nonsense"], "is not the address of a server"),
        (["demo", "--base-url=http://127.0.0.1:1", "--model=x"], "cannot be reached"),
        (["chat", "--rehearse", "--name=rain"], "give --state-dir too"),
        (["chat", "--rehearse", "--name=a/b", "--state-dir=."], "must be 1 to 100 letters"),
        (["demo", "--log-level=loud"], "'loud' is not one of"),
        (["sing"], "No such command"),
    ],
)
def test_invalid_use_prints_one_message_and_exits_with_2(
    arguments: list[str], advice: str, tmp_path: Path
) -> None:
    done = run(*arguments, stdin="a\n", cwd=tmp_path)

    assert done.returncode == 2
    assert advice in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not any(line.startswith("{") for line in done.stdout.splitlines())


def test_log_level_prints_the_log() -> None:
    with ScriptedModel() as model:
        quiet = run("chat", *at(model), stdin="a\n")
        loud = run("chat", *at(model), "--log-level=DEBUG", stdin="a\n")

    assert loud.stdout == quiet.stdout == "echo: a\n"
    assert "| DEBUG" not in quiet.stderr
    assert "| DEBUG" in loud.stderr
    assert "Agent is ready" in loud.stderr


def test_an_api_key_is_never_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEMINI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)

    with ScriptedModel() as model:
        model.when("", http_error(400, f"{SECRET[:4]} is not the key"))
        runs = [
            run("map", "-", *at(model), "--log-level=debug", stdin="a\n"),
            run("chat", f"--base-url=http://me:{SECRET}@127.0.0.1:1/v1?key={SECRET}"),
        ]

    for done in runs:
        assert done.returncode in {1, 2}
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("columns", ["40", "80", "100"])
@pytest.mark.parametrize("command", ["demo", "map", "chat"])
def test_help_texts_are_not_cut(command: str, columns: str) -> None:
    done = run(command, "--help", env={**os.environ, "COLUMNS": columns})

    assert done.returncode == 0
    assert "…" not in done.stdout
    assert "--base-url" in done.stdout
