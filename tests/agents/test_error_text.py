"""The interpretation of the harness's texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors import ModelError, QuotaExceeded
from agy_actors._sdk.error_text import ModelFailure, diagnose, model_error, redact
from agy_actors._sdk.error_words import RETRIED_STEP, shorten, tidy


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('HTTP request failed with status 401: {"error": {"message": "NO"}}', 401),
        ("executor run failed: Error 503, Message: BUSY, Status: UNAVAILABLE", 503),
        ("Encountered retryable api error. retrying in 4s. Error (): Error 429, Message: x", 429),
        ("read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", None),
        ("dial tcp 127.0.0.1:1: connect: connection refused", None),
        ("unexpected EOF", None),
    ],
)
def test_a_failure_of_the_service_is_recognised(text: str, status: int | None) -> None:
    failure = diagnose(text)

    assert failure is not None
    assert failure.status == status


@pytest.mark.parametrize("text", ["", "all is well", "status 200", "the tool said 500"])
def test_other_texts_are_not_a_failure_of_the_service(text: str) -> None:
    assert diagnose(text) is None


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ('"retryDelay": "12s"', 12.0),
        ("retryDelay:0.5s", 0.5),
        ("Please retry in 12s.", 12.0),
        ("Please retry in 1m30s.", 90.0),
        ("try again in 2h", 7200.0),
        ("Please try again after 1.5 s", 1.5),
        ("Retry-After: 7", 7.0),
        ("retry later", None),
        ("retry in a while", None),
    ],
)
def test_the_time_until_a_retry_is_read(words: str, seconds: float | None) -> None:
    failure = diagnose(f"Error 429, Message: quota. {words}")

    assert failure is not None
    assert failure.retry_after == seconds


def test_a_429_is_a_quota_error_with_its_time() -> None:
    error = model_error(ModelFailure(429, 12.0, "quota"), "agent 'a'", text="half")

    assert isinstance(error, QuotaExceeded)
    assert (error.status, error.retry_after, error.text, error.retryable) == (
        429,
        12.0,
        "half",
        True,
    )
    assert "retry in 12 s" in str(error)


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (401, False), (500, True), (503, True), (None, True)]
)
def test_an_error_says_whether_the_same_request_may_succeed_later(
    status: int | None, retryable: bool
) -> None:
    error = model_error(ModelFailure(status, None, "words"), "agent 'a'")

    assert isinstance(error, ModelError)
    assert (error.status, error.retryable) == (status, retryable)


def test_a_secret_that_begins_with_another_leaves_nothing() -> None:
    assert redact("key: secret-and-more", ["secret", "secret-and-more"]) == "key: [redacted]"


@given(st.text(), st.text(min_size=6), st.text())
def test_no_secret_survives(before: str, secret: str, after: str) -> None:
    redacted = redact(f"{before}{secret}{after}", [secret])

    assert secret not in redacted.replace("[redacted]", "\0")


@given(st.text())
def test_any_text_can_be_diagnosed(text: str) -> None:
    failure = diagnose(f"Error 429, Message: {text}")

    assert failure is not None
    assert failure.status == 429
    assert len(failure.message) < 5000


@given(st.text())
def test_a_short_form_is_one_line(text: str) -> None:
    assert len(shorten(text).splitlines()) <= 1


REFUSED = 'Post "http://127.0.0.1:1/v1": dial tcp 127.0.0.1:1: connect: connection refused'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'There was a network issue. ("agent executor error: model unreachable: doRequest: '
            + f"{REFUSED}: doRequest: {REFUSED}".replace('"', '\\"')
            + '")',
            f"model unreachable: doRequest: {REFUSED}",
        ),
        (
            f'{RETRIED_STEP}It ended. ("Error 503, Details: []: Error 503, Details: []")',
            "Error 503, Details: []",
        ),
        (
            "Encountered retryable api error. retrying in 6.46s. Error (It is away.): BUSY: BUSY",
            "BUSY",
        ),
        (f"agent executor error: failed: {REFUSED}", f"failed: {REFUSED}"),
        ("a: a: a: a", "a"),
        ("one: two", "one: two"),
        ("", ""),
    ],
)
def test_a_failure_is_stated_once_without_the_layers_around_it(text: str, expected: str) -> None:
    assert tidy(text) == expected


@given(st.text(alphabet='a: ("\\'))
def test_the_text_does_not_become_longer(text: str) -> None:
    assert len(tidy(text)) <= len(text)


def test_a_long_message_of_a_service_is_not_cut() -> None:
    words = " ".join(f"word{number}" for number in range(300))

    failure = diagnose(f'It failed. ("Error 429, Message: {words}: Error 429, Message: {words}")')

    assert failure is not None
    assert failure.message == f"Error 429, Message: {words}"
