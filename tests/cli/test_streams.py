"""Standard streams that are closed or full, or whose encoding lacks characters."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests import programs
from tests.cli.command_line import COMMAND, PATIENCE
from tests.slow import quick

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {"map": "map - --rehearse", "chat": "chat --rehearse", "demo": "demo --rehearse"}


def command(
    folder: Path,
    arguments: str,
    closed: tuple[int, ...] = (),
    *,
    stdin: bytes = b"a\n",
    stdout: int = subprocess.PIPE,
    variables: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command with some of its standard streams closed."""
    fresh = "PYTHONUTF8" in (variables or {})  # Read by the interpreter itself.
    run: Any = subprocess.run if fresh else partial(programs.run, closed=closed)
    done = run(
        [*COMMAND, *arguments.split()],
        cwd=folder,
        input=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **(variables or {})},
    )
    return checked(done)


def checked(done: subprocess.CompletedProcess[bytes]) -> subprocess.CompletedProcess[str]:
    out, err = ((text or b"").decode(errors="replace") for text in (done.stdout, done.stderr))
    assert "Traceback" not in out + err
    assert "Error: " not in out + err
    assert "Exception ignored" not in err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def test_a_shell_may_close_the_streams(tmp_path: Path) -> None:
    """With a fresh interpreter; the other tests close them in forked programs."""
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m agy_actors.cli map - --rehearse <&- >&-'],
        cwd=tmp_path,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )

    assert "is closed" in checked(done).stderr
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", ["map - --rehearse", "chat --rehearse"])
def test_a_closed_input_is_an_error(tmp_path: Path, arguments: str) -> None:
    done = command(tmp_path, arguments, (0,))

    assert "standard input is closed" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_closed_output_is_an_error(tmp_path: Path, arguments: str) -> None:
    done = command(tmp_path, arguments, (1,))

    assert "standard output is closed" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", quick(COMMANDS.values(), 0), ids=COMMANDS)
def test_with_all_streams_closed_only_the_exit_code_tells(tmp_path: Path, arguments: str) -> None:
    assert command(tmp_path, arguments, (0, 1, 2)).returncode == 2


@pytest.mark.parametrize("options", quick(["", "--log-level=debug"], 1))
@pytest.mark.parametrize("arguments", ["map - --rehearse", "chat --rehearse"])
def test_commands_work_without_standard_error(tmp_path: Path, arguments: str, options: str) -> None:
    done = command(tmp_path, f"{arguments} {options}", (2,))

    assert "No model was asked: a" in done.stdout
    assert done.returncode == 0


def test_results_in_a_file_need_no_other_stream(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("a\n")

    done = command(tmp_path, "map prompts -o out --rehearse", (0, 1, 2))

    assert done.returncode == 0
    (line,) = (tmp_path / "out").read_text().splitlines()  # And nothing else got into it.
    assert "No model was asked: a" in line


@pytest.mark.parametrize(
    "arguments", [*COMMANDS.values(), "--help", "map --help", "map - --rehearse --column=\u00e9"]
)
def test_unencodable_characters_are_not_an_error(tmp_path: Path, arguments: str) -> None:
    done = command(tmp_path, arguments, variables={"PYTHONIOENCODING": "ascii"})

    assert done.returncode == (2 if "column" in arguments else 0)
    assert (done.stdout + done.stderr).isascii()


@pytest.mark.parametrize(
    ("stdin", "variables"),
    [(b"na\xc3\xafve\n", {"PYTHONIOENCODING": "ascii"}), (b"\xff\n", {"PYTHONUTF8": "1"})],
)
def test_undecodable_input_is_an_error(
    tmp_path: Path, stdin: bytes, variables: dict[str, str]
) -> None:
    done = command(tmp_path, "chat --rehearse", stdin=stdin, variables=variables)

    assert done.returncode in {1, 2}
    assert "standard input is not" in done.stderr or "lone surrogate" in done.stderr


@pytest.mark.parametrize("arguments", quick(COMMANDS.values(), 0, 1), ids=COMMANDS)
def test_a_full_output_is_an_error(tmp_path: Path, arguments: str) -> None:
    if not os.path.exists("/dev/full"):  # noqa: PTH110 (a device)
        pytest.skip("this system has no device that is always full")

    with open("/dev/full", "wb") as full:  # noqa: PTH123 (a device)
        done = command(tmp_path, arguments, stdout=full.fileno())

    assert "No space left on device" in done.stderr
    assert done.returncode == 1
