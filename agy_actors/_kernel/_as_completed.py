"""Several replies, in the order in which they come."""

from __future__ import annotations

import queue
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from agy_actors._kernel._arguments import check_optional_seconds, shown
from agy_actors._kernel._errors import AskTimeout, InvalidArgument
from agy_actors._kernel._future import ReplyFuture
from agy_actors._kernel._host import current_host
from agy_actors._kernel._waiting import Arrivals

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["as_completed"]

T = TypeVar("T")


def as_completed(
    futures: Iterable[ReplyFuture[T]], *, timeout: float | None = None
) -> Iterator[ReplyFuture[T]]:
    """Yield futures as they are done, those that are done already first.

    Args:
        futures: the futures; one given twice is yielded once.
        timeout: the seconds, from this call on, until the last one must be done.

    Raises:
        AskTimeout: not all were done in time; those that were have been yielded.
        InvalidArgument: the timeout is not a number of seconds from 0, or something that was
            given is not a `ReplyFuture`.
    """
    timeout = check_optional_seconds("timeout", timeout, zero=True)
    if not isinstance(futures, Iterable):
        raise InvalidArgument(f"futures are a sequence of ReplyFutures, got {shown(futures)}")
    pending: dict[ReplyFuture[T], None] = {}  # A set whose order does not differ by run.
    for future in futures:
        if not isinstance(future, ReplyFuture):
            raise InvalidArgument(f"futures are ReplyFutures, got {shown(future)} among them")
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
    host = current_host()
    deadline = None if timeout is None else host.monotonic() + timeout
    try:
        while pending:
            left = None if deadline is None else max(0.0, deadline - host.monotonic())
            try:
                future = arrived.get(left)
            except queue.Empty:
                raise AskTimeout(
                    f"{len(pending)} of {total} replies did not come within {timeout:g} seconds"
                ) from None
            pending.pop(future, None)
            yield future
    finally:
        for future in pending:
            future.remove_done_callback(arrived.put)
