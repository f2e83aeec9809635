"""Functions for the actor that replies: they resolve a future, and describe it.

They are functions and not methods, so that a `ReplyFuture` has only methods for its users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._actors.future import ReplyFuture

if TYPE_CHECKING:
    from collections.abc import Callable

    import pykka

    from agy_actors._actors.deadlock import Need

__all__ = ["about", "fail", "resolve", "set_about", "set_needs"]


def resolve(future: pykka.Future[Any] | None, value: object) -> bool:
    """Resolve a future of any kind, if there is one and it is not resolved already.

    Returns whether this was the first to do so.
    """
    if isinstance(future, ReplyFuture):
        return future._resolve(value)  # noqa: SLF001 (of this package)
    if future is not None:
        future.set(value)
    return future is not None


def fail(future: pykka.Future[Any] | None, error: BaseException) -> bool:
    """Resolve a future of any kind with an error, if there is one that is not resolved.

    Returns whether this was the first to do so.
    """
    if isinstance(future, ReplyFuture):
        return future._fail(error)  # noqa: SLF001 (of this package)
    if future is not None:
        future.set_exception((type(error), error, error.__traceback__))
    return future is not None


def about(future: ReplyFuture[Any]) -> tuple[object, object] | None:
    """Return the message and the actor that a future is the reply of, if they are known."""
    return future._about  # noqa: SLF001 (of this package)


def set_about(future: ReplyFuture[Any], message: object, actor: object) -> None:
    """Set the message and the actor that a future is the reply of."""
    future._about = (message, actor)  # noqa: SLF001 (of this package)


def set_needs(future: ReplyFuture[Any], find: Callable[[], Need]) -> None:
    """Set the function that returns the reply's need, on any thread. See `deadlock`."""
    future._needs = find  # noqa: SLF001 (of this package)
