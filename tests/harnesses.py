"""What tests do to agents' processes."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from google.antigravity.connections.local import local_connection

from agy_actors import GetStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef

PATIENCE = 20.0
"""Seconds that anything may take. Arbitrary; only a test that fails waits for so long."""

SOON = 5.0
"""Seconds within which what is promised at once must happen, on a busy machine too."""

HANGS = "exec sleep 600"
"""A program for `fake_harness` that never says that it is ready."""

FAILS = "echo 'no such luck' >&2; exit 3"
"""A program for `fake_harness` that ends at once."""


def fake_harness(folder: Path, script: str) -> dict[str, str]:
    """Make a program that stands in for `localharness`, and the `env` that has it used."""
    path = folder / "harness"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"ANTIGRAVITY_HARNESS_PATH": str(path)}


def patient_harness(folder: Path) -> tuple[dict[str, str], Callable[[], None]]:
    """Make a `localharness` that starts when it is told to: its `env`, and what tells it."""
    go = folder / "go"
    real = local_connection._get_default_binary_path(None)
    script = f"while [ ! -e {go} ]; do sleep 0.02; done; exec {real}"
    return fake_harness(folder, script), go.touch


def pid_of(agent: AgentRef) -> int:
    pid = agent.ask(GetStatistics(), timeout=PATIENCE).harness_pid
    assert pid is not None
    return pid


def kill_harness(agent: AgentRef) -> int:
    """Kill an agent's process, wait until it is gone, and return what its id was."""
    process = psutil.Process(pid_of(agent))
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: has_ended(process))
    return process.pid


def suspend(pid: int) -> None:
    """Stop a process, and wait until it does: a thread that works stops when it is its turn."""
    os.kill(pid, signal.SIGSTOP)
    threads = [path / "stat" for path in Path(f"/proc/{pid}/task").iterdir()]
    until(lambda: all(") T " in thread.read_text() for thread in threads))


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or waits only for its parent to look."""
    # Not `psutil.wait_procs`: it would take a child's exit code from who started it.
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens beside the test and tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
