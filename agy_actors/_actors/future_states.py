"""The states of a `ReplyFuture`."""

from __future__ import annotations

__all__ = ["CANCELLED", "ERROR", "PENDING", "STATE_NAMES", "VALUE"]

PENDING, VALUE, ERROR, CANCELLED = range(4)
STATE_NAMES = ("pending", "done", "failed", "cancelled")
