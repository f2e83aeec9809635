"""Protocols: the part of a `ReplyFuture` that the modules that wait for replies use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from agy_actors._actors.runtime import Gate

__all__ = ["ComputedReply", "Reply"]


class Reply(Protocol):
    """A reply that has come or will come. See `ReplyFuture`, which implements it."""

    _state: int
    _result: Any
    _about: tuple[object, object] | None
    _needs: Callable[[], Any] | None

    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def cancel(self) -> bool: ...
    def add_done_callback(self, callback: Callable[[Any], object]) -> None: ...
    def remove_done_callback(self, callback: Callable[[Any], object]) -> None: ...


class ComputedReply(Reply, Protocol):
    """A reply that may be computed from others. See `derived_future`."""

    _gates: list[Gate] | None

    @property
    def _computation(self) -> Any: ...

    @property
    def _lock(self) -> AbstractContextManager[Any]: ...
    def _come(self, timeout: float | None) -> bool: ...
    def _pass(self, gate: Gate, timeout: float | None) -> bool: ...
    def _finish(self, state: int, result: Any, *, by_hook: bool = False) -> bool: ...
    def _failed_with(self, error: BaseException) -> bool: ...
