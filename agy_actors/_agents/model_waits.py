"""`ModelWatch`: reports failed requests and silence while a turn waits for the model.

The harness repeats failed requests by itself. It reports some failures: on its standard error at
once, and with an ERROR step when its wait is over (see `stderr_hints`). It does not report others
until it gives up, minutes later. So the agent also reports how long the model has sent nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from typing import TYPE_CHECKING

from google.antigravity.types import StepStatus

from agy_actors._agents.events import ModelRetrying, ModelSilent
from agy_actors._sdk.error_words import RETRIED_STEP
from agy_actors._sdk.stderr_hints import SKEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.antigravity.types import Step

    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._agents.turn import Turn
    from agy_actors._sdk.error_text import ModelFailure

__all__ = ["SILENCE", "FailedRequests", "ModelWatch", "read_wait"]

SILENCE = 4.0
"""Seconds between reports of a silent model. Arbitrary: most models begin to answer sooner, and
people should see within five seconds that the program still works."""

_WAIT = re.compile(r"retrying in ((?:\d+(?:\.\d+)?(?:h|ms|m|s|µs|us|ns))+)")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|µs|us|ns)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}


def read_wait(words: str) -> float | None:
    """Return the seconds until the next request, if the harness announces one.

    The harness writes them as a Go duration, such as `1m30s` or `850ms`.
    """
    found = _WAIT.search(words)
    if found is None:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found[1]))


class FailedRequests:
    """Counts the failed requests of one turn, each of which may be reported twice. Pure.

    A line on standard error comes when a request has failed, and an ERROR step when the wait for
    the next one is over. They take different paths, so after a short wait the step may come first.
    Lines that may belong to another turn are not counted.
    """

    def __init__(self) -> None:
        self._lines = 0
        self._steps = 0
        self._step_at = -math.inf

    def note_line(self, now: float) -> int | None:
        """Count a line; return the number of its request, or `None` if it is known already."""
        if self._steps > self._lines and now - self._step_at <= SKEW:
            self._lines = self._steps
            return None
        self._lines = max(self._lines, self._steps) + 1
        return self._lines

    def note_step(self, now: float) -> int | None:
        """Count an ERROR step; return the number of its request, or `None` if it is known."""
        self._steps += 1
        self._step_at = now
        return None if self._steps <= self._lines else self._steps


class ModelWatch:
    """Reports failed requests and silence during an agent's turns. For the agent's loop.

    A running turn has one timer. A step of the turn costs only the reading of the time.

    Args:
        agent: the incarnation's state.
    """

    def __init__(self, agent: AgentIncarnation) -> None:
        self._agent = agent
        self._turn: Turn | None = None
        self._failed = FailedRequests()
        self._excused: Callable[[], bool] = bool
        self._heard_at = 0.0
        self._told_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def watch(self, turn: Turn, excused: Callable[[], bool]) -> Iterator[None]:
        """Watch a turn for the block.

        Args:
            turn: the turn.
            excused: returns whether the turn waits for a tool or a person instead.
        """
        loop = asyncio.get_running_loop()
        self._turn, self._failed, self._excused = turn, FailedRequests(), excused
        self._heard_at = self._told_at = loop.time()
        self._timer = loop.call_later(SILENCE, self._look)
        try:
            yield
        finally:
            self._turn = None
            self._timer.cancel()

    def note_step(self, step: Step, turn: Turn) -> None:
        """Note a step of the turn, after the turn has observed it."""
        failure = turn.failure
        if failure is None:
            if turn.empty_steps == 0:
                self._heard_at = asyncio.get_running_loop().time()
        elif step.status == StepStatus.ERROR and RETRIED_STEP in (step.error or step.content):
            request = self._failed.note_step(asyncio.get_running_loop().time())
            self._tell_failure(request, failure, None)

    def note_line(self, turn: Turn, text: str, failure: ModelFailure) -> None:
        """Note a line of the harness's standard error that says that a request is repeated."""
        if turn is self._turn:
            request = self._failed.note_line(asyncio.get_running_loop().time())
            self._tell_failure(request, failure, read_wait(text))

    def _tell_failure(self, request: int | None, failure: ModelFailure, wait: float | None) -> None:
        if request is None:
            return
        self._told_at = asyncio.get_running_loop().time()
        what = "failed" if failure.status is None else f"was answered with {failure.status}"
        when = "now" if wait is None else f"in {wait:.1f} seconds"
        turn = self._agent.record.turns
        log = self._agent.log.bind(turn=turn)
        log.warning("Request {} to the model {}; the harness repeats it {}", request, what, when)
        log.debug("It failed with: {}", failure.message)
        self._agent.publish(
            ModelRetrying, turn=turn, attempt=request, reason=failure.message, next_wait=wait
        )

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._excused():
            self._heard_at = now
        due = max(self._heard_at, self._told_at) + SILENCE
        if now >= due:
            self._told_at, due = now, now + SILENCE
            seconds = now - self._heard_at
            turn = self._agent.record.turns
            log = self._agent.log.bind(turn=turn)
            log.info("Nothing has come from the model for {:.0f} seconds", seconds)
            self._agent.publish(ModelSilent, turn=turn, seconds=seconds)
        self._timer = loop.call_at(due, self._look)
