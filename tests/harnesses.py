"""Finds, fakes, kills and suspends agents' processes, and waits for conditions."""

from __future__ import annotations

import os
import signal
import stat
import time
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from google.antigravity.connections.local import local_connection

from agy_actors import GetStatistics
from tests import warm_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef

PATIENCE = 20.0
"""Seconds to wait for anything. Arbitrary; only a failing test waits this long."""

SOON = 5.0
"""Seconds for something that must happen at once. Arbitrary; enough for a busy machine."""

HANGS = "exec sleep 600"
"""A program for `fake_harness` that never becomes ready."""

FAILS = "echo 'no such luck' >&2; exit 3"
"""A program for `fake_harness` that ends at once."""


def fake_harness(folder: Path, script: str) -> dict[str, str]:
    """Make a program that replaces `localharness`. Returns the variables that select it."""
    path = folder / "harness"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"ANTIGRAVITY_HARNESS_PATH": str(path)}


def patient_harness(folder: Path) -> tuple[dict[str, str], Callable[[], None]]:
    """Make a `localharness` that waits. Returns its variables, and a function that starts it."""
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
    """Send SIGSTOP, and wait until each thread has stopped: a running thread stops later."""
    os.kill(pid, signal.SIGSTOP)
    threads = [path / "stat" for path in Path(f"/proc/{pid}/task").iterdir()]
    until(lambda: all(") T " in thread.read_text() for thread in threads))


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone or a zombie."""
    # Not `psutil.wait_procs`: it would reap a child whose parent needs the exit code.
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children() -> list[psutil.Process]:
    """Return the processes of a test that is marked `new_processes` or `own_processes`."""
    # multiprocessing keeps a process for its own use, once a test has needed it.
    tracker = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    earlier = {*warm_processes.pids(), tracker}
    return [one for one in psutil.Process().children(recursive=True) if one.pid not in earlier]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that has no event: looks every 10 ms, and fails after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.01)
