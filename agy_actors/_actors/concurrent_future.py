"""A `concurrent.futures.Future` beside a `ReplyFuture`."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

from agy_actors._actors.future_states import ERROR

if TYPE_CHECKING:
    from agy_actors._actors.reply import Reply

__all__ = ["twin_of"]


def twin_of(future: Reply) -> concurrent.futures.Future[Any]:
    """Return a future that is resolved with the other one; cancelling either cancels both."""
    twin: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def to_twin(_: object) -> None:
        if future.cancelled():
            twin.cancel()
            twin.set_running_or_notify_cancel()
        elif twin.set_running_or_notify_cancel():
            if future._state == ERROR:  # noqa: SLF001 (`get` would append to the traceback)
                twin.set_exception(future._result[0])  # noqa: SLF001
            else:
                twin.set_result(future._result)  # noqa: SLF001

    def from_twin(_: object) -> None:
        if twin.cancelled():
            future.cancel()

    future.add_done_callback(to_twin)
    twin.add_done_callback(from_twin)
    return twin
