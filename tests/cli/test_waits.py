"""The description of a wait, and when it is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agy_actors import (
    AgentCrashed,
    AgentStopped,
    ModelRetrying,
    QuotaHold,
    TurnEnded,
    TurnRetried,
    TurnStarted,
)
from agy_actors.cli.wait_reporter import WaitReporter
from agy_actors.cli.wait_state import WaitState
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    from agy_actors import Event

SHORT = 0.05


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waits(clock: Clock) -> WaitState:
    waits = WaitState(clock)
    waits.begin("the agent to start")
    return waits


def started(agent: str = "poet") -> Event:
    return TurnStarted(supervisor="s", agent=agent, turn=1, attempt=1)


def ended(agent: str = "poet") -> Event:
    return TurnEnded(supervisor="s", agent=agent, turn=1, seconds=1.0, error=None)


def failed(attempt: int = 1, wait: float | None = 4.0, agent: str = "poet") -> ModelRetrying:
    return ModelRetrying(
        supervisor="s", agent=agent, turn=1, attempt=attempt, reason="busy", next_wait=wait
    )


def test_without_a_turn_the_command_waits_for_its_activity(waits: WaitState, clock: Clock) -> None:
    clock.now += 7

    assert waits.describe() == "waiting for the agent to start for 7 s"


def test_with_a_turn_the_command_waits_for_the_model(waits: WaitState, clock: Clock) -> None:
    clock.now += 7
    waits.record(started())
    clock.now += 8

    assert waits.describe() == "waiting for the model for 8 s"


def test_the_longest_of_several_waits_is_described(waits: WaitState, clock: Clock) -> None:
    waits.record(started("a"))
    clock.now += 3
    waits.record(started("b"))
    clock.now += 2

    assert waits.describe() == "waiting for the model with 2 prompts, the longest for 5 s"
    waits.record(ended("a"))
    assert waits.describe() == "waiting for the model for 2 s"


def test_a_retried_turn_waits_since_its_first_attempt(waits: WaitState, clock: Clock) -> None:
    waits.record(started())
    clock.now += 3
    waits.record(started())
    clock.now += 3

    assert waits.describe() == "waiting for the model for 6 s"


@pytest.mark.parametrize("end", [ended(), AgentStopped(supervisor="s", agent="poet")])
def test_a_wait_ends_with_the_turn_or_the_agent(waits: WaitState, clock: Clock, end: Event) -> None:
    waits.record(started())
    waits.record(failed())
    clock.now += 3
    waits.record(end)
    clock.now += 2

    assert waits.describe() == "waiting for the agent to start for 2 s"


def test_a_failed_request_is_returned_at_once_with_the_time_of_the_next(
    waits: WaitState, clock: Clock
) -> None:
    waits.record(started())
    clock.now += 1

    assert waits.record(failed(2, 4.0)) == "request 2 failed: busy; trying again in 4 s"
    clock.now += 3
    assert (
        waits.describe()
        == "waiting for the model for 4 s; request 2 failed: busy; trying again in 1 s"
    )
    clock.now += 3
    assert waits.describe().endswith("request 2 failed: busy; trying again now")


def test_a_failed_request_may_have_no_time_of_the_next(waits: WaitState) -> None:
    assert waits.record(failed(2, None)) == "request 2 failed: busy"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            TurnRetried(
                supervisor="s", agent="poet", turn=1, attempt=1, delay=2.0, error="it\nbroke"
            ),
            "it broke; trying again in 2 s",
        ),
        (AgentCrashed(supervisor="s", agent="poet", error="it died"), "it died"),
        (
            QuotaHold(supervisor="s", key="k", seconds=30.0),
            "the quota of the API key is used up; trying again in 30 s",
        ),
    ],
)
def test_other_errors_are_described_with_the_wait(
    waits: WaitState, event: Event, text: str
) -> None:
    waits.record(started())
    waits.record(event)

    assert waits.describe() == f"waiting for the model for 0 s; {text}"


def test_arriving_text_restarts_the_wait(waits: WaitState, clock: Clock) -> None:
    waits.record(started())
    waits.record(failed())
    clock.now += 9
    waits.text_arrived("poet")
    clock.now += 2

    assert waits.describe() == "waiting for the model for 2 s"


class TestTheReporter:
    def test_it_prints_the_wait_repeatedly(self) -> None:
        lines: list[str] = []
        with WaitReporter(lines.append, every=SHORT) as reporter:
            reporter.begin("rain")
            until(lambda: len(lines) >= 3)

        assert set(lines[1:]) == {"waiting for rain for 0 s"}

    def test_it_prints_nothing_after_other_output(self) -> None:
        lines: list[str] = []
        with WaitReporter(lines.append, every=PATIENCE) as reporter:
            reporter.shown()
            assert reporter.describe_silence() is None

        assert lines == []

    def test_it_prints_nothing_during_a_pause_and_continues_after_it(self) -> None:
        lines: list[str] = []
        with WaitReporter(lines.append, every=SHORT) as reporter:
            with reporter.paused():
                before = len(lines)
                reporter._print("something")
                assert len(lines) == before
            until(lambda: len(lines) > before)

    def test_a_live_display_gets_the_description(self) -> None:
        reporter = WaitReporter(print, every=SHORT)

        until(lambda: reporter.describe_silence() is not None)

        assert reporter.is_due
        with reporter.shown_live(live=True):
            assert not reporter.is_due

    def test_the_same_error_of_several_agents_is_printed_once(self) -> None:
        lines: list[str] = []
        reporter = WaitReporter(lines.append, every=PATIENCE)
        reporter.shown()
        for agent in ("a", "b", "c"):
            reporter._on_event(failed(agent=agent))
        reporter._on_event(failed(2, agent="a"))

        assert lines == [
            "request 1 failed: busy; trying again in 4 s",
            "request 2 failed: busy; trying again in 4 s",
        ]

    def test_a_closed_stream_does_not_end_the_reporter(self) -> None:
        calls = []

        def fail(line: str) -> None:
            calls.append(line)
            raise BrokenPipeError

        with WaitReporter(fail, every=SHORT):
            until(lambda: len(calls) >= 2)
