"""Helpers for the tests of supervision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors import Backoff

if TYPE_CHECKING:
    import threading

    from tenacity import RetryCallState


def long_backoff(reached: threading.Event) -> Backoff:
    """Make a backoff that does not end within a test, and reports its begin."""

    def wait(_: RetryCallState) -> float:
        reached.set()
        return 600.0

    return Backoff(wait=wait)
