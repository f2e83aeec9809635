"""Daemon threads for blocking calls beside an actor's loop.

A stock executor has a handful of threads, and the interpreter joins them when it ends. A call that
never returns, such as a tool's, would occupy one of them for ever, and the program could not end.
Here each call has its own thread, which ends with the call or with the program.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")

__all__ = ["DAEMON_EXECUTOR"]


class _DaemonExecutor(ThreadPoolExecutor):  # asyncio accepts no other type as a loop's default.
    """Runs each call on a daemon thread of its own."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 (it belongs to the future)
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, name="agy_actors-worker", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: no thread waits for work. All loops share this one."""


DAEMON_EXECUTOR = _DaemonExecutor()
"""The default executor of every actor's loop."""
