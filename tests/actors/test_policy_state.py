"""tenacity's policies, without a call to retry."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NoReturn

import tenacity

from agy_actors import Backoff, RetryPolicy, TurnInterrupted
from agy_actors._actors.retry_state import retry_state
from agy_actors._agents.rate_limit import Pace

if TYPE_CHECKING:
    import pytest


def test_a_policy_sees_the_attempt() -> None:
    assert tenacity.wait_incrementing(start=1, increment=2)(retry_state(3)) == 5.0
    assert tenacity.stop_after_attempt(3)(retry_state(3))
    assert not tenacity.stop_after_attempt(3)(retry_state(2))


def test_states_are_independent() -> None:
    first, second = retry_state(1), retry_state(2)

    assert (first.attempt_number, second.attempt_number) == (1, 2)


def test_no_thread_local_is_made_for_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    # Freeing one costs time for each thread of the process.
    def make() -> NoReturn:
        raise AssertionError("a threading.local was made")

    monkeypatch.setattr(threading, "local", make)

    assert RetryPolicy().delay(TurnInterrupted("the agent crashed"), 1) == 0.0
    assert Backoff(wait=tenacity.wait_fixed(2.0)).delay(2) == 2.0
    assert Pace().refused(10.0, None, tenacity.wait_fixed(3.0)).held_until == 13.0
