"""`as_completed`: yields several replies in the order in which they come."""

from __future__ import annotations

import queue
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from agy_actors._actors.arguments import check_optional_seconds, shown
from agy_actors._actors.blocking import Arrivals
from agy_actors._actors.errors import AskTimeout, InvalidArgument
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.runtime import current_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["as_completed"]

T = TypeVar("T")


def as_completed(
    futures: Iterable[ReplyFuture[T]], *, timeout: float | None = None
) -> Iterator[ReplyFuture[T]]:
    """Yield futures as they are done. Futures that are done already come first.

    Args:
        futures: the futures; one given twice is yielded once.
        timeout: the seconds, from this call on, within which all must be done.

    Raises:
        AskTimeout: not all were done in time. The ones that were have been yielded.
        DeadlockError: the remaining futures can never be done: their actors wait for this code.
        InvalidArgument: the timeout is not a number of seconds >= 0, or `futures` holds something
            other than `ReplyFuture`s.
    """
    timeout = check_optional_seconds("timeout", timeout, zero=True)
    if not isinstance(futures, Iterable):
        raise InvalidArgument(f"futures must be a sequence of ReplyFutures, got {shown(futures)}")
    pending: dict[ReplyFuture[T], None] = {}  # A set with the same order in every run.
    for future in futures:
        if not isinstance(future, ReplyFuture):
            raise InvalidArgument(f"futures must be ReplyFutures, got {shown(future)} among them")
        pending[future] = None
    arrived: Arrivals[ReplyFuture[T]] = Arrivals()
    for future in pending:
        future.add_done_callback(arrived.put)
    return _yield_arrivals(pending, arrived, timeout)


def _yield_arrivals(
    pending: dict[ReplyFuture[T], None],
    arrived: Arrivals[ReplyFuture[T]],
    timeout: float | None,
) -> Iterator[ReplyFuture[T]]:
    total = len(pending)
    runtime = current_runtime()
    deadline = None if timeout is None else runtime.monotonic() + timeout
    try:
        while pending:
            left = None if deadline is None else max(0.0, deadline - runtime.monotonic())
            try:
                future = arrived.get(left, pending)
            except queue.Empty:
                raise AskTimeout(
                    f"{len(pending)} of {total} replies did not come within {timeout:g} seconds"
                ) from None
            pending.pop(future, None)
            yield future
    finally:
        for future in pending:
            future.remove_done_callback(arrived.put)
