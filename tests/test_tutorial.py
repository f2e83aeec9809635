"""Plays the tutorial: writes its files, runs its commands and compares what they print."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import google.antigravity
import pytest

from tests.documents import DOCS, Block, code_blocks, commands
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

TUTORIAL = DOCS / "tutorial.rst"
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks() -> list[Block]:
    return list(code_blocks(TUTORIAL))


def play(block: Block, folder: Path) -> list[str]:
    """Write a block's file, or run its commands; return the commands."""
    if "caption" in block.options:
        (folder / block.options["caption"]).write_text(f"{block.code}\n")
    played = []
    for command, expected in commands(block) if block.language == "console" else ():
        words = command.split()
        if words[0] != "python":
            continue  # The installation, which CI does.
        done = subprocess.run(
            [sys.executable, *words[1:]],
            cwd=folder,
            env={**os.environ, "COLUMNS": "80", "PYTEST_ADDOPTS": "-p no:cacheprovider"},
            capture_output=True,
            text=True,
            timeout=PATIENCE * 4,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert shows(expected, done.stdout), done.stdout
        played.append(command)
    return played


def shows(expected: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(f"{expected}\n", printed, SAME)


@pytest.mark.slow
@pytest.mark.timeout(180)  # Four programs, each of which imports the SDK.
def test_the_tutorial_works_as_written(tmp_path: Path) -> None:
    played = [command for block in blocks() for command in play(block, tmp_path)]

    assert played == [
        "python first.py",
        "python team.py",
        "python crash.py",
        "python -m pytest -q test_weather.py",
    ]


def test_every_file_that_the_tutorial_names_is_written_in_it() -> None:
    files = {block.options["caption"] for block in blocks() if "caption" in block.options}

    assert set(re.findall(r"``(\w+\.py)``", TUTORIAL.read_text())) == files


def test_its_last_blocks_exchange_the_model(
    tmp_path: Path, model: ScriptedModel, supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for block in blocks():
        if block.options.get("caption") in {"weather.py", "script.py"}:
            play(block, tmp_path)
    monkeypatch.setattr(google.antigravity, "LocalAgentConfig", model.gemini_config)
    real = google.antigravity.LocalOpenAIAgentConfig
    last = [b for b in blocks() if b.language == "python" and "caption" not in b.options]

    assert len(last) == 2
    for block, name in zip(last, ("gemini", "openai"), strict=True):
        names: dict[str, Any] = {}
        below = supervisor.create_supervisor(name)
        exec("from weather import Team\nfrom script import teach", names)
        names["teach"](model)
        names["supervisor"] = below
        if name == "openai":
            here = partial(at_loopback, real, model.base_url)
            monkeypatch.setattr(google.antigravity, "LocalOpenAIAgentConfig", here)
        exec(block.code, names)
        assert names["team"].report("Oslo") == "Oslo: snow, -3"
    monkeypatch.delitem(sys.modules, "weather")
    monkeypatch.delitem(sys.modules, "script")


def at_loopback(real: Any, address: str, **options: Any) -> Any:
    """Make a configuration as the tutorial does, but for the model at an address."""
    return real(**{**options, "base_url": address})


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("2 passed in ...s", "2 passed in 1.20s\n", True),
        ("its restarts: 1", "its restarts: 0\n", False),
        ("one", "one\ntwo\n", False),
    ],
)
def test_a_difference_in_the_output_is_found(expected: str, printed: str, same: bool) -> None:
    assert shows(expected, printed) is same
