"""Checks that no test leaves anything behind, and defines the common fixtures."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

import pytest

from agy_actors import Supervisor
from agy_actors.testing import ScriptedModel
from agy_actors.testing.leak_check import PATIENCE, LeakCheck
from tests.compilation import compile_all
from tests.hypothesis_profiles import register_profiles
from tests.warm_processes import pytest_runtest_setup, pytest_sessionfinish, warm_processes
from tests.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from agy_actors import SupervisorRef

__all__ = ["pytest_runtest_setup", "pytest_sessionfinish", "warm_processes"]

register_profiles()


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the process: the workers of xdist, and the one that starts them."""
    config.pluginmanager.register(Watchdog(config))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if not hasattr(config, "workerinput"):  # A worker has it.
        compile_all(config)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exempt from garbage collection what exists before the first test: it stays to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves actors, threads, processes or unanswered asks behind."""
    check = LeakCheck()
    with check.watching():
        yield
        complaints = [*check.complaints(), *programs_left()]
    if complaints:
        pytest.fail("the test left behind:\n  " + "\n  ".join(complaints), pytrace=False)


def programs_left() -> list[str]:
    """Describe the programs that still run: children of another process (see `tests.programs`)."""
    programs = sys.modules.get("tests.programs")
    return programs.left_running(PATIENCE) if programs is not None else []


@pytest.fixture(autouse=True)
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each agent of a test marked `own_processes` a process of its own."""
    if request.node.get_closest_marker("own_processes"):
        monkeypatch.setenv("AGY_ACTORS_CONVERSATIONS_PER_PROCESS", "1")


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def supervisor(model: ScriptedModel) -> Iterator[SupervisorRef]:
    with Supervisor.start() as supervisor:
        yield supervisor
