"""The errors of `top`."""

from __future__ import annotations

from agy_actors._actors.errors import AgyActorsError

__all__ = ["InvalidAddress", "TopUnavailable", "TopUnusable"]


class TopUnusable(AgyActorsError):
    """Raised when `top` cannot run: textual is missing, or there is no terminal."""


class TopUnavailable(AgyActorsError):
    """Raised when the watched program cannot be asked; another attempt may succeed."""


class InvalidAddress(AgyActorsError):
    """Raised when an address is not that of a `serve_top`."""
