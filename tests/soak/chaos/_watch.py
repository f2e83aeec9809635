"""Records the processes of agents and their recoveries, from the supervisors' events."""

from __future__ import annotations

import threading
import time
from collections import Counter

from agy_actors import (
    AgentCrashed,
    AgentEvent,
    AgentGivenUp,
    AgentHung,
    AgentReady,
    AgentStarted,
    AgentStopped,
    Event,
    HarnessDied,
    HarnessStarted,
    TurnEnded,
)

__all__ = ["Watch"]

_Key = tuple[str, str]
"""An agent's supervisor and its own name."""


class Watch:
    """Subscribes to the root, and keeps the data for the report."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pids: dict[_Key, int] = {}
        self._kills: dict[_Key, float] = {}
        self._crashes: dict[_Key, float] = {}
        self._hangs: dict[_Key, float] = {}
        self.counts: Counter[str] = Counter()
        self.turns: Counter[str] = Counter()
        """How many turns have ended, by outcome: `ok`, or the name of an error's type."""
        self.restarts = 0
        """How many incarnations of agents were started after the first."""
        self.after_kill: list[float] = []
        """Seconds from a SIGKILL until the agent was ready again."""
        self.after_crash: list[float] = []
        self.after_hang: list[float] = []
        """Seconds from the detection of an agent's hang until the agent was ready again."""
        self.hung: list[tuple[float, float]] = []
        """The start and the end of each period in which an agent hung, on the monotonic clock."""

    def harnesses(self) -> list[tuple[_Key, int]]:
        """Return the processes that agents have now."""
        with self._lock:
            return sorted(self._pids.items())

    def killed(self, agent: _Key) -> None:
        """Note that an agent's process was killed."""
        with self._lock:
            self._kills[agent] = time.time()

    def note(self, event: Event) -> None:
        """Process an event. For the subscription."""
        with self._lock:
            self.counts[type(event).__name__] += 1
            if isinstance(event, AgentEvent):
                self._note(event, (event.supervisor, event.agent))

    def _note(self, event: AgentEvent, agent: _Key) -> None:
        match event:
            case TurnEnded():
                self.turns[event.error or "ok"] += 1
            case AgentStarted():
                self.restarts += event.restarts > 0
            case HarnessStarted() if event.pid is not None:
                self._pids[agent] = event.pid
            case HarnessDied():
                self._pids.pop(agent, None)
            case AgentCrashed():
                self._crashes[agent] = event.at
            case AgentHung():
                self._hangs[agent] = event.at
                now = time.monotonic()
                self.hung.append((now - event.seconds, now))
            case AgentReady():
                self._recovered(event.at, agent)
            case AgentStopped() | AgentGivenUp():
                for memory in (self._pids, self._kills, self._crashes, self._hangs):
                    memory.pop(agent, None)

    def _recovered(self, at: float, agent: _Key) -> None:
        for since, times in (
            (self._kills, self.after_kill),
            (self._crashes, self.after_crash),
            (self._hangs, self.after_hang),
        ):
            begun = since.pop(agent, None)
            if begun is not None:
                times.append(at - begun)
