"""Events of actors without a supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._actors.arguments import check_integer, shown
from agy_actors._actors.errors import InvalidArgument
from agy_actors._actors.unsupervised import dead_letter_listeners
from agy_actors._supervision.event_hub import EventHub, Subscription
from agy_actors._supervision.events import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._supervision.event_hub import Event

__all__ = ["subscribe"]

_hub = EventHub()


def subscribe(callback: Callable[[Event], object], *, capacity: int = 1000) -> Subscription:
    """Call a function with the events of actors that have no supervisor. Thread-safe.

    The only such event is a `DeadLetter`: a message that was told to an `AsyncioActor` which ended
    before it handled the message. `agent` is the actor's name; `supervisor` is empty. Events of
    supervised actors go to the subscribers of their supervisor (`SupervisorRef.subscribe`).

    Args:
        callback: called with each `Event` on its own thread, one after another. Its exceptions are
            logged.
        capacity: how many events wait for it before further ones are dropped and counted.

    Returns:
        The subscription. It ends when it is cancelled, or with the program.

    Raises:
        InvalidArgument: the callback cannot be called, or the capacity is not an integer >= 1.
    """
    if not callable(callback):
        raise InvalidArgument(f"a subscriber must be a function of an event, got {shown(callback)}")
    capacity = check_integer("capacity", capacity, least=1)
    subscription = Subscription(callback, capacity, _hub)
    _hub.add(subscription)
    return subscription


def _publish_dead_letter(actor: str, message: object) -> None:
    if _hub.active:
        _hub.publish(DeadLetter(supervisor="", agent=actor, message=type(message).__name__))


dead_letter_listeners[_publish_dead_letter] = None
