from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from agy_actors import Backoff, InvalidConfig, Restart
from agy_actors._supervision._decisions import GiveUp, Limits, RestartAfter, decide

if TYPE_CHECKING:
    from collections.abc import Iterable

SECONDS = st.floats(0.0, 100.0)
LIMITS = st.builds(
    Limits, max_restarts=st.integers(0, 6), within=st.floats(0.1, 200.0, exclude_min=True)
)
RESTARTED = st.sampled_from([Restart.PERMANENT, Restart.TRANSIENT])
BY_NUMBER = Backoff(wait=lambda state: float(state.attempt_number), reset_after=30.0)


def outcomes(
    gaps: Iterable[float],
    limits: Limits,
    *,
    restart: Restart = Restart.PERMANENT,
    backoff: Backoff = BY_NUMBER,
) -> list[tuple[float, RestartAfter | GiveUp]]:
    """Decide on failures with these gaps before each, until the child is given up."""
    now, found = 0.0, []
    failures: tuple[float, ...] = ()
    for gap in gaps:
        now += gap
        decision = decide(
            failures=failures, now=now, restart=restart, limits=limits, backoff=backoff
        )
        found.append((now, decision))
        if isinstance(decision, GiveUp):
            break
        failures = decision.failures
    return found


def delays(gaps: Iterable[float], **options: Any) -> list[float]:
    limits = Limits(max_restarts=1000)
    found = [decision for _, decision in outcomes(gaps, limits, **options)]
    return [decision.delay for decision in found if isinstance(decision, RestartAfter)]


@given(gaps=st.lists(SECONDS, max_size=30), limits=LIMITS, restart=RESTARTED)
def test_restarts_within_a_window_never_exceed_the_intensity(
    gaps: list[float], limits: Limits, restart: Restart
) -> None:
    found = outcomes(gaps, limits, restart=restart)

    restarts = [now for now, decision in found if isinstance(decision, RestartAfter)]
    for end in restarts:
        assert sum(end - limits.within < time <= end for time in restarts) <= limits.max_restarts


@given(gaps=st.lists(SECONDS, max_size=30), limits=LIMITS)
def test_a_child_is_given_up_only_where_a_restart_would_exceed_the_intensity(
    gaps: list[float], limits: Limits
) -> None:
    found = outcomes(gaps, limits)

    for position, (now, decision) in enumerate(found):
        failures = [time for time, _ in found[: position + 1] if time > now - limits.within]
        assert isinstance(decision, GiveUp) == (len(failures) > limits.max_restarts)


@given(gaps=st.lists(SECONDS, max_size=30), limits=LIMITS)
def test_a_temporary_child_is_never_restarted(gaps: list[float], limits: Limits) -> None:
    found = outcomes(gaps, limits, restart=Restart.TEMPORARY)

    assert not any(isinstance(decision, RestartAfter) for _, decision in found)


@given(gaps=st.lists(st.floats(0.0, 60.0), max_size=30))
def test_the_delay_counts_the_failures_since_the_last_quiet_time(gaps: list[float]) -> None:
    found = delays(gaps)

    times = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    row, expected = 0, []
    for earlier, later in pairwise([-math.inf, *times]):
        row = 1 if later - earlier > 30.0 else row + 1
        expected.append(float(row - 1))
    assert found == expected


def test_the_first_restart_after_a_quiet_time_comes_at_once() -> None:
    assert delays([0, 1, 1, 31, 1]) == [0.0, 1.0, 2.0, 0.0, 1.0]


def test_failures_in_a_row_count_also_where_the_window_is_shorter() -> None:
    found = outcomes([20.0] * 5, Limits(max_restarts=1, within=5.0))

    assert [d.delay for _, d in found if isinstance(d, RestartAfter)] == [0, 1, 2, 3, 4]


def test_what_a_decision_hands_on_does_not_grow_without_end() -> None:
    found = outcomes([20.0] * 500, Limits(max_restarts=1, within=5.0))

    _, last = found[-1]
    assert isinstance(last, RestartAfter)
    assert len(last.failures) <= 100


def test_the_default_backoff_grows_up_to_half_a_minute() -> None:
    backoff = Backoff()

    found = [backoff.delay(failures) for failures in range(1, 20)]

    assert found[0] == 0.0
    assert 0.25 <= found[1] <= 0.5
    assert found[1] < found[4] < found[7]
    assert max(found) <= 30.0


def test_waits_of_tenacity_compose() -> None:
    backoff = Backoff(wait=tenacity.wait_chain(*map(tenacity.wait_fixed, (1, 5))))

    assert [backoff.delay(failures) for failures in (1, 2, 3, 4)] == [0.0, 1.0, 5.0, 5.0]


def test_giving_up_says_how_often_and_in_how_long() -> None:
    found = outcomes([1.0] * 3, Limits(max_restarts=2, within=60.0))

    _, decision = found[-1]
    assert decision == GiveUp("it failed 3 times within 60 s, and 2 restarts are allowed")


@pytest.mark.parametrize("options", [{"wait": 5}, {"reset_after": 0}, {"reset_after": math.nan}])
def test_a_backoff_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        Backoff(**options)
