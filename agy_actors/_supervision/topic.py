"""`Topic`: sends each published message to all its subscribers.

Guarantees:

*   Messages that one thread publishes reach each subscriber in their order.
*   Publishing does not wait: a subscriber that is slow delays neither the publisher nor others.
    If its mailbox is full, the message is dropped for this subscriber only, and counted.
*   A subscriber that has ended is removed by death watch. A restart is not an end.

A topic's subscribers are the values of a dict. Threads add, remove and copy them without a lock:
each of these is a single call of a method of the dict.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka

from agy_actors._actors import forks
from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.arguments import check_integer, shown
from agy_actors._actors.errors import (
    ActorDeadError,
    InvalidArgument,
    MailboxFull,
)
from agy_actors._actors.not_constructible import MadeForUsers
from agy_actors._actors.process_bound import ProcessBound
from agy_actors._actors.watch import watch
from agy_actors._supervision.callback_actor import Callback
from agy_actors._supervision.event_hub import EventHub

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from agy_actors._actors.future import ReplyFuture

__all__ = ["Topic"]


class _Actor(NamedTuple):
    """An actor that subscribed."""

    ref: AsyncioActorRef
    death: ReplyFuture[Any]
    """Resolves when the actor has ended."""


class Topic(MadeForUsers, ProcessBound):
    """A name to which messages are published. Thread-safe.

    `supervisor.topic(name)` returns it. It ends with the supervisor.
    """

    _made_from = EventHub
    _call_instead = "`supervisor.topic(name)` returns one"
    _instead_of_pickling = "get it by its name in the process that has the supervisor"

    name: str
    """Its name under the supervisor."""

    def __init__(self, name: str, hub: EventHub) -> None:
        del hub  # It says that a supervisor makes this.
        self.name = name
        self._made_in = forks.generation
        self._subscribers: dict[Hashable, _Actor | Callback] = {}
        self._closed = False
        self._drops = count()
        self._dropped = 0

    def __repr__(self) -> str:
        return f"<Topic {self.name!r}, {len(self._subscribers)} subscribers>"

    @property
    def dropped(self) -> int:
        """How many messages were dropped because the mailbox of a subscribed actor was full."""
        return self._dropped

    def __len__(self) -> int:
        return len(self._subscribers)

    def __bool__(self) -> bool:
        return True

    def publish(self, message: Any) -> None:
        """Send a message to all subscribers, and do not wait.

        An actor gets it by `tell`; a function is called with it. If the supervisor has ended, this
        does nothing.

        Args:
            message: any object. All subscribers get the same one.

        Raises:
            ForkedProcessError: this process is a forked child of the supervisor's.
        """
        forks.check(self._made_in)
        for key, subscriber in self._subscribers.copy().items():
            if isinstance(subscriber, Callback):
                if not subscriber.deliver(message):
                    self._subscribers.pop(key, None)
                continue
            try:
                subscriber.ref.tell(message)
            except MailboxFull:
                self._dropped = next(self._drops) + 1  # `count` is atomic; `+=` would not be.
            except pykka.ActorDeadError:
                self._remove(key)

    def subscribe(
        self, subscriber: AsyncioActorRef | Callable[[Any], object], *, capacity: int = 1000
    ) -> None:
        """Send all later messages to an actor or a function.

        Subscribing twice is the same as subscribing once.

        Args:
            subscriber: the ref of an actor, or a function. A function is called on its own thread,
                with one message after another; its exceptions are logged.
            capacity: how many messages wait for a slow function before further ones are dropped.
                An actor's own mailbox limits messages of the turn lane.

        Raises:
            InvalidArgument: the subscriber is neither, or the capacity is not an integer >= 1.
            ActorDeadError: the supervisor has ended.
            ForkedProcessError: this process is a forked child of the supervisor's.
        """
        forks.check(self._made_in)
        capacity = check_integer("capacity", capacity, least=1)
        key = _key_of(subscriber)
        if self._closed:
            raise ActorDeadError(f"the supervisor of topic {self.name!r} has ended")
        if key in self._subscribers:
            return
        if isinstance(subscriber, AsyncioActorRef):
            added = _Actor(subscriber, watch(subscriber))
            if self._subscribers.setdefault(key, added) is added:
                added.death.add_done_callback(lambda _: self._forget(key, added))
            else:
                added.death.cancel()
        else:
            callback = Callback(subscriber, capacity)
            if self._subscribers.setdefault(key, callback) is not callback:
                callback.end()
        if self._closed:  # By another thread, meanwhile.
            self._remove(key)

    def unsubscribe(self, subscriber: AsyncioActorRef | Callable[[Any], object]) -> None:
        """Send no further messages to a subscriber. Does nothing if it is not subscribed.

        Raises:
            InvalidArgument: it is neither the ref of an actor nor a function.
            ForkedProcessError: this process is a forked child of the supervisor's.
        """
        forks.check(self._made_in)
        self._remove(_key_of(subscriber))

    def _remove(self, key: Hashable) -> ReplyFuture[bool] | None:
        subscriber = self._subscribers.pop(key, None)
        if isinstance(subscriber, _Actor):
            subscriber.death.cancel()
        elif subscriber is not None:
            return subscriber.end()
        return None

    def _forget(self, key: Hashable, actor: _Actor) -> None:
        """Remove an actor that has ended. Called on any thread."""
        if self._subscribers.get(key) is actor:
            self._subscribers.pop(key, None)

    def _close(self) -> list[ReplyFuture[bool]]:
        """End with the supervisor, and return the futures of the functions' last calls."""
        self._closed = True
        ends = [self._remove(key) for key in self._subscribers.copy()]
        return [end for end in ends if end is not None]


def _key_of(subscriber: object) -> Hashable:
    """Return the key of a subscriber in `_subscribers`.

    Raises:
        InvalidArgument: it cannot subscribe.
    """
    if isinstance(subscriber, AsyncioActorRef):
        return subscriber.actor_urn
    if not callable(subscriber):
        raise InvalidArgument(
            f"subscriber must be the ref of an actor or a function, got {shown(subscriber)}"
        )
    try:
        hash(subscriber)
    except TypeError:
        raise InvalidArgument(
            f"subscriber must be hashable, so that it can be unsubscribed, got {shown(subscriber)}"
        ) from None
    return subscriber
