"""`EventLog`: the last events of a supervisor, as lines."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from agy_actors._agents import events as agents
from agy_actors._supervision import events as supervision
from agy_actors.telemetry.top.snapshot import LoggedEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agy_actors._supervision.event_hub import Event

__all__ = ["EventLog", "describe"]

_KEPT = 500
"""How many events are kept. Arbitrary: many more than a screen shows."""

_LONGEST = 300
"""The characters of a line that are kept. Arbitrary: wider than most terminals."""


class EventLog:
    """The last events that are worth a line, numbered from 1. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[LoggedEvent] = deque(maxlen=_KEPT)
        self._last = 0
        self._restarting: set[tuple[str, str]] = set()
        """The agents that are being restarted: only their `AgentReady` is worth a line."""

    def add(self, event: Event) -> None:
        """Add an event, unless it is an ordinary one, such as the start of a turn."""
        with self._lock:
            if isinstance(event, supervision.AgentEvent):
                agent = event.supervisor, event.agent
                match event:
                    case supervision.AgentStarted(restarts=restarts) if restarts:
                        self._restarting.add(agent)
                    case supervision.AgentReady() if agent not in self._restarting:
                        return
                    case supervision.AgentReady() | supervision.AgentGivenUp():
                        self._restarting.discard(agent)
            words = describe(event)
            if words is None:
                return
            text, is_bad = words
            who = event.agent if isinstance(event, supervision.AgentEvent) else event.supervisor
            self._last += 1
            self._events.append(
                LoggedEvent(self._last, event.at, who, text[:_LONGEST], is_bad=is_bad)
            )

    def since(self, number: int) -> tuple[tuple[LoggedEvent, ...], int]:
        """Return the events after a number that are kept, and the number of the last event.

        A number above the last one is that of another log: all events are returned.
        """
        with self._lock:
            after = number if number <= self._last else 0
            return tuple(event for event in self._events if event.number > after), self._last


def describe(event: Event) -> tuple[str, bool] | None:
    """Return an event in words, and whether something failed; `None` if it needs no line."""
    for words_of, is_bad in ((_FAILURES, True), (_OTHERS, False)):
        words = words_of.get(type(event))
        text = None if words is None else words(event)
        if text is not None:
            return text, is_bad
    return None


def _retried(event: Any) -> str:
    return (
        f"turn {event.turn}: attempt {event.attempt} failed, retry in {event.delay:.1f} s:"
        f" {event.error}"
    )


def _ended(event: Any) -> str | None:
    return None if event.error is None else f"turn {event.turn} ended: {event.error}"


_FAILURES: Mapping[type, Callable[[Any], str | None]] = {
    supervision.AgentCrashed: lambda event: f"crashed: {event.error}",
    supervision.AgentHung: lambda event: f"hung for {event.seconds:.0f} s at {event.where}",
    supervision.AgentGivenUp: lambda event: f"given up: {event.error}",
    supervision.SupervisorEscalated: lambda event: f"escalated: {event.error}",
    supervision.DeadLetter: lambda event: f"dead letter: {event.message}",
    agents.TriggerFailed: lambda event: f"trigger {event.trigger} failed: {event.error}",
    agents.TurnEnded: _ended,
    agents.TurnRetried: _retried,
    agents.ModelRetrying: lambda event: (
        f"turn {event.turn}: the model's service failed and is asked again: {event.reason}"
    ),
    agents.BudgetUsedUp: lambda event: (
        f"the budget of {event.budget} is used up: no turn starts for {event.retry_after:.0f} s"
    ),
    agents.QuotaHold: lambda event: (
        f"the quota of key {event.key} is used up: no turn starts for {event.seconds:.1f} s"
    ),
}

_OTHERS: Mapping[type, Callable[[Any], str | None]] = {
    supervision.AgentRestarting: lambda event: (
        f"restarts in {event.delay:.1f} s" if event.delay > 0 else "restarts"
    ),
    supervision.AgentReady: lambda _: "was restarted and is ready",
    supervision.AgentStopped: lambda _: "was ended",
    agents.ModelSilent: lambda event: (
        f"turn {event.turn}: the model has sent nothing for {event.seconds:.0f} s"
    ),
}
