"""The measures: each observed metric with its unit, its description and its values."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from agy_actors._agents.tally import ANSWERED
from agy_actors._supervision.counts import What
from agy_actors.telemetry.conventions import OWNER
from agy_actors.telemetry.metrics.names import KIND, OUTCOME, STATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agy_actors.telemetry.metrics.readings import Readings

__all__ = ["MEASURES", "Form", "Measure", "Value"]

_STATES = ("starting", "idle", "waiting", "busy", "asleep", "restarting", "ending")
"""The states of agents, as in `SupervisorStatistics.agents`. Each has a value, also 0."""

_OK = "ok"
"""The outcome of a turn that was answered."""


class Form(enum.Enum):
    """The form of a metric."""

    COUNTER = enum.auto()
    """It only grows."""

    SUM = enum.auto()
    """It grows and falls; values of several owners can be added."""

    GAUGE = enum.auto()
    """Values of several owners cannot be added."""


class Value(NamedTuple):
    """One value of a metric."""

    number: float
    attributes: Mapping[str, str]


class Measure(NamedTuple):
    """An observed metric."""

    name: str
    form: Form
    unit: str
    description: str
    read: Callable[[Readings], Iterable[Value]]
    """Returns its values."""


def _by_outcome(numbers: Mapping[str, int]) -> Iterable[Value]:
    outcomes = {ANSWERED: 0, **numbers}
    for outcome, number in outcomes.items():
        yield Value(number, {OUTCOME: _OK if outcome == ANSWERED else outcome})


def _asks(readings: Readings) -> Iterable[Value]:
    found = readings.counts.items()
    return _by_outcome({count.detail: n for count, n in found if count.what is What.ASKS})


def _by_kind(what: What) -> Callable[[Readings], Iterable[Value]]:
    def read(readings: Readings) -> Iterable[Value]:
        found = {c.detail: n for c, n in readings.counts.items() if c.what is what}
        return [Value(n, {KIND: kind}) for kind, n in {"agent": 0, **found}.items()]

    return read


def _total(what: What) -> Callable[[Readings], Iterable[Value]]:
    def read(readings: Readings) -> Iterable[Value]:
        numbers = (n for count, n in readings.counts.items() if count.what is what)
        return [Value(sum(numbers), {})]

    return read


def _agents(readings: Readings) -> Iterable[Value]:
    for owner in {owner for owner, _ in readings.agents}:
        for state in _STATES:
            yield Value(readings.agents[owner, state], {OWNER: owner, STATE: state})


def _by_owner(numbers: Mapping[str, float]) -> Iterable[Value]:
    return [Value(number, {OWNER: owner}) for owner, number in numbers.items()]


def _by_owner_and(name: str, numbers: Mapping[tuple[str, str], float]) -> Iterable[Value]:
    return [Value(n, {OWNER: owner, name: value}) for (owner, value), n in numbers.items()]


MEASURES = (
    Measure(
        "agy_actors.asks",
        Form.COUNTER,
        "{ask}",
        "Turns that were asked of agents, pools and sessions, by the outcome for the asker. They"
        " include turns that never started.",
        _asks,
    ),
    Measure(
        "agy_actors.turns",
        Form.COUNTER,
        "{turn}",
        "Turns that agents took up and that have ended, by outcome.",
        lambda readings: _by_outcome(readings.turns),
    ),
    Measure(
        "agy_actors.restarts",
        Form.COUNTER,
        "{restart}",
        "Restarts of agents, actors, pools and supervisors.",
        _by_kind(What.RESTARTS),
    ),
    Measure(
        "agy_actors.give_ups",
        Form.COUNTER,
        "{give_up}",
        "Agents, actors, pools and supervisors that failed too often and are not restarted.",
        _by_kind(What.GIVE_UPS),
    ),
    Measure(
        "agy_actors.hangs",
        Form.COUNTER,
        "{hang}",
        "Event loops that did not respond for the hang_timeout of their supervisor.",
        _by_kind(What.HANGS),
    ),
    Measure(
        "agy_actors.dead_letters",
        Form.COUNTER,
        "{message}",
        "Messages that were told and not handled.",
        _total(What.DEAD_LETTERS),
    ),
    Measure(
        "agy_actors.quota_holds",
        Form.COUNTER,
        "{hold}",
        "Times when the quota of an API key was used up, or its hold was extended.",
        _total(What.QUOTA_HOLDS),
    ),
    Measure(
        "agy_actors.events.dropped",
        Form.COUNTER,
        "{event}",
        "Events that a subscriber missed because it was too slow.",
        _total(What.EVENTS_DROPPED),
    ),
    Measure("agy_actors.agents", Form.SUM, "{agent}", "Agents, by state.", _agents),
    Measure(
        "agy_actors.actors",
        Form.SUM,
        "{actor}",
        "Agents, other actors, pools, sessions and supervisors that exist, by kind.",
        lambda readings: _by_owner_and(KIND, readings.actors),
    ),
    Measure(
        "agy_actors.mailbox.messages",
        Form.SUM,
        "{message}",
        "Messages that wait in mailboxes, and turns that wait for a member or a session.",
        lambda readings: _by_owner(readings.messages),
    ),
    Measure(
        "agy_actors.mailbox.oldest_turn",
        Form.GAUGE,
        "s",
        "The time that the oldest waiting turn has waited.",
        lambda readings: _by_owner(dict.fromkeys(readings.messages, 0.0) | readings.oldest),
    ),
    Measure(
        "agy_actors.event_loop.lag",
        Form.GAUGE,
        "s",
        "The longest time that a callback waited for its call on the event loop of an actor.",
        lambda readings: _by_owner(readings.lags),
    ),
    Measure(
        "agy_actors.budget.used",
        Form.SUM,
        "{token}",
        "Tokens that count in the windows of budgets now.",
        lambda readings: _by_owner(readings.tokens_used),
    ),
    Measure(
        "agy_actors.budget.limit",
        Form.SUM,
        "{token}",
        "Tokens that budgets allow within their windows.",
        lambda readings: _by_owner(readings.tokens_allowed),
    ),
    Measure(
        "agy_actors.harness.processes",
        Form.SUM,
        "{process}",
        "localharness processes that run.",
        lambda readings: [Value(readings.processes, {})],
    ),
    Measure(
        "agy_actors.sessions",
        Form.SUM,
        "{session}",
        "Sessions that exist, awake in this program or asleep.",
        lambda readings: _by_owner_and(STATE, readings.sessions),
    ),
    Measure(
        "agy_actors.requests.queued",
        Form.SUM,
        "{request}",
        "Durable requests that wait to run.",
        lambda readings: _by_owner(readings.requests),
    ),
)
"""All observed metrics."""
