"""What happened at the scripted model: requests, clients that left, failures.

The server's thread writes, any thread reads and waits. All of it stands under one
condition, so that a wait is woken by what it waits for and never looks in between.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agy_actors.testing._model_request import ModelRequest

__all__ = ["Record"]


class Record:
    """The record of one scripted model.

    Args:
        keep: how many requests, the last ones, are kept; `None` for all.
    """

    def __init__(self, keep: int | None = None) -> None:
        self._changed = threading.Condition()
        self._came = 0
        self._requests: deque[ModelRequest] = deque(maxlen=keep)
        self._gone: deque[ModelRequest] = deque(maxlen=keep)
        self._failures: list[BaseException] = []

    def came(self, request: ModelRequest) -> None:
        """Note a request."""
        with self._changed:
            self._came += 1
            self._requests.append(request)
            self._changed.notify_all()

    def went(self, request: ModelRequest) -> None:
        """Note that the client of a request went away before its answer ended."""
        with self._changed:
            self._gone.append(request)
            self._changed.notify_all()

    def failed(self, error: BaseException) -> None:
        """Note what went wrong in answering."""
        with self._changed:
            self._failures.append(error)

    def reset(self) -> None:
        """Forget all but the failures."""
        with self._changed:
            self._came = 0
            self._requests.clear()
            self._gone.clear()

    @property
    def came_so_far(self) -> int:
        """How many requests there were, those not kept included."""
        with self._changed:
            return self._came

    @property
    def requests(self) -> tuple[ModelRequest, ...]:
        """The requests that are kept, oldest first."""
        with self._changed:
            return tuple(self._requests)

    def take_failures(self) -> list[BaseException]:
        """Return what went wrong in answering, each once."""
        with self._changed:
            failures, self._failures = self._failures, []
            return failures

    def wait_for_requests(self, n: int, timeout: float) -> tuple[ModelRequest, ...]:
        """Wait until there were `n` requests; return all that are kept."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._came >= n, timeout):
                prompts = [request.prompt for request in self._requests]
                raise TimeoutError(
                    f"{n} requests did not come in {timeout} s, but {self._came}: {prompts}"
                )
            return tuple(self._requests)

    def wait_for_disconnect(self, timeout: float) -> ModelRequest:
        """Wait until a client went away; return its request, each once, oldest first."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._gone, timeout):
                raise TimeoutError(
                    f"no client went away in {timeout} s; {self._came} requests came"
                )
            return self._gone.popleft()
