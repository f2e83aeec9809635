"""The failures on the harness's standard error that count for a turn."""

from __future__ import annotations

import pytest

from agy_actors._sdk.error_text import ModelFailure
from agy_actors._sdk.stderr_hints import SKEW, StderrHints, read_retry

BUSY = ModelFailure(503, None, "busy")
QUOTA = ModelFailure(429, 30.0, "quota")
GLOG = "ERROR: logging before google.Init: "


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turn(clock: Clock) -> StderrHints:
    return StderrHints(clock)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            GLOG + "I1124 02:00:00.031890      40 planner_generator.go:348] Encountered retryable"
            " api error. retrying in 4s. Error 503, Message: busy",
            "Encountered retryable api error. retrying in 4s. Error 503, Message: busy",
        ),
        (GLOG + "E1124 02:00:04.034479      40 errorreport.go:224] Error 503, Message: busy", None),
        (
            GLOG + "E1124 02:00:23.555106      92 stream_handler.go:107] error encountered while"
            " processing planner output: context canceled",
            None,
        ),
        ("Encountered retryable api error", "Encountered retryable api error"),
        ("received model response error: context canceled", None),
        (GLOG + "I1124 02:00:00.303000      25 auth_store.go:136] Using file-based storage", None),
        ("Stdin closed, cleaning up...", None),
    ],
)
def test_lines_about_retries_are_found(line: str, expected: str | None) -> None:
    assert read_retry(line) == expected


def test_a_failure_while_no_other_agent_has_a_turn_belongs_to_this_turn(turn: StderrHints) -> None:
    turn.note(BUSY, alone=True)

    assert turn.certain() == BUSY
    assert turn.refusal() is None


def test_a_failure_while_others_have_turns_does_not_count(turn: StderrHints) -> None:
    turn.note(BUSY, alone=False)

    assert turn.certain() is None
    assert turn.refusal() is None


def test_a_refusal_for_the_quota_counts_for_all_turns_of_the_key(turn: StderrHints) -> None:
    turn.note(QUOTA, alone=False)
    turn.note(BUSY, alone=False)

    assert turn.refusal() == QUOTA
    assert turn.certain() is None


def test_the_last_failure_counts(turn: StderrHints) -> None:
    turn.note(QUOTA, alone=True)
    turn.note(BUSY, alone=True)

    assert turn.certain() == BUSY


@pytest.mark.parametrize(("later", "dropped"), [(0.0, False), (SKEW, False), (SKEW + 0.1, True)])
def test_only_output_that_comes_clearly_later_drops_a_failure(
    turn: StderrHints, clock: Clock, later: float, *, dropped: bool
) -> None:
    turn.note(QUOTA, alone=True)
    clock.now += later

    turn.note_output()

    assert (turn.certain() is None) is dropped
    assert (turn.refusal() is None) is dropped
