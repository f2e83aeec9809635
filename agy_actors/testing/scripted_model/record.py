"""The record of a scripted model: requests, clients that disconnected, failures.

The server's thread writes, and any thread reads and waits. One condition guards everything, so a
wait ends when what it waits for happens, without polling.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from agy_actors._actors.errors import AskTimeout

if TYPE_CHECKING:
    from agy_actors.testing.scripted_model.request import ModelRequest

__all__ = ["Record"]


class Record:
    """The record of one scripted model.

    Args:
        keep: how many requests to keep, the last ones; `None` for all.
    """

    def __init__(self, keep: int | None = None) -> None:
        self._changed = threading.Condition()
        self._came = 0
        self._requests: deque[ModelRequest] = deque(maxlen=keep)
        self._gone: deque[ModelRequest] = deque(maxlen=keep)
        self._failures: list[BaseException] = []

    def came(self, request: ModelRequest) -> None:
        """Record a request."""
        with self._changed:
            self._came += 1
            self._requests.append(request)
            self._changed.notify_all()

    def went(self, request: ModelRequest) -> None:
        """Record that the client of a request disconnected before its reply ended."""
        with self._changed:
            self._gone.append(request)
            self._changed.notify_all()

    def failed(self, error: BaseException) -> None:
        """Record an error of a function of the script, or of the server."""
        with self._changed:
            self._failures.append(error)

    def reset(self) -> None:
        """Clear everything except the failures."""
        with self._changed:
            self._came = 0
            self._requests.clear()
            self._gone.clear()

    @property
    def came_so_far(self) -> int:
        """The number of requests so far, including those that are no longer kept."""
        with self._changed:
            return self._came

    @property
    def requests(self) -> tuple[ModelRequest, ...]:
        """The requests that are kept, oldest first."""
        with self._changed:
            return tuple(self._requests)

    def take_failures(self) -> list[BaseException]:
        """Return the recorded errors, each once."""
        with self._changed:
            failures, self._failures = self._failures, []
            return failures

    def wait_for_requests(self, n: int, timeout: float) -> tuple[ModelRequest, ...]:
        """Wait until `n` requests have arrived, and return those that are kept."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._came >= n, timeout):
                prompts = [request.prompt for request in self._requests]
                raise AskTimeout(
                    f"{self._came} instead of {n} requests arrived within {timeout} s: {prompts}"
                )
            return tuple(self._requests)

    def wait_for_disconnect(self, timeout: float) -> ModelRequest:
        """Wait until a client disconnects, and return its request; each once, oldest first."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._gone, timeout):
                raise AskTimeout(
                    f"no client disconnected within {timeout} s; {self._came} requests arrived"
                )
            return self._gone.popleft()
