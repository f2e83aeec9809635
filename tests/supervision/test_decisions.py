"""The decisions of a supervisor, without threads: examples, and a state machine with drawn
events."""

from __future__ import annotations

import copy
import dataclasses
import math
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import tenacity
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agy_actors import Backoff, InvalidConfig, Restart, Strategy
from agy_actors._supervision.family import Family
from agy_actors._supervision.restart_logic import decide
from agy_actors._supervision.restart_policy import Limits
from agy_actors._supervision.restart_steps import (
    Action,
    Added,
    AllExited,
    AllReady,
    BackoffOver,
    BecameReady,
    End,
    Escalate,
    Event,
    Exited,
    Failed,
    GiveUp,
    Halt,
    Halting,
    Leaving,
    Phase,
    Renewed,
    RequestRestart,
    Resume,
    Start,
    Wait,
)
from tests.looks import count_looks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SECONDS = st.floats(0.0, 100.0)
LIMITS = st.builds(
    Limits, max_restarts=st.integers(0, 6), within=st.floats(0.1, 200.0, exclude_min=True)
)
RESTARTED = st.just(Restart.PERMANENT)
BY_NUMBER = Backoff(wait=lambda state: float(state.attempt_number), reset_after=30.0)
TEMPORARY_FAILED = "it is temporary, and is not restarted"


def family_of(names: str, *, temporary: str = "", **options: Any) -> Family:
    """Return a family of ready children, one for each letter."""
    family = Family(**options)
    for name in names:
        restart = Restart.TEMPORARY if name in temporary else Restart.PERMANENT
        family, _ = after(family, Added(name, restart), BecameReady(name))
    return family


def after(family: Family, *events: Event) -> tuple[Family, tuple[Action, ...]]:
    """Apply events; return the family after them, and the actions for the last event."""
    actions: tuple[Action, ...] = ()
    for event in events:
        actions = decide(family, event)
    return family, actions


def phases(family: Family) -> dict[str, Phase]:
    return {member.name: member.phase for member in family.members}


def ended(actions: Iterable[Action]) -> list[str]:
    """Return the names of the children that are asked to end, in order."""
    return [action.name for action in actions if isinstance(action, RequestRestart | End)]


# The children that a failure affects


def test_one_for_one_restarts_only_the_failed_child() -> None:
    family = family_of("abc", strategy=Strategy.ONE_FOR_ONE)

    family, failed = after(family, Failed("b", 0.0))
    family, waited = after(family, BackoffOver(1))

    assert failed == (Wait(1, "b", 1),)
    assert waited == (Start("b"),)


def test_one_for_all_ends_the_siblings_in_reverse_order_of_their_start() -> None:
    family = family_of("abcd", strategy=Strategy.ONE_FOR_ALL)

    _, actions = after(family, Failed("b", 0.0))

    assert actions == (
        RequestRestart("d"),
        RequestRestart("c"),
        RequestRestart("a"),
        Wait(1, "b", 1),
    )


def test_one_for_all_restarts_the_siblings_in_the_order_of_their_start() -> None:
    family = family_of("abc", strategy=Strategy.ONE_FOR_ALL)
    family, _ = after(family, Failed("b", 0.0), Exited("c"), BackoffOver(1))

    family, first = after(family, Exited("a"))
    family, second = after(family, BecameReady("a"))
    family, third = after(family, BecameReady("b"))
    family, last = after(family, BecameReady("c"))

    assert [first, second, third, last] == [(Start("a"),), (Start("b"),), (Start("c"),), ()]
    assert set(phases(family).values()) == {Phase.UP}


def test_rest_for_one_does_not_restart_older_siblings() -> None:
    family = family_of("abcd", strategy=Strategy.REST_FOR_ONE)

    family, actions = after(family, Failed("b", 0.0))

    assert actions == (RequestRestart("d"), RequestRestart("c"), Wait(1, "b", 1))
    assert phases(family)["a"] is Phase.UP


def test_a_temporary_sibling_is_ended_when_the_others_are_restarted() -> None:
    family = family_of("abc", temporary="b", strategy=Strategy.ONE_FOR_ALL)

    family, actions = after(family, Failed("a", 0.0))

    assert actions == (RequestRestart("c"), End("b"), Wait(1, "a", 1))
    assert family.find("b") is None


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("strategy", Strategy)
def test_the_failure_of_a_temporary_child_affects_no_sibling(
    strategy: Strategy, nested: bool
) -> None:
    family = family_of("abc", temporary="b", strategy=strategy, nested=nested)

    family, actions = after(family, Failed("b", 0.0))

    assert actions == (GiveUp("b", TEMPORARY_FAILED),)
    assert phases(family) == {"a": Phase.UP, "c": Phase.UP}


def test_a_renewed_child_restarts_at_once_and_no_sibling_is_affected() -> None:
    family = family_of("abc", strategy=Strategy.ONE_FOR_ALL, limits=Limits(max_restarts=0))

    family, actions = after(family, Renewed("b"))

    assert actions == (Start("b"),)
    assert phases(family) == {"a": Phase.UP, "b": Phase.STARTING, "c": Phase.UP}


# Overlapping recoveries


def test_a_failure_while_siblings_are_ending_restarts_the_recovery() -> None:
    family = family_of("abc", strategy=Strategy.REST_FOR_ONE)
    family, _ = after(family, Failed("b", 0.0))  # And c is asked to end.

    family, failed = after(family, Failed("a", 1.0))
    family, waited = after(family, Exited("c"), BackoffOver(1), BackoffOver(2))

    assert failed == (Wait(2, "a", 1),)  # No child is asked to end twice.
    assert waited == (Start("a"),)
    assert family.recoveries == (("a", "b", "c"),)


def test_a_failure_while_siblings_start_again_ends_the_started_ones() -> None:
    family = family_of("abc", strategy=Strategy.ONE_FOR_ALL)
    family, _ = after(
        family,
        Failed("a", 0.0),
        Exited("c"),
        Exited("b"),
        BackoffOver(1),
        BecameReady("a"),
        BecameReady("b"),
    )

    _, actions = after(family, Failed("c", 1.0))

    assert actions == (RequestRestart("b"), RequestRestart("a"), Wait(2, "c", 1))


def test_a_backoff_of_an_earlier_recovery_does_not_end_the_later_one() -> None:
    family = family_of("ab", strategy=Strategy.REST_FOR_ONE)
    family, _ = after(family, Failed("b", 0.0), Failed("a", 1.0))

    family, early = after(family, BackoffOver(1))
    family, due = after(family, BackoffOver(2))

    assert early == ()
    assert due == (Start("a"),)


def test_a_later_backoff_does_not_shorten_an_earlier_one() -> None:
    family = family_of("ab", strategy=Strategy.REST_FOR_ONE)
    family, _ = after(family, Failed("b", 0.0), Failed("a", 1.0))

    family, early = after(family, BackoffOver(2))
    family, due = after(family, BackoffOver(1))

    assert early == ()
    assert due == (Start("a"),)


def test_giving_up_an_older_child_does_not_shorten_the_backoff_of_a_younger_one() -> None:
    family = family_of("abc", strategy=Strategy.REST_FOR_ONE, limits=Limits(max_restarts=1))
    family, _ = after(family, Failed("a", 0.0), Exited("c"), Exited("b"), BackoffOver(1))
    family, _ = after(
        family, BecameReady("a"), BecameReady("b"), BecameReady("c"), Failed("b", 1.0)
    )

    family, given_up = after(family, Failed("a", 2.0))
    family, gone = after(family, Exited("c"))
    family, waited = after(family, BackoffOver(2))

    assert [type(action) for action in given_up] == [GiveUp]
    assert gone == ()
    assert waited == (Start("b"),)


def test_the_backoff_of_a_child_that_leaves_delays_no_sibling() -> None:
    family = family_of("ab", strategy=Strategy.ONE_FOR_ALL)
    family, _ = after(family, Failed("a", 0.0), Exited("b"))

    _, actions = after(family, Leaving("a"))

    assert actions == (Start("b"),)


def test_children_that_fail_separately_wait_separately() -> None:
    family = family_of("ab", strategy=Strategy.ONE_FOR_ONE)
    family, _ = after(family, Failed("a", 0.0), Failed("b", 0.0))

    family, first = after(family, BackoffOver(2))
    family, second = after(family, BackoffOver(1))

    assert first == (Start("b"),)
    assert second == (Start("a"),)


def test_a_child_that_becomes_ready_while_it_is_asked_to_end_still_ends() -> None:
    family = family_of("ab", strategy=Strategy.ONE_FOR_ALL)
    family, _ = after(family, Renewed("b"), Failed("a", 0.0))

    family, actions = after(family, BecameReady("b"), BackoffOver(1))

    assert actions == ()
    assert phases(family)["b"] is Phase.STOPPING


def test_a_crash_of_a_child_that_is_asked_to_end_is_not_a_failure() -> None:
    family = family_of("ab", strategy=Strategy.ONE_FOR_ALL)
    family, _ = after(family, Failed("a", 0.0), BackoffOver(1))

    family, actions = after(family, Failed("b", 0.0))

    assert actions == (Start("a"),)
    member = family.find("b")
    assert member is not None
    assert member.failures == ()


def test_a_child_that_leaves_does_not_delay_children_that_start_after_it() -> None:
    family = family_of("ab", strategy=Strategy.ONE_FOR_ALL)
    family, _ = after(family, Failed("a", 0.0), Exited("b"), BackoffOver(1))

    _, actions = after(family, Leaving("a"))

    assert actions == (Start("b"),)


# Restart intensity


def outcomes(
    gaps: Iterable[float], limits: Limits, *, restart: Restart = Restart.PERMANENT
) -> list[tuple[float, Wait | GiveUp]]:
    """Let a child fail with these gaps before each failure, until it is given up."""
    family, _ = after(Family(limits=limits), Added("a", restart), BecameReady("a"))
    found: list[tuple[float, Wait | GiveUp]] = []
    for now in accumulate(gaps):
        family, (outcome,) = after(family, Failed("a", now))
        assert isinstance(outcome, Wait | GiveUp)
        found.append((now, outcome))
        if isinstance(outcome, GiveUp):
            break
        family, _ = after(family, BackoffOver(outcome.token), BecameReady("a"))
    return found


def delays(gaps: Iterable[float], limits: Limits | None = None) -> list[float]:
    found = outcomes(gaps, limits or Limits(max_restarts=1000))
    return [BY_NUMBER.delay(wait.failures) for _, wait in found if isinstance(wait, Wait)]


@given(gaps=st.lists(SECONDS, max_size=30), limits=LIMITS, restart=RESTARTED)
def test_restarts_within_a_window_never_exceed_the_intensity(
    gaps: list[float], limits: Limits, restart: Restart
) -> None:
    found = outcomes(gaps, limits, restart=restart)

    restarts = [now for now, outcome in found if isinstance(outcome, Wait)]
    assert is_within(limits, restarts)


@given(gaps=st.lists(SECONDS, max_size=30), limits=LIMITS)
def test_a_child_is_given_up_only_if_a_restart_would_exceed_the_intensity(
    gaps: list[float], limits: Limits
) -> None:
    found = outcomes(gaps, limits)

    for position, (now, outcome) in enumerate(found):
        failures = [time for time, _ in found[: position + 1] if time > now - limits.within]
        assert isinstance(outcome, GiveUp) == (len(failures) > limits.max_restarts)


@given(gaps=st.lists(SECONDS, max_size=30), limits=LIMITS)
def test_a_temporary_child_is_never_restarted(gaps: list[float], limits: Limits) -> None:
    found = outcomes(gaps, limits, restart=Restart.TEMPORARY)

    assert not any(isinstance(outcome, Wait) for _, outcome in found)


def test_the_reason_for_giving_up_states_the_number_of_failures_and_the_window() -> None:
    found = outcomes([1.0] * 3, Limits(max_restarts=2, within=60.0))

    _, outcome = found[-1]
    assert outcome == GiveUp("a", "it failed 3 times within 60 s, and 2 restarts are allowed")


def test_a_failure_as_old_as_the_window_does_not_count() -> None:
    found = outcomes([0.0, 5.0, 5.0, 4.0], Limits(max_restarts=1, within=5.0))

    assert [type(outcome) for _, outcome in found] == [Wait, Wait, Wait, GiveUp]


def fail_in_turns(
    crashes: Iterable[tuple[float, object | None]], limits: Limits
) -> tuple[Family, list[Action]]:
    """Let a child fail at these times, by these turns, and return each decision."""
    family, found = family_of("a", limits=limits), []
    for now, turn in crashes:
        family, (outcome,) = after(family, Failed("a", now, turn))
        found.append(outcome)
        if not isinstance(outcome, Wait):
            break
        family, _ = after(family, BackoffOver(outcome.token), BecameReady("a"))
    return family, found


def test_all_crashes_of_one_turn_count_once() -> None:
    one, another, third = object(), object(), object()
    crashes = [(0.0, one), (1.0, one), (2.0, another), (3.0, another), (4.0, third)]

    _, found = fail_in_turns(crashes, Limits(max_restarts=2, within=60.0))

    assert [type(outcome) for outcome in found] == [Wait, Wait, Wait, Wait, GiveUp]
    assert found[-1] == GiveUp("a", "it failed 3 times within 60 s, and 2 restarts are allowed")


def test_each_crash_of_a_turn_counts_for_the_backoff() -> None:
    one, another = object(), object()

    _, found = fail_in_turns([(0.0, one), (1.0, one), (2.0, another)], Limits(max_restarts=2))

    assert [wait.failures for wait in found if isinstance(wait, Wait)] == [1, 2, 3]


def test_a_failure_without_a_turn_counts_by_itself() -> None:
    turn = object()
    crashes = [(0.0, turn), (1.0, None), (2.0, turn), (3.0, None)]

    _, found = fail_in_turns(crashes, Limits(max_restarts=2))

    assert [type(outcome) for outcome in found] == [Wait, Wait, Wait, GiveUp]


def test_equal_turns_are_not_the_same_turn() -> None:
    _, found = fail_in_turns([(0.0, []), (1.0, [])], Limits(max_restarts=1))

    assert [type(outcome) for outcome in found] == [Wait, GiveUp]


def test_a_crash_before_the_window_does_not_hide_a_later_crash_of_the_same_turn() -> None:
    turn = object()
    crashes = [(0.0, turn), (6.0, turn), (7.0, turn), (8.0, None)]

    _, found = fail_in_turns(crashes, Limits(max_restarts=1, within=5.0))

    assert [type(outcome) for outcome in found] == [Wait, Wait, Wait, GiveUp]


def test_the_crashes_of_siblings_are_counted_separately() -> None:
    turn = object()  # A pool gives a turn to another member.
    family = family_of("ab", limits=Limits(max_restarts=0))

    family, one = after(family, Failed("a", 0.0, turn))
    family, other = after(family, Failed("b", 1.0, turn))

    assert isinstance(one[0], GiveUp)
    assert isinstance(other[0], GiveUp)


@given(
    crashes=st.lists(st.tuples(SECONDS, st.none() | st.integers(0, 3)), max_size=30), limits=LIMITS
)
def test_a_child_is_given_up_when_turns_and_other_causes_exceed_the_intensity(
    crashes: list[tuple[float, int | None]], limits: Limits
) -> None:
    turns = [object() for _ in range(4)]
    times = [*accumulate(gap for gap, _ in crashes)]
    failures = [
        (now, None if number is None else turns[number])
        for now, (_, number) in zip(times, crashes, strict=True)
    ]

    _, found = fail_in_turns(failures, limits)

    for position, outcome in enumerate(found):
        now = failures[position][0]
        recent = [turn for at, turn in failures[: position + 1] if at > now - limits.within]
        causes = len(set(recent) - {None}) + recent.count(None)
        assert isinstance(outcome, GiveUp) == (causes > limits.max_restarts)


def test_siblings_of_a_child_that_was_given_up_restart_without_a_backoff() -> None:
    family = family_of("abc", strategy=Strategy.ONE_FOR_ALL, limits=Limits(max_restarts=0))

    family, given_up = after(family, Failed("b", 0.0))
    family, gone = after(family, Exited("c"), Exited("a"))

    assert isinstance(given_up[0], GiveUp)
    assert given_up[1:] == (RequestRestart("c"), RequestRestart("a"))
    assert gone == (Start("a"),)


def test_any_number_of_renewals_is_not_a_failure() -> None:
    family = family_of("a", limits=Limits(max_restarts=1))
    for _ in range(10):
        family, _ = after(family, Renewed("a"), BecameReady("a"))

    _, actions = after(family, Failed("a", 0.0))

    assert actions == (Wait(1, "a", 1),)


def test_the_data_that_a_decision_keeps_is_bounded() -> None:
    family = family_of("a", limits=Limits(max_restarts=1, within=5.0))

    for now in range(0, 10_000, 20):
        family, (wait,) = after(family, Failed("a", float(now)))
        assert isinstance(wait, Wait)
        family, _ = after(family, BackoffOver(wait.token), BecameReady("a"))

    member = family.find("a")
    assert member is not None
    assert len(member.failures) <= 100
    assert family.recoveries == ()


# The cost of a decision


EACH_EVENT = (
    Added("new", Restart.PERMANENT),
    BecameReady("new"),
    Renewed("new"),
    BecameReady("new"),
    Failed("new", 0.0),
    BackoffOver(1),
    BecameReady("new"),
    Leaving("new"),
)


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE])
def test_a_decision_about_one_child_reads_no_sibling(strategy: Strategy) -> None:
    looks = []
    for siblings in (10, 1000):
        family = Family(strategy=strategy)
        after(family, *(Added(f"{n}", Restart.PERMANENT) for n in range(siblings)))
        looks.append(count_looks(partial(after, family, *EACH_EVENT)))

    assert looks[0] == looks[1]


def test_a_decision_reads_no_sibling_that_also_recovers() -> None:
    looks = []
    for siblings in (10, 1000):
        family = Family(limits=Limits(max_restarts=1))
        after(family, Added("new", Restart.PERMANENT), BecameReady("new"))
        for n in range(siblings):  # All of them wait for a backoff.
            after(family, Added(f"{n}", Restart.PERMANENT), Failed(f"{n}", 0.0))
        token = family.last_token + 1
        events = Failed("new", 0.0), BackoffOver(token), BecameReady("new"), Leaving("new")
        looks.append(count_looks(partial(after, family, *events)))

    assert looks[0] == looks[1]


def test_restarting_all_children_together_costs_the_same_for_each() -> None:
    looks = []
    for children in (10, 1000):
        names = [f"{n}" for n in range(children)]
        family = Family(strategy=Strategy.ONE_FOR_ALL)
        after(
            family,
            *(event for n in names for event in (Added(n, Restart.PERMANENT), BecameReady(n))),
        )
        events: list[Event] = [Failed("0", 0.0), BackoffOver(1), *map(Exited, reversed(names[1:]))]
        events += map(BecameReady, names)
        looks.append(count_looks(partial(after, family, *events)))
        assert {member.phase for member in family.members} == {Phase.UP}

    assert looks[1] < looks[0] * (1000 / 10)


def test_halting_and_resuming_children_costs_the_same_for_each() -> None:
    looks = []
    for children in (10, 1000):
        names = [f"{n}" for n in range(children)]
        family = Family(nested=True)
        after(
            family,
            *(event for n in names for event in (Added(n, Restart.PERMANENT), BecameReady(n))),
        )
        events: list[Event] = [Halt(), *map(Exited, names), Resume(), *map(BecameReady, names)]
        looks.append(count_looks(partial(after, family, *events)))
        assert family.halt is Halting.NO

    assert looks[1] < looks[0] * (1000 / 10)


# Backoff


@given(gaps=st.lists(st.floats(0.0, 60.0), max_size=30))
def test_the_delay_depends_on_the_failures_since_the_last_quiet_period(gaps: list[float]) -> None:
    found = delays(gaps)

    row, expected = 0, []
    for earlier, later in pairwise([-math.inf, *accumulate(gaps)]):
        row = 1 if later - earlier > 30.0 else row + 1
        expected.append(float(row - 1))
    assert found == expected


def test_the_first_restart_after_a_quiet_period_comes_at_once() -> None:
    assert delays([0, 1, 1, 31, 1]) == [0.0, 1.0, 2.0, 0.0, 1.0]


def test_consecutive_failures_count_also_if_the_window_is_shorter() -> None:
    found = delays([20.0] * 5, Limits(max_restarts=1, within=5.0))

    assert found == [0.0, 1.0, 2.0, 3.0, 4.0]


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


@pytest.mark.parametrize("options", [{"wait": 5}, {"reset_after": 0}, {"reset_after": math.nan}])
def test_an_invalid_backoff_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        Backoff(**options)


# With a supervisor above


def test_a_nested_family_that_fails_too_often_ends_as_a_whole_and_escalates_once() -> None:
    family = family_of("abc", nested=True, limits=Limits(max_restarts=0))

    family, failed = after(family, Failed("b", 0.0))
    family, going = after(family, Exited("a"))
    family, gone = after(family, Failed("c", 0.0))

    why = "it failed 1 times within 60 s, and 0 restarts are allowed"
    assert failed == (Escalate("b", why), RequestRestart("c"), RequestRestart("a"))
    assert going == ()
    assert gone == (AllExited(),)


def test_a_resumed_family_starts_in_order_and_reports_when_it_is_ready() -> None:
    family = family_of("ab", nested=True)
    family, _ = after(family, Halt(), Exited("b"), Exited("a"))

    family, first = after(family, Resume())
    family, second = after(family, BecameReady("a"))
    family, last = after(family, BecameReady("b"))

    assert [first, second, last] == [(Start("a"),), (Start("b"),), (AllReady(),)]


def test_a_resumed_family_has_forgotten_its_failures() -> None:
    family = family_of("a", nested=True, limits=Limits(max_restarts=1))
    family, _ = after(family, Failed("a", 0.0), BackoffOver(1), BecameReady("a"), Failed("a", 1.0))

    family, _ = after(family, Resume(), BecameReady("a"))
    _, actions = after(family, Failed("a", 2.0))

    assert actions == (Wait(2, "a", 1),)


def test_a_halted_family_starts_no_child_in_any_state() -> None:
    family = family_of("ab", nested=True)
    family, _ = after(family, Failed("a", 0.0), Renewed("b"))

    _, halted = after(family, Halt())
    _, late = after(family, Halt(), BackoffOver(1), BecameReady("b"), Renewed("b"))

    assert halted == (RequestRestart("b"),)
    assert late == (AllExited(),)


def test_a_child_that_joins_a_family_that_is_halting_starts_when_it_resumes() -> None:
    family = family_of("a", nested=True)

    family, joined = after(family, Halt(), Added("b", Restart.PERMANENT))
    family, gone = after(family, Exited("a"))
    family, _ = after(family, Resume())
    family, first = after(family, BecameReady("a"))
    family, last = after(family, BecameReady("b"))

    assert [joined, gone] == [(), (AllExited(),)]
    assert [first, last] == [(Start("b"),), (AllReady(),)]


def test_a_child_that_joins_a_halted_family_causes_no_second_report() -> None:
    family = Family(nested=True)

    family, halted = after(family, Halt())
    family, joined = after(family, Added("a", Restart.PERMANENT))
    family, resumed = after(family, Resume())

    assert [halted, joined, resumed] == [(AllExited(),), (), (Start("a"),)]


def test_a_temporary_child_that_joined_a_halted_family_starts_despite_a_failure() -> None:
    family = family_of("a", nested=True, strategy=Strategy.ONE_FOR_ALL)
    family, _ = after(family, Halt(), Added("b", Restart.TEMPORARY), Exited("a"), Resume())

    family, failed = after(family, Failed("a", 0.0))
    family, _ = after(family, BackoffOver(1))
    family, actions = after(family, BecameReady("a"))

    assert failed == (Wait(1, "a", 1),)
    assert actions == (Start("b"),)


def test_a_resumed_family_waits_for_no_backoff_from_before() -> None:
    family = family_of("a", nested=True)
    family, _ = after(family, Failed("a", 0.0), Halt())

    _, actions = after(family, Resume())

    assert actions == (Start("a"),)


def test_a_family_without_children_ends_and_resumes_at_once() -> None:
    family = Family(nested=True)

    family, halted = after(family, Halt())
    _, resumed = after(family, Resume())

    assert halted == (AllExited(),)
    assert resumed == (AllReady(),)


# Drawn events


def is_within(limits: Limits, restarts: list[float]) -> bool:
    return all(
        sum(end - limits.within < time <= end for time in restarts) <= limits.max_restarts
        for end in restarts
    )


def answer(family: Family) -> Event | None:
    """Return an event that the family waits for, other than the end of a backoff."""
    if family.halt is Halting.HALTED:
        return Resume()
    for member in reversed(family.members):
        if member.phase is Phase.STOPPING:
            return Exited(member.name)
        if member.phase is Phase.STARTING:
            return BecameReady(member.name)
    return None


def settled(family: Family, waits: Iterable[int]) -> Family:
    """Return the family after all events that it waits for."""
    family = copy.deepcopy(family)
    for token in waits:
        decide(family, BackoffOver(token))
    for _ in range(5 * len(family.members) + 5):  # More than necessary.
        event = answer(family)
        if event is None:
            break
        decide(family, event)
    return family


@dataclasses.dataclass
class Child:
    """The machine's own model of a child."""

    restart: Restart
    phase: Phase = Phase.STARTING
    due: bool = False
    """Whether it failed or was asked to end, and has not become ready since."""
    resumed: bool = False
    """Whether it has not become ready since the last `Resume`."""
    begun: bool = True
    """Whether it was ever started."""
    backoff: int | None = None
    """The last wait after its failure, before whose end it must not start."""
    restarts: list[float] = dataclasses.field(default_factory=list)
    """The times of the failures that caused a restart."""
    row: int = 0
    """Failures without a quiet period between them."""

    @property
    def runs(self) -> bool:
        return self.phase is not Phase.DOWN


def some(*wanted: Phase) -> st.SearchStrategy[str]:
    """Draw one of the machine's children in such a phase."""

    def names(machine: Executor) -> st.SearchStrategy[str]:
        return st.sampled_from(machine.in_phase(*wanted))

    return st.runner().flatmap(names)


def there_is(*wanted: Phase) -> Callable[[Executor], bool]:
    return lambda machine: bool(machine.in_phase(*wanted))


RUNNING = (Phase.STARTING, Phase.UP, Phase.STOPPING)


class Executor(RuleBasedStateMachine):
    """Carries out the decisions in a model of the world, and reports the results."""

    def __init__(self) -> None:
        super().__init__()
        self.family = Family()
        self.now = 0.0
        self.children: dict[str, Child] = {}
        self.leaving: set[str] = set()
        """Removed children that still run."""
        self.waits: set[int] = set()
        self.halted = self.told_gone = self.resuming = False
        self.renewing: str | None = None

    @initialize(
        strategy=st.sampled_from(Strategy),
        nested=st.booleans(),
        limits=st.builds(
            Limits, max_restarts=st.integers(0, 3), within=st.sampled_from([5.0, 20.0, 60.0])
        ),
        reset_after=st.sampled_from([10.0, 30.0]),
        restarts=st.lists(st.sampled_from(Restart), max_size=4),
    )
    def begin(
        self,
        strategy: Strategy,
        nested: bool,
        limits: Limits,
        reset_after: float,
        restarts: list[Restart],
    ) -> None:
        self.family = Family(
            strategy=strategy, nested=nested, limits=limits, reset_after=reset_after
        )
        for name, restart in zip("abcd", restarts, strict=False):
            self.join(name, restart)
            self.become_ready(name)

    def in_phase(self, *wanted: Phase) -> list[str]:
        return [name for name, child in self.children.items() if child.phase in wanted]

    def younger(self, name: str) -> list[str]:
        names = list(self.children)
        return names[names.index(name) + 1 :]

    def concerned(self, name: str) -> list[str]:
        """Return the names of the siblings that a failure affects."""
        match self.family.strategy:
            case Strategy.ONE_FOR_ONE:
                return []
            case Strategy.ONE_FOR_ALL:
                return [other for other in self.children if other != name]
            case Strategy.REST_FOR_ONE:
                return self.younger(name)

    def to_end(self, names: Iterable[str]) -> list[str]:
        """Return the names of the children that are not asked to end yet, the youngest first."""
        told = (Phase.STOPPING, Phase.DOWN)
        return [name for name in names if self.children[name].phase not in told][::-1]

    def recover_together(self, name: str, other: str) -> bool:
        one, two = self.children[name], self.children[other]
        if self.family.strategy is Strategy.ONE_FOR_ONE:
            return one.resumed and two.resumed
        return one.due and two.due

    # The actions.

    def report(self, event: Event) -> tuple[Action, ...]:
        order = list(self.children)
        actions = decide(self.family, event)
        positions = [order.index(name) for name in ended(actions)]
        assert positions == sorted(positions, reverse=True)
        for action in actions:
            self.carry_out(action)
        return actions

    def carry_out(self, action: Action) -> None:
        match action:
            case Start(name):
                assert not self.children[name].runs
                assert name == self.renewing or self.may_start(name)
                child = self.children[name]
                child.phase, child.begun = Phase.STARTING, True
            case RequestRestart(name):
                child = self.children[name]
                assert child.phase in (Phase.STARTING, Phase.UP)
                assert child.restart is not Restart.TEMPORARY
                child.phase = Phase.STOPPING
                child.due = True
            case End(name):
                child = self.children.pop(name)
                assert child.runs
                assert child.restart is Restart.TEMPORARY
                self.leaving.add(name)
            case Wait(token, name):
                assert not self.halted
                assert token not in self.waits
                self.waits.add(token)
                self.children[name].restarts.append(self.now)
                self.children[name].backoff = token
            case GiveUp(name):
                assert not self.children.pop(name).runs
            case Escalate(_):
                assert self.family.nested
                assert not self.halted
                self.be_halted()
            case AllExited():
                assert self.halted
                assert not self.told_gone
                self.told_gone = True
            case AllReady():
                assert self.resuming
                assert not any(child.due for child in self.children.values())
                self.resuming = False

    def may_start(self, name: str) -> bool:
        child = self.children[name]
        together = [n for n in self.children if n == name or self.recover_together(name, n)]
        return (
            child.due
            and not self.halted
            and (child.restart is not Restart.TEMPORARY or not child.begun)
            and together[0] == name
            and not any(self.children[other].runs for other in together)
            and not any(self.children[other].backoff in self.waits for other in together)
        )

    def be_halted(self) -> None:
        self.halted, self.told_gone, self.resuming = True, False, False
        for child in self.children.values():
            child.due, child.backoff = True, None

    # The events.

    @rule(name=st.sampled_from("abcdef"), restart=st.sampled_from(Restart))
    def join(self, name: str, restart: Restart) -> None:
        if name in self.children or name in self.leaving:
            return
        if self.halted:
            self.children[name] = Child(restart, Phase.DOWN, due=True, begun=False)
        else:
            self.children[name] = Child(restart)

        assert self.report(Added(name, restart)) == ()

    @precondition(there_is(Phase.STARTING, Phase.STOPPING))
    @rule(name=some(Phase.STARTING, Phase.STOPPING))
    def become_ready(self, name: str) -> None:
        child = self.children[name]
        if child.phase is Phase.STARTING:
            child.phase, child.due, child.resumed = Phase.UP, False, False

        actions = self.report(BecameReady(name))

        assert child.phase is not Phase.STOPPING or actions == ()
        assert all(isinstance(action, Start | AllReady) for action in actions)

    @precondition(there_is(*RUNNING))
    @rule(name=some(*RUNNING), quiet=st.sampled_from([0.0, 1.0, 5.0, 10.0, 20.0, 31.0]))
    def fail(self, name: str, quiet: float) -> None:
        self.now += quiet
        child = self.children[name]
        stopping, child.phase = child.phase is Phase.STOPPING, Phase.DOWN
        if stopping:
            actions = self.report(Failed(name, self.now))
            assert all(isinstance(action, Start | AllExited) for action in actions)
        elif child.restart is Restart.TEMPORARY:
            actions = self.report(Failed(name, self.now))
            assert actions[0] == GiveUp(name, TEMPORARY_FAILED)
            assert child.due or len(actions) == 1
            assert all(isinstance(action, Start | AllReady) for action in actions[1:])
        else:
            self.fail_in_earnest(name, child)

    def fail_in_earnest(self, name: str, child: Child) -> None:
        limits = self.family.limits
        child.due = True
        quiet = self.now - child.restarts[-1] if child.restarts else math.inf
        child.row = 1 if quiet > self.family.reset_after else child.row + 1
        failures = 1 + sum(time > self.now - limits.within for time in child.restarts)
        why = (
            f"it failed {failures} times within {limits.within:g} s, and"
            f" {limits.max_restarts} restarts are allowed"
        )
        to_end = self.to_end(self.concerned(name))
        expected = self.to_end(self.children)

        actions = self.report(Failed(name, self.now))

        if failures <= limits.max_restarts:
            assert ended(actions) == to_end
            assert actions[len(to_end) :] == (Wait(self.family.last_token, name, child.row),)
        elif self.family.nested:
            assert actions[0] == Escalate(name, why)
            assert ended(actions) == expected
            assert all(
                isinstance(action, RequestRestart | End | AllExited) for action in actions[1:]
            )
        else:
            assert actions[0] == GiveUp(name, why)
            assert ended(actions) == to_end
            assert all(isinstance(action, RequestRestart | End | Start) for action in actions[1:])

    @precondition(there_is(*RUNNING))
    @rule(name=some(*RUNNING))
    def renew(self, name: str) -> None:
        child = self.children[name]
        stopping, child.phase = child.phase is Phase.STOPPING, Phase.DOWN
        self.renewing = None if stopping else name

        actions = self.report(Renewed(name))

        self.renewing = None
        assert stopping or actions == (Start(name),)
        assert all(isinstance(action, Start | AllExited) for action in actions)

    @precondition(there_is(Phase.STOPPING))
    @rule(name=some(Phase.STOPPING))
    def go(self, name: str) -> None:
        self.children[name].phase = Phase.DOWN

        actions = self.report(Exited(name))

        assert all(isinstance(action, Start | AllExited) for action in actions)

    @precondition(lambda self: self.children)
    @rule(name=some(*Phase))
    def leave(self, name: str) -> None:
        if self.children.pop(name).runs:
            self.leaving.add(name)

        actions = self.report(Leaving(name))

        assert all(isinstance(action, Start | AllExited | AllReady) for action in actions)

    @precondition(lambda self: self.leaving)
    @rule(
        name=st.runner().flatmap(lambda self: st.sampled_from(sorted(self.leaving))),
        kind=st.sampled_from([BecameReady, Renewed, Exited, Leaving, partial(Failed, now=0.0)]),
    )
    def report_late(self, name: str, kind: Callable[[str], Event]) -> None:
        if kind is not BecameReady:
            self.leaving.remove(name)
        family = self.family
        before = family.members, family.recoveries, family.halt, family.last_token

        assert self.report(kind(name)) == ()

        assert (family.members, family.recoveries, family.halt, family.last_token) == before

    @precondition(lambda self: self.waits)
    @rule(token=st.runner().flatmap(lambda self: st.sampled_from(sorted(self.waits))))
    def end_backoff(self, token: int) -> None:
        self.waits.remove(token)

        actions = self.report(BackoffOver(token))

        assert all(isinstance(action, Start) for action in actions)

    @precondition(lambda self: self.family.nested)
    @rule()
    def halt(self) -> None:
        expected = self.to_end(self.children)
        again = self.halted
        if not again:
            self.be_halted()

        actions = self.report(Halt())

        assert ended(actions) == expected
        assert all(isinstance(action, RequestRestart | End | AllExited) for action in actions)
        assert not again or actions == ()

    @precondition(lambda self: self.told_gone)
    @rule()
    def resume(self) -> None:
        self.halted, self.told_gone, self.resuming = False, False, True
        for child in self.children.values():
            child.resumed, child.restarts, child.row = True, [], 0
        first = next(iter(self.children), None)

        actions = self.report(Resume())

        assert actions == ((AllReady(),) if first is None else (Start(first),))

    # The invariants.

    @invariant()
    def it_knows_what_runs(self) -> None:
        known = [(member.name, member.phase) for member in self.family.members]
        assert known == [(name, child.phase) for name, child in self.children.items()]

    @invariant()
    def no_child_restarts_too_often(self) -> None:
        for child in self.children.values():
            assert is_within(self.family.limits, child.restarts)

    @invariant()
    def the_supervisor_above_was_told(self) -> None:
        assert self.told_gone == (self.halted and not self.in_phase(*RUNNING))
        assert not self.resuming or any(child.due for child in self.children.values())

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        assert not any(map(self.may_start, self.children))

    @invariant()
    def everybody_comes_up_in_the_end(self) -> None:
        family = settled(self.family, sorted(self.waits))

        assert {member.phase for member in family.members} <= {Phase.UP}
        assert [member.name for member in family.members] == list(self.children)
        assert family.recoveries == ()
        assert family.halt is Halting.NO


def test_a_supervisor_keeps_its_guarantees_for_any_events_of_its_children() -> None:
    run_state_machine_as_test(
        Executor,
        settings=settings(
            deadline=None,
            max_examples=100,
            stateful_step_count=40,
            # A failure should be shrunk before the test's time limit.
            phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},
            report_multiple_bugs=False,
        ),
    )
