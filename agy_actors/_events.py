"""What happens to agents, for whoever wants to know: events, and who is told of them.

Guarantees:

*   A subscriber harms nobody: it is called on a thread of its own, what it raises is
    logged, and what it is too slow for is dropped and counted.
*   Events of one agent come in the order in which they happened.
*   Nobody subscribed, nothing done: an event is not even made (`EventHub.active`).

A hub's subscribers are a tuple that its supervisor's thread alone replaces; other threads
read it as it is, so there is no lock.
"""

from __future__ import annotations

import dataclasses
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
from loguru import logger

from agy_actors._kernel import (
    AsyncioActor,
    Lane,
    MailboxFull,
    Message,
    ProcessBound,
    current_host,
    forks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._kernel import AsyncioActorRef, ReplyFuture

__all__ = [
    "AgentCrashed",
    "AgentEvent",
    "AgentFellAsleep",
    "AgentGivenUp",
    "AgentHung",
    "AgentReady",
    "AgentRestarting",
    "AgentStarted",
    "AgentStopped",
    "DeadLetter",
    "Event",
    "EventHub",
    "HarnessDied",
    "HarnessStarted",
    "QuotaHold",
    "StateNotSaved",
    "Subscription",
    "SupervisorEscalated",
    "TurnEnded",
    "TurnRetried",
    "TurnStarted",
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened under a supervisor."""

    supervisor: str
    """The name of the supervisor nearest to it."""

    at: float = dataclasses.field(default_factory=lambda: current_host().time())
    """When, in seconds since the epoch."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent(Event):
    """Something that happened to an agent."""

    agent: str
    """Its name."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentStarted(AgentEvent):
    """An incarnation of an agent is being started."""

    restarts: int
    """How many came before it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentReady(AgentEvent):
    """An agent is up, for the first time or again."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentFellAsleep(AgentEvent):
    """An agent was idle for its `idle_timeout`; its next turn wakes it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentCrashed(AgentEvent):
    """An incarnation of an agent failed."""

    error: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentHung(AgentEvent):
    """The loop of an agent does not turn. Its thread is abandoned, and the agent replaced."""

    seconds: float
    """For how long."""

    where: str
    """The lines of code that hold it up, innermost last."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentRestarting(AgentEvent):
    """An agent is to be restarted."""

    delay: float
    """After so many seconds."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentGivenUp(AgentEvent):
    """An agent failed too often: its ref is dead."""

    error: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentStopped(AgentEvent):
    """An agent has ended because it was asked to."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(AgentEvent):
    """A turn is given to the model."""

    turn: int
    """Its number in the agent's life, from 1."""

    attempt: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TurnRetried(AgentEvent):
    """A turn broke, and is given to the model once more."""

    turn: int
    attempt: int
    """The one that broke."""
    delay: float
    error: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded(AgentEvent):
    """A turn has ended."""

    turn: int
    seconds: float
    error: str | None
    """The kind of error it ended with, or `None`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HarnessStarted(AgentEvent):
    """An agent has a `localharness`."""

    pid: int | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HarnessDied(AgentEvent):
    """An agent's `localharness` ended before it was asked to."""

    pid: int | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StateNotSaved(AgentEvent):
    """Not all of an agent's conversation is saved: the disk is full, say.

    Its turns are answered as before, but those that are missing will be lost when it restarts.
    This comes once, until a turn was saved again. It also is a WARNING in the log.
    """

    path: str
    """The file or folder that cannot be written."""

    reason: str
    """Why not, such as `no space left on device`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuotaHold(Event):
    """The turn starts of an API key are held back, for its quota."""

    key: str
    """A fingerprint of the key."""

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(AgentEvent):
    """A message that was told and not asked was not handled.

    Its agent, pool or supervisor ended first, does not answer such a message, or failed to carry
    it out. `agent` names the pool or the supervisor itself, if the message was told to that.
    """

    message: str
    """The type of the message."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorEscalated(Event):
    """A child failed too often, and the supervisor fails with it: the one above decides."""

    error: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Deliver(Message[None]):
    event: Event

    lane = Lane.TURN  # The lane that is bounded.


class _Subscriber(AsyncioActor):
    """Calls a subscriber with one event after another, on a thread of its own."""

    use_daemon_thread: ClassVar[bool] = True
    stop_grace: ClassVar[float | None] = None

    def __init__(self, callback: Callable[[Any], object], capacity: int) -> None:
        super().__init__()
        self._callback = callback
        self.actor_inbox.capacity = capacity

    def on_receive(self, message: _Deliver) -> None:
        try:
            self._callback(message.event)
        except Exception:  # noqa: BLE001 (a subscriber's mistake is nobody else's)
            logger.exception("A subscriber failed at {}", type(message.event).__name__)


class Subscription(ProcessBound):
    """A callback that is told of events until it is cancelled or the supervisor ends."""

    _instead_of_pickling = "cancel it where it is; events themselves can be sent"

    def __init__(self, callback: Callable[[Any], object], capacity: int) -> None:
        actor = _Subscriber(callback, capacity)
        actor.begin()  # Not in pykka's registry: it is its supervisor's alone.
        self._ref: AsyncioActorRef = actor.actor_ref
        self._over = False
        self._drops = count()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many events were dropped because the callback was too slow."""
        forks.check(self._ref.actor_inbox.made_in)
        return self._dropped

    def deliver(self, event: Event) -> None:
        """Hand an event over. For any thread; never waits, never raises."""
        if self._over:
            return
        try:
            self._ref.tell(_Deliver(event))
        except MailboxFull:
            self._dropped = next(self._drops) + 1  # `count` is atomic; `+=` would not be.
        except pykka.ActorDeadError:
            pass  # Cancelled just now.

    def cancel(self) -> None:
        """Have the callback called no more, once it is through with what came before."""
        self.end()

    def end(self) -> ReplyFuture[bool]:
        """Cancel, and return the future of the callback's last call having ended."""
        forks.check(self._ref.actor_inbox.made_in)
        self._over = True
        return self._ref.stop(block=False)


class EventHub:
    """Tells the subscribers of a supervisor, and of all above it, of events."""

    def __init__(self, parent: EventHub | None = None) -> None:
        self._parent = parent
        self._subscriptions: tuple[Subscription, ...] = ()

    @property
    def active(self) -> bool:
        """Whether anybody would be told."""
        return bool(self._subscriptions) or (self._parent is not None and self._parent.active)

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Who is told here. Its supervisor's thread alone may change it."""
        return self._subscriptions

    def add(self, subscription: Subscription) -> None:
        """Tell one more. On the supervisor's thread."""
        self._subscriptions = (*self._subscriptions, subscription)

    def publish(self, event: Event) -> None:
        """Tell everybody. For any thread."""
        for subscription in self._subscriptions:
            subscription.deliver(event)
        if self._parent is not None:
            self._parent.publish(event)
