"""`Mailbox`: an actor's inbox of two lanes, which is bounded and closes atomically.

Guarantees, each with its assumption:

*   No message is lost between `put` and `close`. Both run under one lock: if a put comes before the
    close, `close` returns its message; otherwise the put raises the error of the close.
*   Messages of one sender leave each lane in the order in which they were put: each lane is a deque
    with one consumer.
*   No wake-up is lost. `take` starts the sleep under the lock, only when it finds no message in
    either lane; a put under the same lock sees the sleep and ends it. `attach` sleeps only if
    no message waits; otherwise it schedules a first drain.
*   A put never waits, and may interrupt any method here, on the same thread, between any two of its
    instructions, because signal handlers and finalizers send messages too. So the lock is
    re-entrant, and the wake-up (a system call) is outside it. Each method says under "Re-entrancy"
    why it stays correct. Only `put` and `post` may interrupt: they append to the lanes, may remove
    abandoned turns, end the sleep and schedule a drain. An unnecessary drain does no harm.
*   An evicted incarnation takes no further message: its lanes were replaced.
*   In a forked child the mailbox is closed, and its lock is free: see `forks`.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from agy_actors._actors import forks
from agy_actors._actors.delayed import DelayedMessage, DelayedMessages
from agy_actors._actors.envelope import STOP, Envelope, in_envelope, is_abandoned, is_stop
from agy_actors._actors.errors import InvalidArgument, MailboxFull
from agy_actors._actors.message import TURN, Message, takes_turn
from agy_actors._actors.waker import Waker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pykka._envelope import Envelope as AnyEnvelope

__all__ = ["DEFAULT_CAPACITY", "Envelope", "Mailbox", "is_stop"]

DEFAULT_CAPACITY = 1000
"""The most messages in the turn lane. Arbitrary: enough for a burst; few for a stuck agent."""


class Mailbox:
    """The inbox of one actor, across all its incarnations.

    `put` is thread-safe; the other methods are for the actor that owns the mailbox. The turn lane
    holds `capacity` messages; the control lane has no bound.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if capacity < 1:
            raise InvalidArgument(f"capacity must be an integer >= 1, got {capacity}")
        self.capacity = capacity
        self.made_in = forks.generation
        """The process that the actor runs in: see `forks`."""
        self.actor_name = "an actor"
        self._lock = threading.RLock()
        # Only its consumer pops from it. It holds envelopes, and told messages without one.
        self.control: deque[Any] = deque()
        self._turns: deque[AnyEnvelope[Any]] = deque()
        self._waker: Waker | None = None
        """Wakes the actor; `None` while no loop is attached."""
        self._asleep = False
        self._closed: Callable[[], Exception] | None = None
        self._takes_stops = True
        self._delayed: DelayedMessages | None = None
        forks.give_up_in_children(self)

    def give_up(self) -> None:
        """Close the mailbox in a forked child, in whichever state it was in the parent."""
        # Another thread may have held the lock at the fork, or hold it at the next one.
        self._lock = threading.RLock()
        self._closed = lambda: forks.error(self.made_in)
        self._takes_stops = False

    def __len__(self) -> int:
        return len(self.control) + len(self._turns)

    def __repr__(self) -> str:
        holds = f"{len(self.control)} control, {len(self._turns)} of {self.capacity} turns"
        return f"<Mailbox of {self.actor_name}: {'closed' if self._closed else 'open'}, {holds}>"

    @property
    def turns_waiting(self) -> int:
        """How many messages wait in the turn lane, without one that a put is about to refuse."""
        with self._lock:
            return len(self._turns)

    @property
    def closed(self) -> bool:
        """Whether puts are refused."""
        return self._closed is not None

    def has_stop(self, kinds: tuple[type, ...] = STOP, *, sleep: bool = False) -> bool:
        """Return whether a request to stop waits. With `sleep`, the next put drains.

        Re-entrancy: the sleep begins first, so a put that interrupts is seen or ends the sleep.
        """
        with self._lock:
            self._asleep = self._asleep or sleep
            waiting = list(self.control)  # The consumer pops without the lock: see `take`.
        return any(isinstance(getattr(item, "message", None), kinds) for item in waiting)

    def put(self, envelope: AnyEnvelope[Any], /) -> None:
        """Append a message to its lane, and wake the actor if it sleeps.

        Raises:
            MailboxFull: the turn lane is at its capacity.
            ForkedProcessError: this process is a forked child of the actor's.
            Exception: the error that the mailbox was closed with.

        Re-entrancy: a message is appended by one call, before anything is decided about it. A turn
        beyond the capacity removes abandoned turns one by one, or itself, so the lane is never
        longer than its capacity when the puts have returned. The sleep ends after the message is
        there; if an interrupting put ended it, the actor is woken twice. Ctrl-C prevents none.
        """
        message = envelope.message
        turn = isinstance(message, Message) and message.lane is TURN  # `takes_turn`, inlined.
        if turn and type(envelope) is Envelope and envelope.context is None:
            envelope.note_sender()  # This is its thread.
        waker = None
        try:
            with self._lock:
                closed = self._closed
                if closed is None or (self._takes_stops and is_stop(message)):
                    closed = None
                    if turn:
                        self._turns.append(envelope)
                        if len(self._turns) > self.capacity:
                            self._make_room(envelope)
                    else:
                        self.control.append(envelope)
                    if not self._asleep:
                        return
                    waker = self._waker
                    self._asleep = False
        finally:
            if waker is not None:
                waker.wake()
        if closed is not None:
            raise closed()  # Outside the lock: it calls the actor's code.

    def post(self, message: object, /) -> None:
        """Append a told control message, without an envelope.

        Args:
            message: anything but a turn, an envelope, or one of pykka's own messages.

        Raises:
            ForkedProcessError: this process is a forked child of the actor's.
            Exception: the error that the mailbox was closed with.

        Re-entrancy: as `put`, of a control message.
        """
        waker = None
        try:
            with self._lock:
                closed = self._closed
                if closed is None:
                    self.control.append(message)
                    if not self._asleep:
                        return
                    waker = self._waker
                    self._asleep = False
        finally:
            if waker is not None:
                waker.wake()
        if closed is not None:
            raise closed()  # Outside the lock: it calls the actor's code.

    def put_later(self, envelope: Envelope, seconds: float) -> DelayedMessage:
        """Put a message after some seconds, beyond the lane's capacity if necessary. See `delayed`.

        Raises:
            Exception: the error that the mailbox was closed with.
        """
        if takes_turn(envelope.message):
            envelope.note_sender()  # This is its thread.
        with self._lock:
            closed, waker = self._closed, self._waker
            delayed = self._delayed = self._delayed or DelayedMessages(self.deliver)
            message = DelayedMessage(delayed, envelope, seconds)
            if closed is None:
                delayed.add(message)
        if closed is not None:
            raise closed()  # Outside the lock: it calls the actor's code.
        if waker is not None:  # Otherwise the next loop that is attached starts the timer.
            delayed.arm_soon(message, waker.loop)
        return message

    def deliver(self, message: DelayedMessage, envelope: Envelope) -> None:
        """Put a delayed message, unless it was cancelled. Re-entrancy: one call."""
        with self._lock:
            if self._delayed is None or not self._delayed.take(message):
                return
            (self._turns if takes_turn(envelope.message) else self.control).append(envelope)
        self.rouse()

    def get(self) -> AnyEnvelope[Any]:
        """Take the next message, of either lane, without waiting.

        Raises:
            queue.Empty: no message waits.

        Re-entrancy: a lane that is not empty stays so until the one call that takes from it.
        """
        with self._lock:
            for lane in (self.control, self._turns):
                if lane:
                    return in_envelope(lane.popleft())
        raise queue.Empty

    def empty(self) -> bool:
        """Return whether no message waits in either lane."""
        return not self.control and not self._turns

    def take(self, *, turns: bool, by: asyncio.AbstractEventLoop | None = None) -> Any:
        """Take the next envelope or bare message, or `None`: then the mailbox sleeps.

        Args:
            turns: whether it may take a turn, if no control message waits.
            by: the calling loop. It gets `None` if it is no longer attached.

        Re-entrancy: the sleep begins first, so a put that interrupts is seen or ends the sleep.
        """
        with self._lock:
            if by is not None and (self._waker is None or self._waker.loop is not by):
                return None
            self._asleep = True
            if self.control:
                self._asleep = False
                return self.control.popleft()
            if turns and self._turns:
                self._asleep = False
                return self._turns.popleft()
            return None

    def attach(self, loop: asyncio.AbstractEventLoop, drain: Callable[[], None]) -> None:
        """Schedule `drain` on `loop` if a message waits, and whenever a put ends a sleep.

        It runs in a copy of this call's context, never in that of a sender. Re-entrancy: the
        sleep begins first, so a put that interrupts is seen or ends the sleep.
        """
        context = contextvars.copy_context()
        with self._lock:
            self._waker = Waker(loop, drain, context)
            delayed = self._delayed
            self._asleep = True
            if not self.empty():
                self._asleep = False
                loop.call_soon(drain, context=context)
        if delayed is not None:
            delayed.arm_all(loop)

    def detach(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Keep new messages until the next incarnation attaches.

        Args:
            loop: the loop to detach from. If another one has attached since, nothing changes.

        Re-entrancy: messages of an interrupting put stay for the next incarnation.
        """
        with self._lock:
            if loop is None or self._waker is None or loop is self._waker.loop:
                self._waker = None
                self._asleep = False

    def evict(self) -> None:
        """Detach an incarnation that hangs, which may be about to take a message.

        Thread-safe. When this returns, it may have taken one message; it takes no other.

        Re-entrancy: puts that interrupt append to the new lane; one call puts the rest before them.
        """
        with self._lock:
            # It takes from the control lane without the lock, so it keeps an empty one.
            old, self.control = self.control, deque()
            moved: list[Any] = []
            with contextlib.suppress(IndexError):
                while True:
                    moved.append(old.popleft())
            self.control.extendleft(reversed(moved))
            self._waker = None
            self._asleep = False

    def rouse(self) -> None:
        """Drain again, because a turn may be taken now.

        Thread-safe. Re-entrancy: an interrupting put may wake the actor, too.
        """
        waker = None
        try:
            with self._lock:
                if not self._asleep:
                    return
                waker = self._waker
                self._asleep = False
        finally:
            if waker is not None:
                waker.wake()

    def waiting_turns(self) -> deque[AnyEnvelope[Any]]:
        """Return the turns that wait. Thread-safe. Re-entrancy: one call."""
        with self._lock:
            return self._turns.copy()

    def withdraw(self, envelope: AnyEnvelope[Any]) -> bool:
        """Remove a turn, and return whether it was there. Re-entrancy: one call."""
        with self._lock, contextlib.suppress(ValueError):
            self._turns.remove(envelope)
            return True
        return False

    def insert_turn(self, envelope: AnyEnvelope[Any], *, behind: int) -> bool:
        """Insert a turn behind a number of turns with waiting askers. Re-entrancy: one call."""
        place = 0
        with self._lock:
            if self._closed is not None:
                return False
            with contextlib.suppress(IndexError):  # Fewer turns have an asker that waits.
                while behind:
                    behind -= not is_abandoned(self._turns[place])
                    place += 1
            self._turns.insert(place, envelope)
        self.rouse()
        return True

    def put_back(self, envelope: AnyEnvelope[Any]) -> bool:
        """Return a taken message to the front of its lane, beyond its capacity if necessary.

        Returns:
            Whether the mailbox accepted it; a closed one does not.

        Re-entrancy: one call, at the front, where no put inserts.
        """
        turn = takes_turn(envelope.message)
        with self._lock:
            if self._closed is not None:
                return False
            (self._turns if turn else self.control).appendleft(envelope)
        self.rouse()
        return True

    def _make_room(self, envelope: AnyEnvelope[Any]) -> None:
        """Remove abandoned turns, or else the one that was just appended.

        Re-entrancy: an interrupting put may remove some first.

        Raises:
            MailboxFull: there were no abandoned turns.
        """
        for waiting in self._turns.copy():
            if waiting is not envelope and is_abandoned(waiting):
                self.withdraw(waiting)
        if len(self._turns) > self.capacity:
            self.withdraw(envelope)
            raise MailboxFull(
                f"{self.actor_name} has {len(self._turns)} messages waiting, as many as its mailbox"
                " holds; wait for some of them, or ask another actor"
            )

    def close(
        self,
        error: Callable[[], Exception],
        *,
        keep_turns: bool = False,
        take_stops: bool = False,
    ) -> list[AnyEnvelope[Any]]:
        """Refuse later puts, and return the messages that still wait.

        Args:
            error: makes the error that a later put raises.
            keep_turns: leave waiting turns in their lane, where they can still be taken.
            take_stops: accept requests to stop until a close without it: they wait for the end.

        Returns:
            The remaining messages, oldest first within each lane, then the delayed ones.

        Re-entrancy: it refuses puts before it removes messages. A request to stop that interrupts
        and is still accepted is returned with the others, or stays in its lane.
        """
        with self._lock:
            if self._closed is None:
                self._closed = error
            self._takes_stops = take_stops
            left: list[AnyEnvelope[Any]] = []
            while self.control:
                with contextlib.suppress(IndexError):  # An incarnation may take the last one.
                    left.append(in_envelope(self.control.popleft()))
            while self._turns and not keep_turns:
                left.append(self._turns.popleft())
            if self._delayed is not None:
                left += self._delayed.take_all()
            return left
