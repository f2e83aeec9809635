"""Awaits a reply in an event loop without blocking it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.deadlock import begin_wait
from agy_actors._actors.errors import DeadlockError
from agy_actors._actors.future_states import VALUE

if TYPE_CHECKING:
    from agy_actors._actors.deadlock import Wait
    from agy_actors._actors.reply import Reply

__all__ = ["await_reply"]


async def await_reply(reply: Reply) -> None:
    """Return when a future is done.

    As with asyncio's own futures, cancelling the waiter cancels the future. So does a
    deadlock.

    Raises:
        DeadlockError: what replies waits for the code that awaits.
    """
    loop = asyncio.get_running_loop()
    here = loop.create_future()
    wait: Wait | None = None

    def arrive() -> None:
        if not here.done():
            here.set_result(None)

    def arrive_from_anywhere(_: object = None) -> None:
        try:
            loop.call_soon_threadsafe(arrive)
        except RuntimeError:
            if not loop.is_closed():  # No task waits on a closed loop.
                raise

    reply.add_done_callback(arrive_from_anywhere)
    try:
        if current_caller.get() is not None:
            task = asyncio.current_task(loop)
            wait = begin_wait((reply,), None, arrive_from_anywhere, task)
        await here
        if wait is not None and wait.error is not None and not reply.done():
            raise wait.error
    except (asyncio.CancelledError, DeadlockError):
        _abandon(reply)
        raise
    finally:
        reply.remove_done_callback(arrive_from_anywhere)  # Anything may end the waiting.
        if wait is not None:
            wait.end()


def _abandon(reply: Reply) -> None:
    """Cancel a reply. If it has just come, undo the effect of its message: no asker gets it."""
    if reply.cancel():
        return
    if reply._state == VALUE and reply._about is not None:  # noqa: SLF001 (of this package)
        message, actor = reply._about  # noqa: SLF001
        undo = getattr(actor, "_undo", None)
        if undo is not None:
            undo(message, reply._result)  # noqa: SLF001
