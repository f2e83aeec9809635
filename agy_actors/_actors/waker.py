"""`Waker`: a mailbox uses it to wake the actor that drains it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio
    import contextvars
    from collections.abc import Callable

__all__ = ["Waker"]


class Waker(NamedTuple):
    """The function that drains a mailbox, and its loop."""

    loop: asyncio.AbstractEventLoop
    drain: Callable[[], None]
    context: contextvars.Context

    def wake(self) -> None:
        """Schedule a drain of the mailbox. Callable from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.drain, context=self.context)
        except RuntimeError:
            # The loop was closed since the mailbox's lock was left. An actor closes or detaches its
            # mailbox before its loop, so the message was answered or waits for a successor.
            if not self.loop.is_closed():
                raise
