"""`Timers`: the timers of one incarnation of an actor, and its receive timeout.

Guarantees, given that all calls but `withdraw` are made on the actor's thread:

*   A timer that was cancelled or replaced delivers no further message: its message that still waits
    in the mailbox is withdrawn.
*   The timers and the receive timeout end with the incarnation: the next one gets no message from
    them, not even one whose handling was cut off.
*   A timer that repeats has at most one message in the mailbox. If the actor is slow, ticks are
    skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pykka

from agy_actors._actors.arguments import check_optional_seconds, check_seconds, shown
from agy_actors._actors.blocking_warning import running_loop
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.errors import InvalidArgument, MailboxFull
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.message import ReceiveTimeout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable

    from agy_actors._actors.mailbox import Mailbox
    from agy_actors._actors.message_handler import MessageHandler

__all__ = ["Timers"]

_FEW_TIMERS = 16
"""How many timers are kept before finished ones are dropped. Arbitrary."""

_WITHDRAWN: ReplyFuture[Any] = ReplyFuture()
"""The reply of a message that was withdrawn. It is cancelled, so the message is not handled."""
_WITHDRAWN.cancel()

_RECEIVE_TIMEOUT = ReceiveTimeout()


class TimedActor(Protocol):
    """The part of an actor that is used here."""

    actor_inbox: Mailbox

    def on_dead_letter(self, message: Any) -> None: ...


class _Timer:
    __slots__ = ("envelope", "every", "handle", "message")

    def __init__(self, message: Any, every: float | None) -> None:
        self.message = message
        self.every = every
        self.handle: asyncio.TimerHandle | None = None
        """The next call; `None` if no call is scheduled."""
        self.envelope: Envelope | None = None
        """The last message that was put into the mailbox."""


class Timers:
    """Sends messages to an actor at later times.

    Args:
        actor: the actor. Its `_take_over` may still replace its mailbox.
        messages: handles its messages, on the loop that the timers use.
    """

    def __init__(self, actor: TimedActor, messages: MessageHandler) -> None:
        self._actor = actor
        self._messages = messages
        self._timers: dict[Hashable, _Timer] = {}
        self._drop_at = _FEW_TIMERS
        self._is_over = False
        self._silence: asyncio.TimerHandle | None = None
        """The next check whether messages came, if there is a receive timeout."""
        self._last_message = 0.0
        self._receive_timeout = _Timer(_RECEIVE_TIMEOUT, None)
        self._in_hand: list[Envelope] = []
        """Messages that were handled when their timer sent the next one, or was cancelled."""

    def start(self, key: Hashable, message: Any, after: float, every: float | None) -> None:
        """See `AsyncioActor.start_timer`."""
        after = check_seconds("after", after, zero=True, infinite=False)
        if every is not None:
            every = check_seconds("every", every, infinite=False)
        self._check_key(key)
        loop = self._loop()
        self.cancel(key)
        if self._is_over:
            return
        self._drop_those_that_are_over()
        self._timers[key] = timer = _Timer(message, every)
        timer.handle = loop.call_later(after, self._tick, timer)

    def cancel(self, key: Hashable) -> None:
        """See `AsyncioActor.cancel_timer`."""
        self._check_key(key)
        self._loop()
        timer = self._timers.pop(key, None)
        if timer is not None:
            self._cancel(timer)

    def set_receive_timeout(self, seconds: float | None) -> None:
        """See `AsyncioActor.set_receive_timeout`."""
        seconds = check_optional_seconds("seconds", seconds)
        loop = self._loop()
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
            self._withdraw(self._receive_timeout)
        if seconds is None or seconds == float("inf") or self._is_over:
            self._messages.listen(None)
            return
        self._note_message()
        self._messages.listen(self._note_message)
        self._silence = loop.call_later(seconds, self._look_for_silence, seconds)

    def end(self, *, keep_turns: bool = False) -> None:
        """End all timers. Their messages are withdrawn.

        Args:
            keep_turns: whether messages in the turn lane stay there.
        """
        self._is_over = True
        if not self._timers and self._silence is None:
            return  # As in most actors.
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        for timer in self._timers.values():
            if timer.handle is not None:
                timer.handle.cancel()
                timer.handle = None
        self.withdraw(keep_turns=keep_turns)

    def withdraw(self, *, keep_turns: bool = False) -> None:
        """Withdraw the messages of the timers that wait. Callable from any thread."""
        for timer in [*list(self._timers.values()), self._receive_timeout]:
            self._withdraw(timer, keep_turns=keep_turns)

    def has_sent(self, envelope: object) -> bool:
        """Return whether a message is one of the timers'. For those that wait or are handled.

        Callable from any thread.
        """
        timers = [*list(self._timers.values()), self._receive_timeout]
        sent = [*(timer.envelope for timer in timers), *self._in_hand]
        return any(own is envelope for own in sent)

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = self._messages.loop
        if loop is None or running_loop() is not loop:
            raise RuntimeError(
                "an actor's timers are set on the actor's own thread, in `on_start` or while it"
                " handles a message; elsewhere use `ref.tell_later`"
            )
        return loop

    @staticmethod
    def _check_key(key: Hashable) -> None:
        try:
            hash(key)
        except TypeError:
            raise InvalidArgument(f"key must be hashable, got {shown(key)}") from None

    def _tick(self, timer: _Timer) -> None:
        timer.handle = None
        if not self._messages.open:
            return  # The incarnation was abandoned, and its loop runs again.
        if timer.every is not None:
            timer.handle = self._messages.loop.call_later(timer.every, self._tick, timer)
            if self._waits(timer):
                return
        self._put(timer)

    def _put(self, timer: _Timer) -> None:
        self._keep_in_hand(timer)
        envelope = timer.envelope = Envelope(timer.message)
        try:
            self._actor.actor_inbox.put(envelope)
        except MailboxFull:
            self._actor.on_dead_letter(envelope.message)
        except pykka.ActorDeadError:
            pass  # It is about to end.

    def _waits(self, timer: _Timer, *, keep_turns: bool = False) -> bool:
        """Return whether the last message of a timer waits in the mailbox."""
        envelope = timer.envelope
        if envelope is None:
            return False
        waiting = self._actor.actor_inbox.control.copy()
        if not keep_turns:
            waiting += self._actor.actor_inbox.waiting_turns()
        return any(item is envelope for item in waiting)  # Not `in`: messages may define `==`.

    def _cancel(self, timer: _Timer) -> None:
        if timer.handle is not None:
            timer.handle.cancel()
            timer.handle = None
        self._withdraw(timer)
        self._keep_in_hand(timer)

    def _keep_in_hand(self, timer: _Timer) -> None:
        """Remember the last message of a timer if it is being handled."""
        sent = self._in_hand if timer.envelope is None else [*self._in_hand, timer.envelope]
        self._in_hand = [envelope for envelope in sent if self._messages.is_handling(envelope)]

    def _withdraw(self, timer: _Timer, *, keep_turns: bool = False) -> None:
        if timer.envelope is not None and self._waits(timer, keep_turns=keep_turns):
            timer.envelope.reply_to = _WITHDRAWN

    def _drop_those_that_are_over(self) -> None:
        if len(self._timers) >= self._drop_at:
            for timer in self._timers.values():
                self._keep_in_hand(timer)
            self._timers = {
                key: timer
                for key, timer in self._timers.items()
                if timer.handle is not None or self._waits(timer)
            }
            self._drop_at = max(_FEW_TIMERS, 2 * len(self._timers))

    # The receive timeout.

    def _note_message(self) -> None:
        self._last_message = self._messages.loop.time()

    def _look_for_silence(self, seconds: float) -> None:
        if not self._messages.open:
            return
        loop = self._messages.loop
        left = self._last_message + seconds - loop.time()
        if left <= 0 and self._actor.actor_inbox.empty():
            self._put(self._receive_timeout)
        self._silence = loop.call_later(
            left if left > 0 else seconds, self._look_for_silence, seconds
        )
