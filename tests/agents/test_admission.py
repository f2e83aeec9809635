"""How many turns may start: the pure decision, and on a model of a machine."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agy_actors._agents.admission import TARGET, Load, StartWindow, admit, max_running
from tests.agents.machine_model import Work, run_turns

DELAYS = st.floats(0.0, 100.0)
NUMBERS = st.integers(0, 5000)


@st.composite
def loads(draw: st.DrawFn) -> Load:
    return Load(draw(NUMBERS), draw(NUMBERS), draw(NUMBERS))


@st.composite
def windows(draw: st.DrawFn) -> StartWindow:
    window, now = StartWindow(), 0.0
    samples = st.tuples(DELAYS, st.booleans(), st.floats(0.0, 60.0))
    for delay, limited, seconds in draw(st.lists(samples, min_size=1, max_size=50)):
        now += seconds
        window = window.measured(delay, limited=limited, now=now)
    return window


# The decision


@given(load=loads(), limit=st.integers(1, 5000), window=windows())
def test_a_fixed_limit_is_never_exceeded_and_always_used(
    load: Load, limit: int, window: StartWindow
) -> None:
    turns = admit(load, limit=limit, window=window, now=0.0).turns

    assert 0 <= turns <= load.waiting
    assert turns == 0 or load.running + turns <= limit
    assert load.running + turns >= limit or turns == load.waiting


@given(load=loads(), window=windows(), now=st.floats(0.0, 1000.0))
def test_the_window_limits_how_many_turns_start_beyond_the_minimum(
    load: Load, window: StartWindow, now: float
) -> None:
    turns = admit(load, limit=None, window=window, now=now).turns

    assert 0 <= turns <= load.waiting
    fits = load.starting + turns <= max(1.0, window.limit)
    assert turns == 0 or fits or load.running + turns <= max_running(None)


@given(waiting=st.integers(1, 5000), window=windows(), limit=st.none() | st.integers(1, 9))
def test_a_turn_starts_if_no_turn_runs(
    waiting: int, window: StartWindow, limit: int | None
) -> None:
    assert admit(Load(waiting, 0, 0), limit=limit, window=window, now=0.0).turns > 0


@given(running=NUMBERS, window=windows(), now=st.floats(0.0, 1000.0))
def test_turns_make_progress_on_a_machine_that_stays_overloaded(
    running: int, window: StartWindow, now: float
) -> None:
    window = window.started(now)

    assert admit(Load(1, running, 0), limit=None, window=window, now=now + 5.0).turns == 1


# The window


@given(window=windows(), over=st.floats(0.01, 100.0))
def test_a_delay_beyond_the_target_shrinks_the_window_by_at_most_half_a_start(
    window: StartWindow, over: float
) -> None:
    after = window.measured(window.base + TARGET + over, limited=True, now=window.least_since)

    assert window.limit - 0.5001 <= after.limit <= window.limit
    assert not after.slow_start


@given(window=windows(), delay=st.floats(0.0, TARGET))
def test_a_window_that_is_not_full_does_not_grow(window: StartWindow, delay: float) -> None:
    assert window.measured(delay, limited=False, now=0.0).limit == window.limit


@given(window=windows(), part=st.floats(0.0, 0.99))
def test_a_delay_below_the_target_widens_the_window_by_at_most_one_start(
    window: StartWindow, part: float
) -> None:
    after = window.measured(window.base + part * TARGET, limited=True, now=window.least_since)

    assert window.limit < after.limit <= window.limit + 1.0


@given(window=windows())
def test_a_window_recovers_from_any_overload(window: StartWindow) -> None:
    for _ in range(100):
        window = window.measured(0.01, limited=True, now=window.least_since)

    assert window.limit > 10.0


@given(others=st.floats(0.0, 1.5), window=windows())
def test_a_delay_that_other_programs_cause_does_not_reduce_the_starts(
    others: float, window: StartWindow
) -> None:
    now = window.least_since + 1000.0 if math.isfinite(window.least_since) else 0.0
    for seconds in (0.0, 40.0):  # The minimum delay is over two epochs.
        window = window.measured(others, limited=True, now=now + seconds)

    after = window.measured(others + TARGET / 2, limited=True, now=now + 40.0)

    assert after.limit > window.limit


def test_the_minimum_delay_has_an_upper_bound() -> None:
    window = StartWindow()
    for second in range(1000):  # It is always full, and its minimum delay creeps upwards.
        window = window.measured(window.base + TARGET, limited=True, now=float(second))

    assert window.base + TARGET <= 2.0
    assert window.overdue <= 4.0


def test_a_window_of_less_than_one_start_spaces_starts() -> None:
    window = StartWindow().measured(0.1, limited=True, now=0.0)
    while window.limit >= 1.0:
        window = window.measured(1.0, limited=True, now=0.0)
    window = window.started(10.0)

    assert 10.0 < window.next_start() <= 14.0
    busy = Load(waiting=5, running=100, starting=0)
    assert admit(busy, limit=None, window=window, now=10.0).turns == 0
    assert admit(busy, limit=None, window=window, now=window.next_start()).turns == 1
    assert StartWindow().started(10.0).next_start() == -math.inf


# On a model of a machine

FIXED = (4, 8, 16, 32, 64, 128, 256, 512)


@pytest.mark.parametrize("cores", [1.0, 2.0, 8.0])
@pytest.mark.parametrize("work", [Work(), Work(start=0.03, end=0.01), Work(start=0.01, end=0.04)])
def test_a_model_that_answers_at_once_is_asked_at_the_best_rate_of_any_fixed_limit(
    cores: float, work: Work
) -> None:
    turns = int(150 * cores)

    def seconds(limit: int | None) -> float:
        return run_turns(turns, work, limit=limit, cores=cores).seconds

    assert seconds(None) <= min(map(seconds, FIXED)) / 0.9


@pytest.mark.parametrize("others", [pytest.param(0, marks=pytest.mark.slow), 8])
def test_a_model_that_is_silent_for_long_is_not_starved(others: int) -> None:
    def seconds(limit: int | None) -> float:
        return run_turns(1000, Work(silence=5.0), limit=limit, busy=lambda _: others).seconds

    assert seconds(None) <= min(map(seconds, FIXED)) * 1.1


@settings(max_examples=20)
@given(
    work=st.builds(
        Work, st.floats(0.001, 0.1), st.sampled_from([0.0, 1.0, 5.0]), st.floats(0.001, 0.2)
    ),
    cores=st.sampled_from([1.0, 2.0, 8.0]),
    window=windows(),
    others=st.integers(0, 20),
)
def test_the_longest_turn_is_hardly_longer_than_without_a_limit(
    work: Work, cores: float, window: StartWindow, others: int
) -> None:
    def run(limit: int | None) -> float:
        outcome = run_turns(
            150, work, limit=limit, cores=cores, window=window, busy=lambda _: others
        )
        return outcome.longest

    assert run(None) <= run(150) * 1.2


def test_a_temporary_load_of_other_programs_has_no_lasting_effect() -> None:
    def busy(now: float) -> float:
        return 60.0 if now < 10.0 else 0.0

    alone = run_turns(1000, Work()).seconds
    assert run_turns(1000, Work(), busy=busy).seconds < 10.0 + 1.1 * alone
