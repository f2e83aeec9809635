"""Cancels the calls of an agent's tools when their turn ends.

google-antigravity 0.1.22 runs each tool call in its own task, and cancels these tasks only when it
closes the conversation. So a call of a cancelled turn continues. The harness no longer waits for
its result, and ignores a later result.

Guarantees:

*   At every kind of end of a turn, its calls are cancelled. No call starts between the cancellation
    of a turn and the next turn that is sent.
*   A cancelled call sends no result.
*   The SDK's task of a cancelled call ends at once. The end of the conversation waits for these
    tasks, so a tool that catches the cancellation and continues cannot delay it.

Only coroutines can be cancelled. A plain function that runs on a thread continues to its end, and
its result is dropped. The same is true of a coroutine that catches `CancelledError`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from loguru import logger

from agy_actors._sdk.call_outcomes import Outcome, capture_await

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ToolCalls"]

_CLEANUP = 1.0
"""Seconds for a cancelled tool to clean up in `finally` blocks before the caller of the turn gets
its reply. Arbitrary: closing a connection takes less."""


@dataclasses.dataclass(eq=False, slots=True)
class _Call:
    """A tool call."""

    tool: str
    """The tool's name."""

    task: asyncio.Task[Outcome]

    over: asyncio.Future[None]
    """Done when its result is no longer needed."""

    def cancel(self) -> None:
        """Cancel it once. A second cancellation would interrupt its clean-up."""
        if not self.over.done():
            self.over.set_result(None)
            self.task.cancel()


class ToolCalls:
    """The tool calls of one conversation. For the agent's loop."""

    def __init__(self) -> None:
        self._running: set[_Call] = set()
        """The calls that have not ended, including cancelled ones."""
        self._turn_over = False

    def begin_turn(self) -> None:
        """Allow calls again."""
        self._turn_over = False

    async def call(self, tool: str, function: Callable[[], Awaitable[Any]]) -> Outcome:
        """Call a tool, and return its outcome, also if it raises.

        Args:
            tool: the name of the tool.
            function: returns the awaitable of the call, which runs in its own task.

        Raises:
            asyncio.CancelledError: the turn has ended, or the caller was cancelled. The call is
                cancelled, and may not have ended yet.
        """
        if self._turn_over:
            raise asyncio.CancelledError
        loop = asyncio.get_running_loop()
        call = _Call(tool, loop.create_task(capture_await(function())), loop.create_future())
        self._running.add(call)
        call.task.add_done_callback(lambda _: self._running.discard(call))
        either: list[asyncio.Future[Any]] = [call.task, call.over]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            call.cancel()
            raise
        if call.over.done():
            raise asyncio.CancelledError  # This ends the SDK's task without sending a result.
        return call.task.result()

    def end_turn(self) -> None:
        """Cancel all calls, and allow no call before the next turn."""
        self._turn_over = True
        self._cancel()

    def _cancel(self) -> None:
        for call in self._running:
            call.cancel()

    async def finish(self) -> None:
        """Cancel all calls, and give them a moment to end. Raises nothing.

        Calls that continue are logged. New calls may start afterwards, in a turn that the harness
        itself starts.
        """
        self._cancel()
        if not self._running:
            return
        await asyncio.wait([call.task for call in self._running], timeout=_CLEANUP)
        for call in self._running:
            if not call.task.done():
                logger.warning(
                    "Tool {!r} was cancelled with its turn {:g} s ago and still runs: it catches"
                    " CancelledError, or takes long to clean up",
                    call.tool,
                    _CLEANUP,
                )
