"""The time that the pytest plugin adds to a run without its fixtures.

    python -m benchmarks.pytest_start [--rounds N]

It runs `pytest` in an empty folder alternately with the plugin and without it (`-p no:agy_actors`),
and prints the medians and their ratio. agy_actors must be installed: pytest finds the plugin by the
metadata of the installation.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from typing import Annotated

import typer

from benchmarks._results import OURS, Results
from benchmarks._rounds import alternate

__all__ = ["AREA", "measure"]

AREA = "Start of pytest"
_WITHOUT = "without the plugin"
_WHAT = "pytest in an empty folder"
_NOTHING_COLLECTED = 5
"""pytest's exit code if there is no test."""


def measure(rounds: int) -> Results:
    """Run pytest alternately with the plugin and without it.

    Raises:
        RuntimeError: the plugin is not installed, or pytest fails.
    """
    if not any(
        entry.name == "agy_actors" for entry in importlib.metadata.entry_points(group="pytest11")
    ):
        raise RuntimeError("agy_actors is not installed here, so pytest does not load its plugin")
    results = Results()
    with tempfile.TemporaryDirectory() as folder:
        _run(folder)  # Compiles modules that were never imported.
        peers = {
            OURS: functools.partial(_run, folder),
            _WITHOUT: functools.partial(_run, folder, "-p", "no:agy_actors"),
        }
        results.add(AREA, alternate(peers, rounds))
    return results


def _run(folder: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    started = time.perf_counter()
    result = subprocess.run(  # noqa: S603 (this Python, without external input)
        command,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if result.returncode != _NOTHING_COLLECTED:
        raise RuntimeError(f"pytest failed: {result.stdout}{result.stderr}")
    return {_WHAT: seconds}


def main(
    rounds: Annotated[int, typer.Option(help="Runs of pytest with and without the plugin.")] = 30,
) -> None:
    """Compare runs of pytest with the plugin and without it."""
    ours, without = measure(rounds).rows
    ratio = ours.ratio_to(without)
    assert ratio is not None, "a run takes time"
    for row in (ours, without):
        print(f"{row.peer:<20}{row.median:8.3f} s")
    print(f"{'ratio':<20}{ratio.of_medians:8.3f}   (of the rounds: {ratio.lowest:.3f}", end="")
    print(f" to {ratio.highest:.3f})")


if __name__ == "__main__":
    typer.run(main)
