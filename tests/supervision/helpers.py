"""What the tests of supervision do to agents."""

from __future__ import annotations

import os
import signal
import stat
from typing import TYPE_CHECKING

import psutil

from agy_actors import Backoff, GetStatistics

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from tenacity import RetryCallState

    from agy_actors import AgentRef

HANGS = "exec sleep 600"
FAILS = "echo 'no such luck' >&2; exit 3"


def fake_harness(folder: Path, script: str) -> dict[str, str]:
    """Make a program that stands in for `localharness`, and the `env` that has it used."""
    path = folder / "harness"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"ANTIGRAVITY_HARNESS_PATH": str(path)}


def pid_of(agent: AgentRef) -> int:
    pid = agent.ask(GetStatistics()).harness_pid
    assert pid is not None
    return pid


def kill_process(agent: AgentRef) -> None:
    """Kill an agent's process, and wait until it is gone."""
    process = psutil.Process(pid_of(agent))
    os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs([process], timeout=10)


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def long_backoff(reached: threading.Event) -> Backoff:
    """Make a backoff that is not over within a test, and tells when it begins."""

    def wait(_: RetryCallState) -> float:
        reached.set()
        return 600.0

    return Backoff(wait=wait)
