"""Calls a user's function with events or messages, one after another, on its own thread."""

from __future__ import annotations

import dataclasses
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
from loguru import logger

from agy_actors._actors import forks
from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.errors import ForkedProcessError, MailboxFull
from agy_actors._actors.message import Lane, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.future import ReplyFuture

__all__ = ["Callback"]


@dataclasses.dataclass(frozen=True, slots=True)
class _Deliver(Message[None]):
    thing: Any

    lane = Lane.TURN  # The lane that is bounded.


class _CallbackActor(AsyncioActor):
    """Calls a function with one item after another."""

    use_daemon_thread: ClassVar[bool] = True
    _reports_failures: ClassVar[bool] = True
    stop_grace: ClassVar[float | None] = None

    def __init__(self, function: Callable[[Any], Any], capacity: int) -> None:
        super().__init__()
        self._function = function
        self.actor_inbox.capacity = capacity

    def on_receive(self, message: _Deliver) -> None:
        try:
            self._function(message.thing)
        except BaseException:  # noqa: BLE001 (a user's error must not end the actor)
            logger.exception("A subscriber failed at {}", type(message.thing).__name__)


class Callback:
    """A user's function that is called on its own thread. Thread-safe.

    Its exceptions are logged. If it is too slow, items are dropped and counted.

    Args:
        function: called with each item.
        capacity: how many items wait for it before further ones are dropped.
        on_drop: called after an item was dropped, on the thread that delivered it.
    """

    def __init__(
        self,
        function: Callable[[Any], object],
        capacity: int,
        *,
        on_drop: Callable[[], object] = lambda: None,
    ) -> None:
        actor = _CallbackActor(function, capacity)
        actor._begin()  # noqa: SLF001 # Not in pykka's registry: it belongs to its supervisor.
        self._ref: AsyncioActorRef = actor.actor_ref
        self._on_drop = on_drop
        self._drops = count()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items were dropped because the function was too slow."""
        self.check_process()
        return self._dropped

    def check_process(self) -> None:
        """Check that it belongs to this process.

        Raises:
            ForkedProcessError: this process is a forked child.
        """
        forks.check(self._ref.actor_inbox.made_in)

    def deliver(self, thing: object) -> bool:
        """Schedule a call, and return whether that was possible. Never waits or raises."""
        try:
            self._ref.tell(_Deliver(thing))
        except MailboxFull:
            self._dropped = next(self._drops) + 1  # `count` is atomic; `+=` would not be.
            self._on_drop()
        except (pykka.ActorDeadError, ForkedProcessError):
            return False  # It was ended just now, or in the process that this one was forked from.
        return True

    def end(self) -> ReplyFuture[bool]:
        """End it after the calls for all earlier items, and return a future of the end."""
        return self._ref.stop(block=False)
