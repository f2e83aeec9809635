"""`OwnerActor`: an actor that owns children: a supervisor or a pool.

Its `lifecycle` manages the children. This class receives messages, and answers those that
supervisors and pools have in common.

Guarantee: an error in handling a told message does not end the actor. A mistake in a `tell` must
not end its children.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pykka

from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.arguments import check_integer, shown
from agy_actors._actors.errors import AgyActorsError, InvalidArgument, InvalidConfig, UnknownMessage
from agy_actors._actors.incarnation import Outcome
from agy_actors._actors.lifeline import DeathReason
from agy_actors._actors.message import find_handler
from agy_actors._supervision import supervisor_messages as messages
from agy_actors._supervision.child_lifecycle import ChildLifecycle
from agy_actors._supervision.counts import What
from agy_actors._supervision.event_hub import Subscription
from agy_actors._supervision.events import DeadLetter
from agy_actors._supervision.owner_ref import OwnerRef
from agy_actors._supervision.restart_message import RestartAgent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agy_actors._supervision.child import Child
    from agy_actors._supervision.child_observer import ChildObserver
    from agy_actors._supervision.family import Family
    from agy_actors._supervision.restart_policy import Backoff
    from agy_actors._supervision.supervisor_context import SupervisorContext

__all__ = ["OwnerActor"]

_LAST_EVENTS = 1.0
"""Seconds for subscribers to handle the last events. Arbitrary. After that, a blocking subscriber
is abandoned."""


class OwnerActor(AsyncioActor):
    """An actor that owns children.

    Args:
        name: its name under the supervisor above.
        family: the state of its children for `restart_logic`.
        backoff: how long to wait before a restart.
        hang_timeout: the seconds after which a child that does not respond is replaced; `None`
            for never.
        context: the objects that it shares with the supervisor above.
        handlers: the messages that it answers beside those of every owner.
        observer: its functions are called at events of its children.
    """

    use_daemon_thread: ClassVar[bool] = True  # The exit hook of supervisors ends it in order.
    _reports_failures: ClassVar[bool] = True

    stop_grace: ClassVar[float | None] = 0.0
    """0 seconds: a stop ends children that are still starting, and does not wait for them."""

    noun: ClassVar[str] = "supervisor"
    """Its name in texts."""

    _ref_type: ClassVar[type[OwnerRef]] = OwnerRef

    def __init__(
        self,
        *,
        name: str,
        family: Family,
        backoff: Backoff,
        hang_timeout: float | None,
        context: SupervisorContext,
        handlers: Mapping[type, Callable[[Any, Any], Any]],
        observer: ChildObserver | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.context = context
        self._actor_ref = self._ref_type(self)
        self.actor_inbox.actor_name = str(self)
        self._owner_urns = context.owners
        self.lifecycle = ChildLifecycle(
            self,
            family=family,
            backoff=backoff,
            hang_timeout=hang_timeout,
            context=context,
            observer=observer,
        )
        self._hub = self.lifecycle.hub
        self._log = self.lifecycle.log
        self._handlers = {**_HANDLERS, **handlers}

    def __str__(self) -> str:
        return f"{self.noun} {self.name!r}" if hasattr(self, "name") else super().__str__()

    @property
    def actor_ref(self) -> OwnerRef:
        """The actor's ref."""
        return cast("OwnerRef", self._actor_ref)

    @property
    def turns_queued(self) -> int:
        """How many turns wait here for a child. Callable from any thread."""
        return 0

    @property
    def owners_of_children(self) -> tuple[str, ...]:
        """The URNs of the actors whose end ends a child of this actor."""
        return (*self.context.owners, self.actor_urn)

    @property
    def reply_to(self) -> pykka.Future[Any] | None:
        """The reply to the message that is handled; `None` if the message was told."""
        return None if self._messages.handling is None else self._messages.handling.reply_to

    def dead_error(self) -> Exception:
        error = self.context.kinds.dead_error(f"{self} has ended")
        error.__cause__ = self._cause
        return error

    def caller_name(self) -> str:
        return str(self)

    def note_cause(self, error: Exception) -> None:
        """Use an error as the cause of the errors for asks after the end."""
        self._cause = error

    # Its start and its end.

    def on_start(self) -> None:
        self.lifecycle.start()

    async def on_stop(self) -> None:  # type: ignore[override] # or async
        await self.lifecycle.end_all()
        above = self.context.reporter
        if above is None:
            await self.context.kinds.stop()
        ends: list[Any] = [subscription.end() for subscription in self._hub.subscriptions]
        if above is None:
            ends += self.context.kinds.stop_last()
        ends += self.stop_last()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EVENTS):
                for end in ends:
                    await end

    def stop_last(self) -> list[Any]:
        """End actors that are in use until the children end; return futures to wait for."""
        return []

    def _begin_stop(self, envelope: Any) -> None:
        self.lifecycle.end_drain()  # A stop does not wait for turns, not even during a drain.
        super()._begin_stop(envelope)

    def _after_loop(self) -> None:
        above = self.context.reporter
        if above is None:
            self.context.kinds.clean_up()
        if self._failed_with is not None:
            self.actor_stopped.die(DeathReason.GIVEN_UP, self._failed_with)
        super()._after_loop()
        if above is not None:
            self._outcome = Outcome.ENDED
            above.gone(self)

    # Messages.

    def on_receive(self, message: Any) -> Any:
        self.lifecycle.reports.take_all()
        told = self.reply_to is None
        try:
            response = self._handle_message(message)
        except BaseException as error:
            if not told:
                raise
            self.drop_told(message, error)
            return None
        if told and isinstance(response, Coroutine):
            return self._contained(message, response)
        return response

    def _handle_message(self, message: Any) -> Any:
        handler = find_handler(self._handlers, message)
        if handler is None:
            raise self.context.kinds.unknown_message(self, message, self._handlers)
        return handler(self, message)

    async def _contained(self, message: Any, response: Coroutine[Any, Any, Any]) -> None:
        try:
            await response
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 (no asker waits, and the children need us)
            self.drop_told(message, error)

    def on_dead_letter(self, message: Any) -> None:
        kind = self.kind_of(message)
        self._log.warning("{} ended before it handled a {}", self, kind)
        self._publish_dead_letter(kind)

    def drop_told(self, message: Any, error: BaseException) -> None:
        """Report an error in handling a told message. The actor continues. Thread-safe."""
        kind = self.kind_of(message)
        if isinstance(error, AgyActorsError):  # The message is the cause.
            # Other errors may quote a configuration, and with it an API key.
            quotable = isinstance(error, UnknownMessage | InvalidArgument)
            words = f"{type(error).__name__}{f': {error}' if quotable else ''}"
            self._log.warning("A {} that was told to {} is dropped: {}", kind, self, words)
        else:
            self._log.error("A {} told to {} failed: {}", kind, self, type(error).__name__)
        self._publish_dead_letter(kind)

    def _publish_dead_letter(self, kind: str) -> None:
        self._hub.counts.add(What.DEAD_LETTERS)
        if self._hub.active:
            self._hub.publish(DeadLetter(supervisor=self.name, agent=self.name, message=kind))

    def kind_of(self, message: object) -> str:
        """Return the name of a message's type, for events and log lines."""
        return type(message).__name__

    # Children.

    def find_child(self, wanted: str | AsyncioActorRef) -> Child | None:
        """Return a child by its name or its ref; `None` if it is a ref that has ended.

        Raises:
            InvalidConfig: it is not a child.
        """
        children = self.lifecycle.children
        if isinstance(wanted, AsyncioActorRef):
            name = self.lifecycle.names.get(wanted.actor_urn)
            if name is not None:
                return children[name]
            if not wanted.is_alive():
                return None
            raise InvalidConfig(f"{wanted} is not a child of {self}")
        named = children.get(wanted) if isinstance(wanted, str) else None
        if named is None:
            known = ", ".join(map(repr, children)) or "none"
            raise InvalidConfig(f"{self} has no agent {wanted!r}; it has {known}")
        return named

    def _shut_down_child(self, message: messages.ShutdownAgent) -> Coroutine[Any, Any, None] | None:
        # Not a coroutine function: the end begins before the next message is handled.
        child = self.find_child(message.agent)
        if child is None:
            return None
        self.lifecycle.end(child, drain=message.drain)
        return self._wait_for_end(child.ended)

    def _restart_child(self, message: RestartAgent) -> None:
        child = self.find_child(message.agent)
        if child is not None and not self.lifecycle.is_ending and not child.is_leaving:
            self.lifecycle.restart(child)

    def _return_child(self, message: messages.ReturnChild) -> None:
        child = self.find_child(message.child)
        if child is not None and not child.claims.shared:
            self.lifecycle.end(child)

    def _subscribe(self, message: messages.Subscribe) -> Subscription:
        if not callable(message.callback):
            raise InvalidConfig(
                f"a subscriber must be a function of an event, got {shown(message.callback)}"
            )
        capacity = check_integer("capacity", message.capacity, least=1, error=InvalidConfig)
        subscription = Subscription(message.callback, capacity, self._hub)
        self._hub.add(subscription)
        return subscription

    def _observe(self, message: messages.Observe) -> None:
        if message.observer is not None and self._hub.has_observer:
            raise InvalidConfig(
                f"{self} is observed already; close its instrumentation before the next one"
            )
        self._hub.observer = message.observer

    def _shut_down(self, message: messages.Shutdown) -> Coroutine[Any, Any, None]:
        # Not a coroutine function: the end begins before the next message is handled.
        if not message.drain:
            self.lifecycle.end_drain()
        end = self.lifecycle.end_all(drain=message.drain)
        end.add_done_callback(self._stop_after)  # Also if no asker waits for it.
        return self._wait_for_end(end)

    def _stop_after(self, _: asyncio.Future[None]) -> None:
        with contextlib.suppress(pykka.ActorDeadError):  # Something else stopped it meanwhile.
            self.stop()

    async def _wait_for_end(self, end: asyncio.Future[None]) -> None:
        """Wait for an end, also if the supervisor is stopped meanwhile."""
        try:
            await asyncio.shield(end)
        except asyncio.CancelledError:
            if not self._messages.cut_off:
                raise  # The asker has stopped waiting. The child still ends.
            self.lifecycle.end_all()
            await asyncio.shield(end)


_HANDLERS: dict[type, Callable[[Any, Any], Any]] = {
    messages.ShutdownAgent: OwnerActor._shut_down_child,  # noqa: SLF001 (this module's own)
    RestartAgent: OwnerActor._restart_child,  # noqa: SLF001
    messages.ReturnChild: OwnerActor._return_child,  # noqa: SLF001
    messages.Subscribe: OwnerActor._subscribe,  # noqa: SLF001
    messages.Observe: OwnerActor._observe,  # noqa: SLF001
    messages.Shutdown: OwnerActor._shut_down,  # noqa: SLF001
}
"""The methods that answer the messages of every owner, by the type of the message."""
