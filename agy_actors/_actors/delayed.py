"""Messages that are told to an actor later: `AsyncioActorRef.tell_later`.

They belong to the mailbox, so they survive restarts of the actor. The loop that is attached to the
mailbox has their timers. If no loop is attached, the next one starts the timers.

Guarantee: each message is delivered, cancelled, or returned by `take_all` when the mailbox closes,
and exactly one of these happens. The thread that removes it from `_waiting`, by one call, decides.
`Mailbox` delivers and closes under its lock, so a message that was removed for delivery finds it
open.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agy_actors._actors.runtime import current_runtime

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agy_actors._actors.envelope import Envelope

__all__ = ["DelayedMessage", "DelayedMessages"]


class DelayedMessage:
    """A message that is told later. `ref.tell_later` returns it."""

    __slots__ = ("_due", "_envelope", "_messages", "_timer")

    def __init__(self, messages: DelayedMessages, envelope: Envelope, seconds: float) -> None:
        self._messages = messages
        self._envelope = envelope
        self._due = messages.now() + seconds
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None

    def cancel(self) -> bool:
        """Do not send the message. Thread-safe; it never waits.

        Returns:
            `True` if it is not sent; `False` if it was sent before, is a dead letter, or was
            cancelled before.
        """
        return self._messages.cancel(self)

    def __repr__(self) -> str:
        return f"<DelayedMessage {type(self._envelope.message).__name__}>"


class DelayedMessages:
    """The messages that are put into one mailbox later.

    Args:
        deliver: puts a message into the mailbox if `take` returns `True`. Called on the attached
            loop.
    """

    # ruff: noqa: SLF001 (a message and its collection are one concept in two classes)

    def __init__(self, deliver: Callable[[DelayedMessage, Envelope], object]) -> None:
        self._deliver = deliver
        self.now = current_runtime().monotonic
        """Returns the time of the messages' runtime, in seconds."""
        self._waiting: dict[DelayedMessage, None] = {}

    def add(self, message: DelayedMessage) -> None:
        """Add a message, without starting its timer."""
        self._waiting[message] = None

    def take(self, message: DelayedMessage) -> bool:
        """Remove a message, and return whether it was there. Callable from any thread."""
        try:
            del self._waiting[message]
        except KeyError:
            return False
        return True

    def take_all(self) -> list[Envelope]:
        """Remove all messages and return them. Callable from any thread."""
        return [message._envelope for message in list(self._waiting) if self.take(message)]

    def cancel(self, message: DelayedMessage) -> bool:
        """See `DelayedMessage.cancel`."""
        if not self.take(message):
            return False
        timer = message._timer
        if timer is not None:
            loop, handle = timer
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                loop.call_soon_threadsafe(handle.cancel)
        return True

    def arm_soon(self, message: DelayedMessage, loop: asyncio.AbstractEventLoop) -> None:
        """Start the timer of a message on a loop. Callable from any thread."""
        with contextlib.suppress(RuntimeError):  # It is closed: the next loop starts the timer.
            loop.call_soon_threadsafe(self._arm, message, loop)

    def arm_all(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the timers of all messages on a loop. Call it on the loop's thread."""
        for message in list(self._waiting):
            self._arm(message, loop)

    def _arm(self, message: DelayedMessage, loop: asyncio.AbstractEventLoop) -> None:
        if message not in self._waiting or (message._timer and message._timer[0] is loop):
            return
        seconds = max(0.0, message._due - self.now())
        message._timer = (loop, loop.call_later(seconds, self._deliver, message, message._envelope))
