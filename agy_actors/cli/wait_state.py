"""What a command waits for, and for how long; learned from the command and from events."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agy_actors import (
    AgentCrashed,
    AgentEvent,
    AgentGivenUp,
    AgentStopped,
    ModelRetrying,
    QuotaHold,
    TurnEnded,
    TurnRetried,
    TurnStarted,
    TurnWaiting,
)
from agy_actors.cli.console import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import Event

__all__ = ["EVERY", "WaitState"]

EVERY = 3.0
"""Seconds without output after which a command prints what it waits for. Arbitrary: less than
five, with a margin for a busy machine."""


@dataclass(frozen=True)
class _Problem:
    """The last error."""

    text: str

    next_attempt: float | None
    """The time of the next attempt; `None` if it is not known."""

    def describe(self, now: float) -> str:
        if self.next_attempt is None:
            return self.text
        left = self.next_attempt - now
        when = f"in {left:.0f} s" if left >= 0.5 else "now"  # noqa: PLR2004 (rounds to 1 s)
        return f"{self.text}; trying again {when}"


class WaitState:
    """What a command waits for. Thread-safe.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._activity = "the command to start"
        self._since = clock()
        self._turns: dict[str, float] = {}
        self._problem: dict[str | None, _Problem] = {}

    def begin(self, activity: str) -> None:
        """Set what the command waits for while no agent has a turn."""
        with self._lock:
            self._activity = activity
            self._since = self._clock()
            self._problem.clear()

    def record(self, event: Event) -> str | None:
        """Record an event. Returns a line to show at once, or `None`."""
        now = self._clock()
        with self._lock:
            problem = _problem_of(event, now)
            agent = event.agent if isinstance(event, AgentEvent) else None
            if problem is not None:
                # Moves the agent to the end, so that the latest error is the last.
                self._problem.pop(agent, None)
                self._problem[agent] = problem
            match event:
                case TurnStarted() | TurnWaiting():
                    self._turns.setdefault(event.agent, now)
                case TurnEnded() | AgentStopped() | AgentGivenUp():
                    self._turns.pop(event.agent, None)
                    self._problem.pop(event.agent, None)
                    self._since = now
        if problem is None or not isinstance(event, ModelRetrying | QuotaHold):
            return None
        return problem.describe(now)

    def text_arrived(self, agent: str) -> None:
        """Record that an agent's turn has produced text: its wait starts again."""
        with self._lock:
            if agent in self._turns:
                self._turns[agent] = self._clock()
                self._problem.pop(agent, None)

    def describe(self) -> str:
        """Describe what the command waits for, and for how long."""
        now = self._clock()
        with self._lock:
            if not self._turns:
                text = f"waiting for {self._activity}"
                since = self._since
            else:
                since = min(self._turns.values())
                text = "waiting for the model"
                if len(self._turns) > 1:
                    text = f"{text} with {len(self._turns)} prompts, the longest"
            problem = next(reversed(self._problem.values()), None)
        return _sentence(text, now - since, problem, now)


def _sentence(text: str, seconds: float, problem: _Problem | None, now: float) -> str:
    error = "" if problem is None else f"; {problem.describe(now)}"
    return f"{text} for {seconds:.0f} s{error}"


def _problem_of(event: Event, now: float) -> _Problem | None:
    match event:
        case ModelRetrying():
            again = None if event.next_wait is None else now + event.next_wait
            return _Problem(f"request {event.attempt} failed: {one_line(event.reason)}", again)
        case TurnRetried():
            return _Problem(one_line(event.error), now + event.delay)
        case AgentCrashed():
            return _Problem(one_line(event.error), None)
        case QuotaHold():
            return _Problem("the quota of the API key is used up", now + event.seconds)
    return None
