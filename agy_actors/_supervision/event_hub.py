"""Events, and the subscribers that are called with them.

Guarantees:

*   A subscriber cannot disturb others: it is called on its own thread, its exceptions are logged,
    and events are dropped and counted if it is too slow.
*   Events of one agent come in the order in which they happened.
*   Without subscribers no event is created (`EventHub.active`), also after all have cancelled.

A hub's subscriptions are the keys of a dict. Threads add, remove and copy them without a lock,
also in a finalizer or a signal handler that interrupts another of these calls: each is one
call of C code that runs no Python, since subscriptions are hashed and compared by identity.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from agy_actors._actors.not_constructible import MadeForUsers
from agy_actors._actors.process_bound import ProcessBound
from agy_actors._actors.runtime import current_runtime
from agy_actors._supervision.callback_actor import Callback
from agy_actors._supervision.counts import Counts, What

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.future import ReplyFuture

__all__ = [
    "Event",
    "EventHub",
    "Subscription",
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened under a supervisor."""

    supervisor: str
    """The name of the supervisor nearest to it; empty for an actor without a supervisor."""

    at: float = dataclasses.field(default_factory=lambda: current_runtime().time())
    """When it happened, in seconds since the epoch."""


class EventHub:
    """Delivers events to the subscribers of a supervisor and of the ones above. Thread-safe."""

    def __init__(self, parent: EventHub | None = None) -> None:
        self._parent = parent
        self.counts: Counts = Counts(None if parent is None else parent.counts)
        """The exact numbers of what happened, also without subscribers."""
        self._subscriptions: dict[Subscription, None] = {}
        self._observer: Any = None

    @property
    def observer(self) -> Any:
        """What observes the work of the children here, or above; `None` if nothing does.

        The layer of the children defines its type (`_agents/turn_observer.py`). Unlike a
        subscriber, it is called by the actors themselves, so it misses nothing.
        """
        if self._observer is not None or self._parent is None:
            return self._observer
        return self._parent.observer

    @observer.setter
    def observer(self, observer: Any) -> None:
        self._observer = observer

    @property
    def has_observer(self) -> bool:
        """Whether something observes the children from here, and not only from above."""
        return self._observer is not None

    @property
    def active(self) -> bool:
        """Whether there are subscribers, here or above."""
        return bool(self._subscriptions) or (self._parent is not None and self._parent.active)

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """The subscriptions here, oldest first."""
        return tuple(self._subscriptions.copy())

    def add(self, subscription: Subscription) -> None:
        """Add a subscription."""
        self._subscriptions[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription, if it is here."""
        self._subscriptions.pop(subscription, None)

    def publish(self, event: Event) -> None:
        """Deliver an event to all subscribers, here and above."""
        for subscription in self._subscriptions.copy():
            subscription._deliver(event)  # noqa: SLF001 (one concept in two classes)
        if self._parent is not None:
            self._parent.publish(event)


class Subscription(MadeForUsers, ProcessBound):
    """A callback that gets events until it is cancelled or the supervisor ends."""

    _made_from = EventHub
    _call_instead = "`supervisor.subscribe(...)` and `agy_actors.subscribe(...)` return one"
    _instead_of_pickling = "cancel it where it is; events themselves can be sent"

    def __init__(self, callback: Callable[[Any], object], capacity: int, hub: EventHub) -> None:
        self._hub = hub
        counts = hub.counts
        self._callback = Callback(
            callback, capacity, on_drop=lambda: counts.add(What.EVENTS_DROPPED)
        )

    @property
    def dropped(self) -> int:
        """How many events were dropped because the callback was too slow."""
        return self._callback.dropped

    def _deliver(self, event: Event) -> None:
        """Hand an event over. Thread-safe; never waits or raises."""
        if not self._callback.deliver(event):
            self._hub.remove(self)

    def cancel(self) -> None:
        """Stop calling the callback, after the events that came before."""
        self.end()

    def end(self) -> ReplyFuture[bool]:
        """Cancel, and return a future of the end of the callback's last call."""
        self._callback.check_process()
        self._hub.remove(self)
        return self._callback.end()
