"""The command `agy-actors top`, as far as it needs no terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from agy_actors.telemetry.top.errors import TopUnusable
from agy_actors.telemetry.top.run import check_terminal
from tests.cli.command_line import PATIENCE, Terminal, run

if TYPE_CHECKING:
    from pathlib import Path

_WITHOUT_TEXTUAL = """
import sys
sys.modules["textual"] = None
from agy_actors.cli import main
main()
"""
_IMPORTS = """
import sys
import agy_actors
import agy_actors.cli.app
import agy_actors.telemetry.top
heavy = {"textual", "uvicorn", "starlette"}
print(sorted(heavy & set(sys.modules)))
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["top"], "give the address of a program"),
        (["top", "http://127.0.0.1:1", "--demo"], "not both"),
        (["top", "--demo"], "is not a terminal; run top in a terminal"),
        (["top", "http://127.0.0.1:1"], "is not a terminal"),
        (["top", "--nonsense"], "No such option"),
    ],
)
def test_invalid_use_prints_one_message_and_exits_with_2(
    arguments: list[str], advice: str, tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert advice in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_without_textual_the_error_names_what_to_install() -> None:
    done = python(_WITHOUT_TEXTUAL, "top", "--demo")

    assert done.returncode == 2
    assert "pip install 'agy-actors[telemetry]'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("columns", ["40", "80", "100"])
def test_the_help_text_is_not_cut(columns: str) -> None:
    done = run("top", "--help", env={**os.environ, "COLUMNS": columns})

    assert done.returncode == 0
    assert "…" not in done.stdout
    assert "--demo" in done.stdout
    assert "AGY_ACTORS_TOP_TOKEN" in done.stdout


def test_an_invalid_url_is_said_in_plain_words_at_a_terminal() -> None:
    with Terminal("top", "ftp://x", variables={"AGY_ACTORS_TOP_TOKEN": "t"}) as terminal:
        terminal.shows("the URL must be the one of a serve_top")
        assert terminal.ends() == 2


def test_importing_it_imports_neither_textual_nor_a_server() -> None:
    done = python(_IMPORTS)

    assert done.stdout == "[]\n", done.stderr


def test_it_cannot_run_on_another_thread() -> None:
    caught: list[TopUnusable] = []

    def check() -> None:
        try:
            check_terminal()
        except TopUnusable as error:
            caught.append(error)

    thread = threading.Thread(target=check)
    thread.start()
    thread.join()

    [error] = caught
    assert "main thread" in str(error)
