"""A supervisor's background work: repeated checks, and waits.

Guarantees:

*   If such work raises, the error is logged and the work is started again. So an error never
    disables hang detection.
*   An error in one task ends neither another task nor the supervisor.
"""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from loguru import Logger

__all__ = ["Background"]

_PAUSE = 0.5
"""Seconds after which failed work is started again. Arbitrary: long enough that repeated failures
cost little."""

_FAILURES = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
"""What work may raise: everything except GeneratorExit, which ends the coroutine itself."""


class Background:
    """The background work of one supervisor. For its loop.

    Args:
        log: the supervisor's.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._tasks: dict[asyncio.Task[None], None] = {}
        """In the order of their start, which is also that of their cancellation."""
        self._failing: set[str] = set()

    def start(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine until it returns or all work is cancelled.

        Args:
            what: its description, for the log.
            work: returns the coroutine; called again if that raises.
        """
        task = asyncio.get_running_loop().create_task(self._persist(what, work))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def cancel(self) -> None:
        """Cancel all work."""
        for task in self._tasks:
            task.cancel()

    def attempt(self, what: str, action: Callable[[], object]) -> None:
        """Call a function, and log its exception, if it raises one."""
        try:
            action()
        except BaseException as error:  # noqa: BLE001 (nothing is awaited, so nothing ends us)
            self._note(what, error)
        else:
            self._failing.discard(what)

    async def _persist(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.current_task()
        assert task is not None
        while True:
            try:
                await work()
            except _FAILURES as error:
                if task.cancelling():
                    raise
                self._note(what, error)
            else:
                self._failing.discard(what)
                return
            await asyncio.sleep(_PAUSE)

    def _note(self, what: str, error: BaseException) -> None:
        # A repeated error is logged as an error once, until the work succeeds.
        level = "DEBUG" if what in self._failing else "ERROR"
        self._failing.add(what)
        self._log.log(level, "{} failed and continues: {}", what, _describe(error))


def _describe(error: BaseException) -> str:
    """Return an error's type and where it was raised. Its text may quote a configuration."""
    words = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        last = frames[-1]
        words = f"{words}, in {last.name} ({Path(last.filename).name}:{last.lineno})"
    return words
