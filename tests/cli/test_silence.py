"""No command is silent for long, whatever the model does."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from agy_actors.testing import ScriptedModel, http_error, silence
from tests.cli.command_line import CTRL_C, CTRL_D, PATIENCE, Terminal, at, run, start
from tests.cli.silent_servers import MOST, accepting_server, numbers_of_seconds, unused_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMANDS = ["chat", "map -", "demo"]
WAITING = ["chat", *(pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS[1:])]
REMINDERS = 2


@pytest.fixture
def silent_model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        model.when(re.compile(""), silence())
        yield model


def lines_until_reminded(process: subprocess.Popen[str]) -> str:
    """Read a command's output until it has printed enough waits."""
    assert process.stdout is not None
    output = ""
    while len(numbers_of_seconds(output)) < REMINDERS:
        line = process.stdout.readline()
        assert line, output
        output += line
    return output


@contextlib.contextmanager
def waiting(command: str, *options: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command with one prompt and both output streams in one pipe, and end it."""
    with start(
        *command.split(), *options, stderr=subprocess.STDOUT, env={**os.environ, **variables}
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write("hello\n")
            process.stdin.close()
            process.stdin = None
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def is_seldom_silent(output: str) -> bool:
    seconds = numbers_of_seconds(output)
    return seconds[0] <= MOST and all(b - a <= MOST for a, b in pairwise(seconds))


@pytest.mark.parametrize("command", WAITING)
def test_the_wait_for_a_silent_model_is_printed_repeatedly(
    silent_model: ScriptedModel, command: str
) -> None:
    with waiting(command, *at(silent_model)) as process:
        output = lines_until_reminded(process)

    assert "waiting for the model" in output
    assert is_seldom_silent(output)


@pytest.mark.parametrize("command", WAITING)
def test_the_wait_for_an_unreachable_model_is_printed_with_its_retries(command: str) -> None:
    with unused_port() as proxy:
        # The harness reaches the service through a proxy that does not exist.
        nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY"), proxy)
        with waiting(
            command, "--model=gemini-nowhere", **nowhere, GEMINI_API_KEY="no-key", NO_PROXY=""
        ) as process:
            output = lines_until_reminded(process)

    assert is_seldom_silent(output)
    assert re.search(
        r"^request 1 failed: .*connection refused; trying again in 4 s$", output, re.MULTILINE
    )
    assert re.search(r"waiting for the model .*request \d failed: .*trying again", output)
    assert "no-key" not in output


@pytest.mark.parametrize("command", WAITING)
def test_a_server_that_accepts_and_never_answers_is_an_error(command: str) -> None:
    with accepting_server() as url:
        done = run(*command.split(), f"--base-url={url}", "--model=m", stdin="hello\n")

    output = done.stdout + done.stderr
    assert is_seldom_silent(output)
    assert "waiting for the model to be ready for " in output
    assert "cannot be reached" in output
    assert done.returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_port_without_a_listener_is_an_error_at_once(command: str) -> None:
    with unused_port() as url:
        done = run(*command.split(), f"--base-url={url}", "--model=m", stdin="hello\n")

    assert "cannot be reached ([Errno" in done.stderr
    assert "for " not in done.stdout
    assert done.returncode == 2


@pytest.mark.parametrize("command", WAITING)
def test_the_errors_of_an_overloaded_server_are_printed(model: ScriptedModel, command: str) -> None:
    model.when(re.compile(""), http_error(503, "BUSY"))

    done = run(*command.split(), *at(model), stdin="hello\n")

    output = done.stdout + done.stderr
    assert "BUSY" in output
    for line in output.splitlines():
        assert line.count("BUSY") <= 1
        assert "…" not in line or "BUSY" not in line
    assert done.returncode == 1


class TestAtATerminal:
    def test_a_wait_is_shown_from_its_start_and_removed(self, silent_model: ScriptedModel) -> None:
        silent_model.then(silence("Once upon "))
        with Terminal("chat", *at(silent_model)) as terminal:
            terminal.shows("you> ")
            terminal.types("hello\n")
            terminal.shows("waiting for the model for 0 s")
            terminal.shows("Once upon ")
            terminal.shows("waiting for the model for 3 s")
            terminal.shows("waiting for the model for 4 s")

            terminal.types(CTRL_C)

            terminal.shows("(cancelled)")
            terminal.shows("you> ")
            terminal.types(CTRL_D)
            assert terminal.ends() == 0

    def test_the_progress_bar_shows_the_wait(
        self, silent_model: ScriptedModel, tmp_path: Path
    ) -> None:
        (tmp_path / "prompts").write_text("a\nb\n")
        files = [str(tmp_path / "prompts"), f"--out={tmp_path / 'out'}"]
        with Terminal("map", *files, *at(silent_model)) as terminal:
            terminal.shows("answered")
            terminal.shows("waiting for the model with 2 prompts, the longest for 2 s")
            terminal.shows("waiting for the model with 2 prompts, the longest for 3 s")
            terminal.types(CTRL_C)
            assert terminal.ends() == 130

    @pytest.mark.parametrize("columns", ["120", "40"])
    def test_the_table_shows_the_wait(self, silent_model: ScriptedModel, columns: str) -> None:
        with Terminal("demo", *at(silent_model), variables={"COLUMNS": columns}) as terminal:
            terminal.shows("waiting for the model with 4 prompts,")
            terminal.shows("the longest for 2 s")
            terminal.shows("the longest for 3 s")
            terminal.types(CTRL_C)
            assert terminal.ends() == 130

    def test_a_terminal_without_cursor_control_gets_lines(
        self, silent_model: ScriptedModel
    ) -> None:
        silent_model.then(silence("Once upon "))
        with Terminal("chat", *at(silent_model), variables={"TERM": "dumb"}) as terminal:
            terminal.shows("you> ")
            terminal.types("hello\n")
            terminal.shows("Once upon \r\nwaiting for the model for 3 s\r\n")
            terminal.shows("waiting for the model for ")
            terminal.types(CTRL_C)
            terminal.shows("(cancelled)")
