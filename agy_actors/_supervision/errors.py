"""The errors that supervisors raise."""

from __future__ import annotations

from agy_actors._actors.errors import AgyActorsError

__all__ = ["ActorStartError"]


class ActorStartError(AgyActorsError):
    """Raised when the first start of an actor fails. Nothing of the actor is left."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self._retryable = retryable

    @property
    def retryable(self) -> bool:  # type: ignore[override] # known for each error alone
        """Whether the same start may succeed later: not if the configuration is at fault."""
        return self._retryable
