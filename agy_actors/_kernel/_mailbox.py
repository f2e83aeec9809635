"""An actor's private mailbox: two lanes, bounded, closing atomically.

Guarantees, each with the assumption it needs:

*   Nothing is lost between `put` and `close`. Both run under one lock; a put either
    comes before the close, and is then in what `close` returns, or it raises the
    error that the close named.
*   Messages of one sender leave each lane in the order in which it put them: each
    lane is a deque with one consumer.
*   No wake-up is lost. `take` goes to sleep under the lock, only when both lanes have
    nothing to give; a put under the same lock sees the sleep and ends it. `attach`
    always schedules a first drain, so what was put while nobody drained is found.
*   A put never waits, and may interrupt itself: signal handlers and finalizers put
    too, in the middle of another put of the same thread. Hence a re-entrant lock,
    and the wake-up (a system call) outside it.
*   In a forked child the mailbox is closed, and its lock is free: see `forks`.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from pykka._envelope import Envelope as AnyEnvelope
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._kernel import forks
from agy_actors._kernel._errors import MailboxFull
from agy_actors._kernel._future import ReplyFuture
from agy_actors._kernel._message import TURN, Message, takes_turn

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pykka import Future

    from agy_actors._kernel._callers import Frame

__all__ = ["DEFAULT_CAPACITY", "Envelope", "Mailbox"]

DEFAULT_CAPACITY = 1000
"""Messages in the turn lane before `MailboxFull`. An arbitrary number: large enough
for a burst, small enough that a caller learns of a stuck agent before memory does."""


class Envelope(AnyEnvelope[Any]):
    """A message on its way, with whoever waits for its reply."""

    __slots__ = ["context", "frames", "history"]

    context: contextvars.Context | None
    """The context variables of whoever sent it, if it takes a turn."""

    frames: tuple[Frame, ...]
    """The actors that wait, directly or not, for this message's reply."""

    history: Any
    """What the actors that took the message up noted of it, or `None`. Who hands a message on
    in another envelope hands this on with it."""

    def __init__(
        self,
        message: Any,
        reply_to: Future[Any] | None = None,
        frames: tuple[Frame, ...] = (),
        context: contextvars.Context | None = None,
        history: Any = None,
    ) -> None:
        # Not super().__init__(): one is made for every message.
        self.message = message
        self.reply_to = reply_to
        self.frames = frames
        self.context = context
        self.history = history


class Mailbox:
    """The inbox of one actor, across all its incarnations.

    `put` is for every thread; the rest is for the actor that owns the mailbox.

    Args:
        capacity: how many messages the turn lane holds; more raise `MailboxFull`.
            The control lane has no bound: it is never held up by a turn.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox needs a capacity of at least 1, got {capacity}")
        self.capacity = capacity
        self.made_in = forks.generation
        """The process that the actor runs in: see `forks`."""
        self.owner = "an actor"
        self._lock = threading.RLock()
        # Its one consumer may pop from it. It holds envelopes, and bare messages that
        # nobody waits for: a tell is the most frequent thing there is.
        self.control: deque[Any] = deque()
        self._turns: deque[AnyEnvelope[Any]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: Callable[[], None] | None = None
        self._context: contextvars.Context | None = None
        self._asleep = False
        self._closed: Callable[[], Exception] | None = None
        self._takes_stops = True
        forks.give_up_in_children(self)

    def give_up(self) -> None:
        """Close the mailbox in a forked child, whatever its state was in the parent."""
        # Another thread may have held the lock at the fork, or hold it at the next one.
        self._lock = threading.RLock()
        self._closed = lambda: forks.error(self.made_in)
        self._takes_stops = False

    def __len__(self) -> int:
        return len(self.control) + len(self._turns)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return (
            f"<Mailbox of {self.owner}: {state}, {len(self.control)} control,"
            f" {len(self._turns)} of {self.capacity} turns>"
        )

    @property
    def turns_waiting(self) -> int:
        """How many messages wait in the turn lane."""
        return len(self._turns)

    @property
    def closed(self) -> bool:
        """Whether puts are refused."""
        return self._closed is not None

    def put(self, envelope: AnyEnvelope[Any], /) -> None:
        """Append a message to its lane, and wake the actor if it sleeps.

        Raises:
            MailboxFull: the turn lane is at its capacity.
            ForkedProcessError: this process is a forked child of the actor's.
            Exception: the error that the mailbox was closed with.
        """
        message = envelope.message
        turn = isinstance(message, Message) and message.lane is TURN  # `takes_turn`, inlined.
        if turn and type(envelope) is Envelope and envelope.context is None:
            envelope.context = contextvars.copy_context()  # Of the sender: this is its thread.
        with self._lock:
            closed = self._closed
            if closed is None or (self._takes_stops and is_stop(message)):
                if not turn:
                    self.control.append(envelope)
                elif len(self._turns) < self.capacity or self._forget_abandoned():
                    self._turns.append(envelope)
                else:
                    raise MailboxFull(
                        f"{self.owner} has {len(self._turns)} messages waiting, as many as its"
                        " mailbox holds; wait for some of them, or ask another actor"
                    )
                if not self._asleep:
                    return
                self._asleep = False
                closed, loop, drain, context = None, self._loop, self._drain, self._context
            else:
                loop = drain = context = None
        if closed is not None:
            raise closed()  # Outside the lock: it is the actor's own code.
        _wake(loop, drain, context)

    def post(self, message: object, /) -> None:
        """Append a control message that nobody waits for: `put`, but for the envelope.

        Args:
            message: anything but a turn, an envelope, or one of pykka's own messages.

        Raises:
            ForkedProcessError: this process is a forked child of the actor's.
            Exception: the error that the mailbox was closed with.
        """
        with self._lock:
            closed = self._closed
            if closed is None:
                self.control.append(message)
                if not self._asleep:
                    return
                self._asleep = False
            loop, drain, context = self._loop, self._drain, self._context
        if closed is not None:
            raise closed()  # Outside the lock: it is the actor's own code.
        _wake(loop, drain, context)

    def get(self) -> AnyEnvelope[Any]:
        """Take the next message, of either lane, without waiting.

        Raises:
            queue.Empty: there is none.
        """
        with self._lock:
            for lane in (self.control, self._turns):
                if lane:
                    return _in_envelope(lane.popleft())
        raise queue.Empty

    def empty(self) -> bool:
        """Return whether no message waits in either lane."""
        return not self.control and not self._turns

    def take(self, *, turns: bool) -> Any:
        """Take the next envelope or bare message, or `None`: then the mailbox sleeps.

        Args:
            turns: whether a turn may be taken too, if no control message waits.
        """
        if self.control:  # The one consumer is here: what is there stays there.
            return self.control.popleft()
        with self._lock:
            if self.control:
                return self.control.popleft()
            if turns and self._turns:
                return self._turns.popleft()
            self._asleep = True
            return None

    def attach(self, loop: asyncio.AbstractEventLoop, drain: Callable[[], None]) -> None:
        """Have `drain` called on `loop` now, and whenever a put ends a sleep.

        It is called in (a copy of) this call's context, never in that of a sender: else
        an actor would take itself for whoever woke it.
        """
        context = contextvars.copy_context()
        with self._lock:
            self._loop, self._drain, self._context = loop, drain, context
            self._asleep = False
        loop.call_soon(drain, context=context)

    def detach(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Keep what comes until a successor attaches.

        Args:
            loop: the loop to detach from; nothing happens if another has attached since.
        """
        with self._lock:
            if loop is None or loop is self._loop:
                self._loop = self._drain = self._context = None
                self._asleep = False

    def rouse(self) -> None:
        """Drain again: a turn may be taken now.

        For any thread: a hung incarnation that comes back may do it to its successor.
        """
        with self._lock:
            if not self._asleep:
                return
            self._asleep = False
            loop, drain, context = self._loop, self._drain, self._context
        _wake(loop, drain, context)

    def put_back(self, envelope: AnyEnvelope[Any]) -> bool:
        """Return a taken message to the front of its lane, over its capacity if need be.

        Returns:
            Whether the mailbox took it; a closed one does not.
        """
        turn = takes_turn(envelope.message)
        with self._lock:
            if self._closed is not None:
                return False
            (self._turns if turn else self.control).appendleft(envelope)
        self.rouse()
        return True

    def _forget_abandoned(self) -> bool:
        """Make room in the turn lane: nobody waits for what was abandoned."""
        waiting = [envelope for envelope in self._turns if not _is_abandoned(envelope)]
        self._turns.clear()
        self._turns.extend(waiting)
        return len(waiting) < self.capacity

    def close(
        self,
        error: Callable[[], Exception],
        *,
        keep_turns: bool = False,
        take_stops: bool = False,
    ) -> list[AnyEnvelope[Any]]:
        """Refuse every put from now on, and hand over what was still waiting.

        Args:
            error: makes the error that a later put raises.
            keep_turns: leave waiting turns in their lane, to be taken yet.
            take_stops: go on taking requests to stop, until the next close without it:
                who asks for the end while the actor ends is told when it has ended.

        Returns:
            The messages that nobody will take, oldest first within each lane.
        """
        with self._lock:
            if self._closed is None:
                self._closed = error
            self._takes_stops = take_stops
            left = [*map(_in_envelope, self.control), *(() if keep_turns else self._turns)]
            self.control.clear()
            if not keep_turns:
                self._turns.clear()
            return left


def _in_envelope(item: Any) -> AnyEnvelope[Any]:
    return item if isinstance(item, AnyEnvelope) else Envelope(item)


def _is_abandoned(envelope: AnyEnvelope[Any]) -> bool:
    reply_to = envelope.reply_to
    return isinstance(reply_to, ReplyFuture) and reply_to.cancelled()


def is_stop(message: object) -> bool:
    """Tell whether a message is pykka's request to stop."""
    return isinstance(message, _ActorStop)


def _wake(
    loop: asyncio.AbstractEventLoop | None,
    drain: Callable[[], None] | None,
    context: contextvars.Context | None,
) -> None:
    if loop is None or drain is None:
        return
    try:
        loop.call_soon_threadsafe(drain, context=context)
    except RuntimeError:
        # The loop was closed since the lock was left. An actor closes or detaches its
        # mailbox before its loop, so the message was answered or waits for a successor.
        if not loop.is_closed():
            raise
