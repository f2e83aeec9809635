"""The window of a budget, against a list of all tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors._agents.budget_window import TokenWindow

PART = 0.001
"""The part of the window for which tokens may count longer."""

LIMITS = st.integers(1, 300)
LENGTHS = st.sampled_from([1.0, 3.0, 60.0, 86_400.0, 0.1])
STEPS = st.lists(
    st.tuples(st.floats(0.0, 0.4), st.integers(1, 100)),  # A part of the window, tokens.
    max_size=60,
)


def used_since(spent: list[tuple[float, int]], within: float, now: float) -> int:
    """Return the tokens of a window that ends now."""
    return sum(tokens for at, tokens in spent if at + within > now)


@given(tokens=LIMITS, within=LENGTHS, steps=STEPS)
def test_the_sum_is_never_below_the_tokens_of_the_window_and_exceeds_them_by_a_part_only(
    tokens: int, within: float, steps: list[tuple[float, int]]
) -> None:
    window, now = TokenWindow(tokens, within), 0.0
    spent: list[tuple[float, int]] = []
    for pause, used in steps:
        now += pause * within

        assert used_since(spent, within, now) <= window.used(now)
        assert window.used(now) <= used_since(spent, within * (1 + PART) + 1e-9, now)

        window.add(used, now)
        spent.append((now, used))


@given(tokens=LIMITS, within=LENGTHS, steps=STEPS)
def test_no_window_exceeds_the_limit_if_each_turn_needs_room(
    tokens: int, within: float, steps: list[tuple[float, int]]
) -> None:
    window, now = TokenWindow(tokens, within), 0.0
    spent: list[tuple[float, int]] = []
    for pause, used in steps:
        now += pause * within
        if window.retry_after(now) == 0:
            assert used_since(spent, within, now) < tokens  # The excess is that of one turn.
            window.add(used, now)
            spent.append((now, used))
        else:
            assert window.used(now) >= tokens


@given(tokens=LIMITS, within=LENGTHS, steps=STEPS)
def test_there_is_room_after_the_announced_seconds_and_not_before(
    tokens: int, within: float, steps: list[tuple[float, int]]
) -> None:
    now, window = 0.0, TokenWindow(tokens, within)
    for pause, used in steps:
        now += pause * within
        window.add(used, now)

    seconds = window.retry_after(now)

    assert (seconds > 0) == (window.used(now) >= tokens)
    if seconds > 0:
        assert seconds <= within * 1.000001
        assert window.used(now + seconds * 0.999) >= tokens
        assert window.used(now + seconds) < tokens


@given(pauses=st.lists(st.floats(0.0, 0.01), min_size=1, max_size=20))
def test_its_memory_is_bounded(pauses: list[float]) -> None:
    window, now = TokenWindow(1000, 1.0), 0.0
    for _ in range(500):
        for pause in pauses:
            now += pause
            window.add(1, now)

            assert len(window) <= 1002


def test_a_thousand_parts_are_enough_for_any_number_of_turns() -> None:
    window = TokenWindow(1, 1.0)
    for number in range(20_000):
        window.add(1, number / 10_000)

    assert 900 <= len(window) <= 1002


def test_a_window_without_an_end_never_has_room_again() -> None:
    window = TokenWindow(10, math.inf)
    for number in range(10):
        assert window.retry_after(number) == 0
        window.add(1, number)

    assert window.retry_after(1e12) == math.inf
    assert window.used(1e12) == 10
    assert len(window) == 1


def test_a_clock_that_goes_back_does_not_shorten_the_window() -> None:
    window = TokenWindow(1, 10.0)
    window.add(1, 100.0)
    window.add(1, 50.0)

    assert window.used(109.0) == 2
    assert window.retry_after(100.0) == pytest.approx(1.0)
    assert window.used(110.0) == 0
