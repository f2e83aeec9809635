"""The error for a command line that cannot work."""

from __future__ import annotations

from agy_actors import AgyActorsError

__all__ = ["UsageProblem"]


class UsageProblem(AgyActorsError):
    """Raised when an option or a file cannot be used; the message says what to do instead."""
