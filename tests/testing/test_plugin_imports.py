"""The plugin adds one small module to a run of pytest that uses none of its fixtures."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = """
import json, sys, pytest
code = pytest.main([*sys.argv[1:], "-q", "-p", "no:cacheprovider", "-p", "no:xdist"])
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a program in which agy_actors is installed as `setup.cfg` says."""
    # The metadata that this Python has may be older than setup.cfg: those come after these.
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    version = setup["metadata"]["version"]
    metadata = tmp_path / "installed" / f"agy_actors-{version}.dist-info"
    metadata.mkdir(parents=True)
    metadata.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: agy-actors\nVersion: {version}\n"
    )
    metadata.joinpath("entry_points.txt").write_text(
        f"[pytest11]{setup['options.entry_points']['pytest11']}\n"
    )
    path = [str(metadata.parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def modules(environment: dict[str, str], folder: Path, *arguments: str) -> set[str]:
    """Run pytest on a folder, and return the names of the modules that are imported then."""
    result = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_a_run_without_fixtures_imports_only_the_plugins_own_module(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()

    with_plugin = modules(environment, folder)
    without_plugin = modules(environment, folder, "-p", "no:agy_actors")

    assert with_plugin - without_plugin == {"pytest_agy_actors"}


def test_tests_that_use_other_fixtures_import_neither_the_package_nor_the_sdk(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    folder.joinpath("test_it.py").write_text("def test_it(tmp_path): assert tmp_path.is_dir()\n")

    imported = modules(environment, folder)

    assert "pytest_agy_actors" in imported
    for package in ("agy_actors", "google.antigravity", "pykka", "psutil", "pydantic"):
        assert package not in imported
