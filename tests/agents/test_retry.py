"""When a failed turn is retried: only the policy. Real turns are in test_turns."""

from __future__ import annotations

from typing import Any

import pytest
import tenacity
from google.antigravity import types as sdk

from agy_actors import (
    InvalidConfig,
    ModelError,
    QuotaExceeded,
    RetryPolicy,
    TurnCancelled,
    TurnInterrupted,
    TurnStalled,
    TurnTimeout,
)

PAID = (sdk.ToolCall(name="pay"),)
EVERYTHING = RetryPolicy(retry=tenacity.retry_if_exception_type(Exception))


@pytest.mark.parametrize(
    ("error", "attempt", "delay"),
    [
        (TurnInterrupted("x"), 1, 0.0),
        (TurnInterrupted("x"), 2, 0.0),
        (TurnInterrupted("x"), 3, None),
        (TurnInterrupted("x", tool_calls=PAID), 1, None),
        (TurnStalled("x"), 1, None),
        (TurnTimeout("x"), 1, None),
        (ModelError("x", status=503), 1, None),
        (QuotaExceeded("x"), 1, None),
    ],
)
def test_by_default_a_turn_is_retried_only_after_a_crash_without_side_effects(
    error: Any, attempt: int, delay: float | None
) -> None:
    assert RetryPolicy().delay(error, attempt) == delay


def test_policies_of_tenacity_compose() -> None:
    policy = RetryPolicy(
        attempts=10,
        retry=tenacity.retry_if_exception_type(TurnStalled)
        | tenacity.retry_if_exception(lambda error: getattr(error, "status", None) == 503),
        wait=tenacity.wait_fixed(1) + tenacity.wait_incrementing(start=0, increment=2),
        stop=tenacity.stop_after_delay(60) | tenacity.stop_after_attempt(4),
    )

    assert [policy.delay(TurnStalled("x"), attempt) for attempt in (1, 2, 3, 4)] == [1, 3, 5, None]
    assert policy.delay(ModelError("x", status=503), 1, elapsed=59.0) == 1
    assert policy.delay(ModelError("x", status=503), 1, elapsed=60.0) is None
    assert policy.delay(ModelError("x", status=500), 1) is None


def test_a_quota_error_waits_at_least_for_the_services_retry_time() -> None:
    assert EVERYTHING.delay(QuotaExceeded("x", retry_after=7.0), 1) == 7.0
    assert EVERYTHING.delay(QuotaExceeded("x"), 1) == 0.0


def test_a_turn_with_a_tool_call_is_retried_only_if_the_policy_allows_it() -> None:
    allowing = RetryPolicy(after_tool_calls=True)

    assert RetryPolicy().delay(TurnInterrupted("x", tool_calls=PAID), 1) is None
    assert allowing.delay(TurnInterrupted("x", tool_calls=PAID), 1) == 0.0


def test_a_cancelled_turn_is_never_retried() -> None:
    assert EVERYTHING.delay(TurnCancelled("x"), 1) is None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"attempts": 0}, "attempts must be an integer >= 1"),
        ({"retry": TurnInterrupted("x")}, "retry must be a policy of tenacity"),
        ({"wait": 5}, "wait must be a policy of tenacity"),
        ({"stop": 60.0}, "stop must be a policy of tenacity"),
    ],
)
def test_an_invalid_policy_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidConfig, match=match):
        RetryPolicy(**options)
