"""Whose failure it is that the harness tells of beside its steps."""

from __future__ import annotations

import pytest

from agy_actors._agent._diagnosis import ModelFailure
from agy_actors._agent._suspicion import SKEW, Rumour, RumourKind, Suspicions, read_rumour

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
def turn(clock: Clock) -> Suspicions:
    return Suspicions(clock)


def told(turn: Suspicions, goroutine: int, failure: ModelFailure = BUSY, *, alone: bool) -> None:
    turn.hear(Rumour(RumourKind.RETRIED, goroutine, ""), failure, alone=alone)


def reported(turn: Suspicions, goroutine: int) -> None:
    turn.hear(Rumour(RumourKind.REPORTED, goroutine, 'Error 503: "busy"'), alone=False)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            GLOG + "I1124 02:00:00.031890      40 planner_generator.go:348] Encountered retryable"
            " api error. retrying in 4s. Error 503, Message: busy",
            Rumour(
                RumourKind.RETRIED,
                40,
                "Encountered retryable api error. retrying in 4s. Error 503, Message: busy",
            ),
        ),
        (
            GLOG + "E1124 02:00:04.034479      40 errorreport.go:224] Error 503, Message: busy",
            Rumour(RumourKind.REPORTED, 40, "Error 503, Message: busy"),
        ),
        (
            GLOG + "E1124 02:00:23.555106      92 stream_handler.go:107] error encountered while"
            " processing planner output: context canceled",
            None,
        ),
        (
            "Encountered retryable api error",
            Rumour(RumourKind.RETRIED, None, "Encountered retryable api error"),
        ),
        ("received model response error: context canceled", None),
        (GLOG + "I1124 02:00:00.303000      25 auth_store.go:136] Using file-based storage", None),
        ("Stdin closed, cleaning up...", None),
    ],
)
def test_a_line_is_taken_apart(line: str, expected: Rumour | None) -> None:
    assert read_rumour(line) == expected


def test_what_is_told_while_no_other_has_a_turn_is_of_this_one(turn: Suspicions) -> None:
    told(turn, 1, alone=True)

    assert turn.certain() == BUSY


def test_what_is_told_in_company_is_nobodys(turn: Suspicions) -> None:
    told(turn, 1, alone=False)

    assert turn.certain() is None


def test_a_refusal_for_the_quota_is_of_all_that_share_the_key(turn: Suspicions) -> None:
    told(turn, 1, QUOTA, alone=False)
    told(turn, 2, BUSY, alone=False)

    assert turn.refusal() == QUOTA
    assert turn.certain() is None


def test_a_refusal_is_not_of_who_is_known_to_wait_for_something_else(turn: Suspicions) -> None:
    told(turn, 1, QUOTA, alone=False)
    reported(turn, 2)
    turn.note_error(r'It failed. ("Error 503: \"busy\"")')

    assert turn.refusal() is None


def test_who_spoke_alone_is_known_in_company(turn: Suspicions) -> None:
    told(turn, 1, BUSY, alone=True)
    told(turn, 1, QUOTA, alone=False)
    told(turn, 2, BUSY, alone=False)

    assert turn.certain() == QUOTA


def test_an_error_step_tells_whose_it_was(turn: Suspicions) -> None:
    told(turn, 1, QUOTA, alone=False)
    told(turn, 2, BUSY, alone=False)
    reported(turn, 2)
    turn.note_error(r'It failed. ("Error 503: \"busy\"")')

    assert turn.certain() == BUSY


def test_an_error_step_of_other_words_is_no_claim(turn: Suspicions) -> None:
    told(turn, 2, alone=False)
    reported(turn, 2)
    turn.note_error("unexpected EOF")

    assert turn.certain() is None


def test_a_report_without_an_error_step_was_anothers(turn: Suspicions, clock: Clock) -> None:
    told(turn, 1, alone=True)
    reported(turn, 1)
    clock.now += SKEW + 0.1

    assert turn.certain() is None


def test_output_refutes_what_was_told_clearly_before(turn: Suspicions, clock: Clock) -> None:
    told(turn, 1, QUOTA, alone=True)
    clock.now += SKEW + 0.1

    turn.note_output()

    assert turn.certain() is None
    assert turn.refusal() is None
