"""Runs pykka's own tests with our actor and future instead of pykka's.

Usage: `python tests/run_pykka_suite.py [pytest's arguments]`

The tests come with the source distribution of the pykka version that is installed.
The exit code is pytest's; `UNAVAILABLE` if the source distribution could not be downloaded.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

__all__ = ["UNAVAILABLE", "main"]

UNAVAILABLE = 75
"""The exit code if there are no tests to run: EX_TEMPFAIL of sysexits.h."""

# Pykka's text and ours. Each must be found; otherwise pykka itself would be tested.
_REPLACEMENTS = {
    "conftest.py": {
        "import ActorRegistry, ThreadingActor, ThreadingFuture": (
            "import ActorRegistry\nfrom agy_actors._actors.actor import AsyncioActor"
            "\nfrom agy_actors._actors.future import ReplyFuture"
        ),
        "actor_class=ThreadingActor": "actor_class=AsyncioActor",
        "future_class=ThreadingFuture": "future_class=ReplyFuture",
    },
    "test_threading_actor.py": {
        "from pykka import ThreadingActor": (
            "from agy_actors._actors.actor import AsyncioActor as ThreadingActor"
        ),
    },
}


class UnavailableError(Exception):
    """Raised when pykka's tests cannot be downloaded or have changed."""


def main(arguments: list[str]) -> int:
    """Run the suite, and return the exit code for the shell."""
    version = importlib.metadata.version("pykka")
    with tempfile.TemporaryDirectory(prefix="pykka-suite-") as name:
        folder = Path(name)
        try:
            tests = _obtain(version, folder)
            _substitute(tests)
        except UnavailableError as error:
            sys.stderr.write(f"pykka {version}: {error}\n")
            return UNAVAILABLE
        (folder / "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
        command += ["-c", str(folder / "pytest.ini"), "--rootdir", str(folder)]
        return subprocess.run(
            [*command, *arguments, str(tests)], cwd=folder, check=False
        ).returncode


def _obtain(version: str, folder: Path) -> Path:
    """Download pykka's source distribution, and return the folder with its tests."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    pip += ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    got = subprocess.run([*pip, f"pykka=={version}"], capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.tar.gz"))
    if got.returncode != 0 or not archives:
        raise UnavailableError(
            f"its source distribution could not be downloaded; pip says:\n{got.stderr.strip()}"
        )
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    found = list(folder.glob("*/tests"))
    if not found:
        raise UnavailableError(f"{archives[0].name} contains no folder of tests")
    return found[0]


def _substitute(tests: Path) -> None:
    for name, replacements in _REPLACEMENTS.items():
        path = tests / name
        text = path.read_text()
        for theirs, ours in replacements.items():
            if theirs not in text:
                raise UnavailableError(f"{name} has no {theirs!r}: its tests have changed")
            text = text.replace(theirs, ours)
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
