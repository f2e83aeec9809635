"""`MisuseError`: the error of the testing kit."""

from __future__ import annotations

from agy_actors._actors.errors import AgyActorsError

__all__ = ["MisuseError"]


class MisuseError(AgyActorsError, RuntimeError):
    """Raised when a part of the testing kit is used in a wrong way. The message says what to do."""
