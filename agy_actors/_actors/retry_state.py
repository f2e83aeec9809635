"""The argument for tenacity's policies, without a call or a sleep."""

from __future__ import annotations

import tenacity

__all__ = ["retry_state"]

_RETRYING = tenacity.Retrying()
"""A part of each state that is never called. All states share one, because each has a
`threading.local`, and CPython visits all threads of the process when it frees one (1.4 ms with
2,500 threads)."""


def retry_state(attempt: int) -> tenacity.RetryCallState:
    """Return the state after an attempt.

    Args:
        attempt: its number, from 1.
    """
    state = tenacity.RetryCallState(_RETRYING, None, (), {})
    state.attempt_number = attempt
    return state
