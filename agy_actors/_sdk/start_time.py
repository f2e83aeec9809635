"""`StartTime`: limits the time of a start, and its retries on other processes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import tenacity

from agy_actors._sdk.start_errors import ProcessLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["StartTime"]

_OWN_FAULT = 3
"""How many processes may end by themselves while the same conversation is opened on them. The
conversation may be the cause, and each end interrupts turns of others. Arbitrary."""


class StartTime:
    """The time of one start. For the loop of its session, except `give_up`.

    Guarantees:

    *   The time of a start does not pass while it waits for a place on a process. So if many
        agents start at once, the last one does not fail because it waits.
    *   If the process ends before the conversation is open, the conversation is opened on another
        one, within the time that starts with its first place. One start causes the end of a few
        processes at most.

    Args:
        seconds: the time of the start, counted from when it has a process.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._left = seconds
        self._limit: asyncio.Timeout | None = None
        self._since: float | None = None
        """When it had a process, or the first process failed, on the loop's clock."""
        self._own_faults = 0
        self._given_up = False

    @contextlib.asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Limit the time of the block.

        Raises:
            TimeoutError: the time is over.
        """
        async with asyncio.timeout(self.seconds) as self._limit:
            yield

    def hold(self, waits: bool) -> None:
        """Stop the clock while the start waits for a place, and continue it afterwards."""
        if self._limit is None:
            return
        now = asyncio.get_running_loop().time()
        with contextlib.suppress(RuntimeError):  # The time has just ended.
            if waits:
                end = self._limit.when()
                if end is not None and self._since is not None:
                    self._left = end - now
                self._limit.reschedule(None)
                return
            if self._since is None:
                self._since = now
            self._limit.reschedule(now + self._left)

    def give_up(self) -> None:
        """Try no other process. Thread-safe."""
        self._given_up = True

    def on_other_processes(self) -> tenacity.AsyncRetrying:
        """Return a retryer for starts whose process ended."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._may_try_another),
            wait=tenacity.wait_exponential(multiplier=0.01, max=0.5),
            reraise=True,
        )

    def _may_try_another(self, error: BaseException) -> bool:
        if not isinstance(error, ProcessLost) or self._given_up:
            return False
        self._own_faults += not error.was_killed
        now = asyncio.get_running_loop().time()
        if self._since is None:  # The first process did not start.
            self._since = now
        return self._own_faults < _OWN_FAULT and now - self._since < self.seconds
