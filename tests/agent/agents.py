"""What the tests of agents share."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any, Protocol

import psutil
from google.antigravity import ModelAPIRetryConfig, RetryConfig

from agy_actors import GetStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import AgentConfig

    from agy_actors import AgentRef

PATIENCE = 20.0
"""Seconds that anything may take. Arbitrary; only a test that fails waits for so long."""

SOON = 5.0
"""Seconds within which what is promised at once must happen, on a busy machine too."""

RETRY_AT_ONCE = RetryConfig(
    api_retry=ModelAPIRetryConfig(
        max_retries=2, initial_sleep_duration_ms=1, exponential_multiplier=1.0, jitter_range=0.0
    )
)


class Configure(Protocol):
    """Makes a configuration that talks to the scripted model."""

    def __call__(self, **overrides: Any) -> AgentConfig: ...


def pid_of(agent: AgentRef) -> int:
    pid = agent.ask(GetStatistics(), timeout=PATIENCE).harness_pid
    assert pid is not None
    return pid


def kill_harness(agent: AgentRef) -> int:
    """Kill an agent's process, and wait until it is gone."""
    pid = pid_of(agent)
    process = psutil.Process(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    return pid


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens beside the test and tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
