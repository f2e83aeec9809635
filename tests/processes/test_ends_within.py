"""The wait for the end of a process: bounded, without polling where the system can wait for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from agy_actors._sdk.process.harness_process import ends_within
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = ["the system waits", "it is polled"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the end is waited for: as the system can, or as on a system that cannot."""
    if request.param == WAYS[1]:

        def refuse(pid: int, flags: int = 0) -> int:
            raise OSError(pid, flags)

        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    return str(request.param)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that ends when its input is closed."""
    program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE) as popen:
        yield popen
        popen.kill()


@pytest.mark.usefixtures("way")
def test_the_wait_ends_with_the_process_and_does_not_reap_it(
    process: subprocess.Popen[bytes],
) -> None:
    assert process.stdin is not None
    threading.Timer(0.05, process.stdin.close).start()

    assert ends_within(process, PATIENCE)

    assert process.returncode is None
    assert os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    assert ends_within(process, 0.0)


@pytest.mark.usefixtures("way")
def test_the_wait_is_over_after_its_time(process: subprocess.Popen[bytes]) -> None:
    assert not ends_within(process, 0.0)
    assert not ends_within(process, 0.01)


@pytest.mark.usefixtures("way")
def test_a_process_that_another_thread_has_reaped_has_ended(
    process: subprocess.Popen[bytes],
) -> None:
    process.kill()
    os.waitpid(process.pid, 0)

    assert ends_within(process, PATIENCE)

    process.wait()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the system cannot wait for a process")
def test_nothing_is_polled_where_the_system_can_wait(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert process.stdin is not None
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    descriptors = psutil.Process().num_fds()
    threading.Timer(0.05, process.stdin.close).start()

    assert ends_within(process, PATIENCE)

    assert not pauses
    assert psutil.Process().num_fds() <= descriptors
