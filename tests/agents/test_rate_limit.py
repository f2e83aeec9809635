"""Agents that share an API key share its pace."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors import (
    Cancel,
    Chat,
    GetStatistics,
    InvalidConfig,
    QuotaExceeded,
    QuotaHold,
    Supervisor,
    TurnCancelled,
)
from agy_actors._agents.rate_limit import Pace
from agy_actors.testing import ScriptedModel, quota_error
from tests.harnesses import PATIENCE, SOON, until

if TYPE_CHECKING:
    from agy_actors import AgentRef, Event, SupervisorRef

TIMES = st.floats(0.0, 1000.0)


# The pace of one key


@given(start=TIMES, now=TIMES, retry_after=st.floats(0.1, 1000.0))
def test_no_turn_starts_before_the_services_retry_time(
    start: float, now: float, retry_after: float
) -> None:
    pace = Pace().started(start).refused(now, retry_after)

    assert pace.next_start(0.0) >= now + retry_after


@given(refusals=st.integers(1, 20))
def test_holds_without_a_time_of_the_service_grow_and_are_bounded(refusals: int) -> None:
    pace, now, holds = Pace(), 0.0, []
    for _ in range(refusals):
        pace = pace.refused(now, None)
        holds.append(pace.held_until - now)
        now = pace.held_until

    for number, hold in enumerate(holds):
        assert min(2.0**number, 60.0) <= hold <= 61.0


def test_refusals_during_a_hold_are_one_refusal() -> None:
    pace = Pace().refused(0.0, 5.0)

    again = pace.refused(1.0, None).refused(2.0, 1.0)

    assert again == pace
    assert pace.refused(2.0, 10.0).held_until == 12.0
    assert pace.refused(2.0, 10.0).refusals == 1


def test_an_answer_during_a_hold_does_not_end_it() -> None:
    pace = Pace().refused(0.0, 5.0)

    assert pace.accepted(4.9) == pace
    assert pace.accepted(5.0).refusals == 0


def test_starts_after_a_hold_are_spaced_until_one_is_accepted() -> None:
    pace = Pace().refused(0.0, 5.0).started(5.0)

    assert pace.next_start(0.0) == 5.5
    assert pace.accepted(5.1).next_start(0.0) <= 5.1


def test_a_free_pace_starts_at_once() -> None:
    assert Pace().next_start(0.0) == -math.inf
    assert Pace().started(7.0).next_start(0.0) == 7.0
    assert Pace().started(7.0).next_start(2.0) == 9.0


# On real agents


def gemini(model: ScriptedModel, supervisor: SupervisorRef, key: str) -> AgentRef:
    return supervisor.create_agent(model.gemini_config(api_key=key))


def test_a_keys_quota_is_used_up(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    events: list[Event] = []
    supervisor.subscribe(events.append)
    first, second = (gemini(model, supervisor, "key-number-one") for _ in range(2))
    other = gemini(model, supervisor, "key-number-two")
    model.when("refused", quota_error(retry_after=1.5), times=1)
    with pytest.raises(QuotaExceeded):
        first.ask(Chat("refused", timeout=0.7), timeout=PATIENCE)
    refused = time.monotonic()
    until(lambda: bool(supervisor.pace()))

    held = second.ask(Chat("held"), block=False)

    assert other.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    assert second.ask(GetStatistics(), timeout=SOON).state == "busy"
    [(key, pace)] = supervisor.pace().items()
    assert "key-number" not in key
    assert pace.refusals == 1
    assert pace.waiting == 1 or held.done()
    assert held.get(timeout=PATIENCE).text == "echo: held"
    # The harness sees the refusal at most the turn's 0.7 s before its asker does.
    assert time.monotonic() - refused > 1.5 - 0.7 - 0.1
    until(lambda: supervisor.pace() == {})
    holds = [event for event in events if isinstance(event, QuotaHold)]
    assert {event.key for event in holds} == {key}
    assert max(event.seconds for event in holds) > 1.0


def test_a_turn_that_the_quota_allows_too_late_is_refused_at_once(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    first, second = (supervisor.create_agent(model.openai_config()) for _ in range(2))
    model.when("refused", quota_error(retry_after=3600))
    with pytest.raises(QuotaExceeded) as caught:
        first.ask(Chat("refused"), timeout=PATIENCE)
    if caught.value.retry_after is None:
        pytest.skip("the service's words do not say when")
    until(lambda: bool(supervisor.pace()))

    with pytest.raises(QuotaExceeded, match="is used up for") as refused:
        second.ask(Chat("hi", timeout=60.0), timeout=SOON)

    assert refused.value.retry_after is not None
    assert 3500 < refused.value.retry_after <= 3600


def test_a_turn_that_waits_for_the_quota_is_cancelled(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    first, second = (supervisor.create_agent(model.openai_config()) for _ in range(2))
    model.when("refused", quota_error(retry_after=30))
    with pytest.raises(QuotaExceeded):
        first.ask(Chat("refused"), timeout=PATIENCE)
    until(lambda: bool(supervisor.pace()))
    held = second.ask(Chat("held"), block=False)
    until(lambda: any(pace.waiting for pace in supervisor.pace().values()))

    assert second.ask(Cancel(), timeout=SOON) is True

    with pytest.raises(TurnCancelled):
        held.get(timeout=SOON)
    assert [request.prompt for request in model.requests] == ["refused"]


def test_turn_starts_are_spaced_and_nothing_else_is(model: ScriptedModel) -> None:
    spacing = 0.4
    with Supervisor.start(turn_spacing=spacing) as supervisor:
        agents = [supervisor.create_agent(model.openai_config()) for _ in range(3)]
        began = time.monotonic()

        turns = [agent.ask(Chat("hi"), block=False) for agent in agents]
        for agent in agents:
            agent.ask(GetStatistics(), timeout=SOON)
        for turn in turns:
            turn.get(timeout=PATIENCE)

        assert time.monotonic() - began >= 2 * spacing


@pytest.mark.parametrize("spacing", [-1, "1", math.nan])
def test_an_invalid_spacing_is_refused(spacing: float) -> None:
    with pytest.raises(InvalidConfig, match="turn_spacing must be a number of seconds"):
        Supervisor.start(turn_spacing=spacing)
