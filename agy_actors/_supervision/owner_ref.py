"""`OwnerRef`: a reference to an actor that owns children: a supervisor or a pool."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast, overload

import pykka
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._actors import forks
from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.arguments import check_flag, check_optional_seconds
from agy_actors._actors.call_chain import chain_to, current_caller
from agy_actors._actors.deadlock import AllOf
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import fail, resolve, set_about
from agy_actors._actors.runtime import current_runtime
from agy_actors._supervision import supervisor_messages as messages
from agy_actors._supervision.creation import Creation
from agy_actors._supervision.event_hub import Subscription
from agy_actors._supervision.waits_below import waits_below

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from agy_actors._actors.actor import AsyncioActor
    from agy_actors._actors.call_chain import Frame
    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.message import Message
    from agy_actors._supervision.event_hub import Event

__all__ = ["OwnerRef"]

R = TypeVar("R")


class OwnerRef(AsyncioActorRef):
    """A reference to an actor that owns children: a supervisor or a pool. Thread-safe.

    As a context manager it stops the actor and all its children on leaving; with `async with`, the
    event loop keeps running meanwhile.
    """

    _instead_of_pickling = (
        "send its name and look it up in the process that has it, or start a supervisor in the"
        " other process"
    )

    name: str
    """Its name: in logs and events, and under the supervisor above it."""

    def __init__(self, actor: AsyncioActor) -> None:
        super().__init__(actor)
        self.name = cast("Any", actor).name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A forked child has a copy of the ref, but not of the threads that could answer it.
        if self.actor_inbox.made_in == forks.generation:
            self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.actor_inbox.made_in == forks.generation:
            # Shielded: cancelling the waiting task must not cancel the stop.
            await asyncio.shield(asyncio.ensure_future(self.stop(block=False)))

    def _need_of(self, message: object, reply: object) -> Need:
        """Return the need of a reply of this actor (see `deadlock`). Thread-safe.

        It ends after the actors below it. Each of these ends when its loop is free, and if it is
        drained, when its turn is over.
        """
        need = super()._need_of(message, reply)
        if not isinstance(message, (_ActorStop, messages.Shutdown, messages.ShutdownAgent)):
            return need
        wanted = message.agent if isinstance(message, messages.ShutdownAgent) else None
        drains = not isinstance(message, _ActorStop) and message.drain
        return AllOf((need, waits_below(self.actor_urn, wanted, drains=drains)))

    def _undo(self, message: Any, reply: Any) -> None:
        if isinstance(message, Creation) and isinstance(reply, AsyncioActorRef):
            with contextlib.suppress(pykka.ActorDeadError):  # No asker has the ref.
                self.tell(messages.ReturnChild(reply))
        elif isinstance(message, messages.Subscribe) and isinstance(reply, Subscription):
            reply.cancel()

    @overload
    def subscribe(
        self,
        callback: Callable[[Event], object],
        *,
        capacity: int = 1000,
        block: Literal[True] = True,
    ) -> Subscription: ...

    @overload
    def subscribe(
        self, callback: Callable[[Event], object], *, capacity: int = 1000, block: Literal[False]
    ) -> ReplyFuture[Subscription]: ...

    @overload
    def subscribe(
        self, callback: Callable[[Event], object], *, capacity: int = 1000, block: bool
    ) -> Subscription | ReplyFuture[Subscription]: ...

    def subscribe(
        self, callback: Callable[[Event], object], *, capacity: int = 1000, block: bool = True
    ) -> Subscription | ReplyFuture[Subscription]:
        """Call a function with every event of this supervisor and those below it.

        It is called on its own thread, with one event after another. Its exceptions are logged.

        Args:
            callback: called with each `Event`.
            capacity: how many events wait for it before further ones are dropped and counted.
            block: wait for the subscription and return it; else return its `ReplyFuture`.

        Returns:
            The subscription. It ends when it is cancelled, or with the supervisor.

        Raises:
            InvalidConfig: the callback cannot be called, or the capacity is not an integer >= 1.
        """
        return self.ask(messages.Subscribe(callback, capacity), block=block)

    @overload
    def shutdown(
        self, *, drain: bool = False, block: Literal[True] = True, timeout: float | None = None
    ) -> bool: ...

    @overload
    def shutdown(
        self, *, drain: bool = False, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[bool]: ...

    @overload
    def shutdown(
        self, *, drain: bool = False, block: bool, timeout: float | None = None
    ) -> bool | ReplyFuture[bool]: ...

    def shutdown(
        self, *, drain: bool = False, block: bool = True, timeout: float | None = None
    ) -> bool | ReplyFuture[bool]:
        """End all children and the supervisor, and wait for the end.

        Args:
            drain: first finish the agents' turns, within the `stop_timeout` of each agent.
            block: wait for the end; else return a `ReplyFuture` of it. Cancelling the future does
                not cancel the end.
            timeout: the seconds to wait if blocking. The supervisor still ends after a timeout.

        Returns:
            `True`, or `False` if it had ended before.

        Raises:
            AskTimeout: it did not end in time. It ends nevertheless; `stop()` ends it without
                waiting for turns.
            InvalidArgument: `drain` or `block` is not a `bool`, or the timeout not a number of
                seconds >= 0. No child ends.
        """
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        drain, block = check_flag("drain", drain), check_flag("block", block)
        if not block:
            return self._drain_and_stop() if drain else self.stop(block=False)
        now = current_runtime().monotonic
        deadline = None if timeout is None else now() + timeout
        if drain:
            try:
                self._order(messages.Shutdown(drain=True), timeout)
            except pykka.ActorDeadError:
                return False
        left = None if deadline is None else max(0.0, deadline - now())
        return self.stop(timeout=left) or drain

    def _order(self, message: Message[R], timeout: float | None) -> R:
        """Send a request that is carried out even if this wait is cancelled."""
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        caller = current_caller.get()
        frames = () if caller is None else chain_to(self, message, caller)
        return self._put_order(message, frames).get(timeout=timeout)

    def _put_order(self, message: Message[R], frames: tuple[Frame, ...] = ()) -> ReplyFuture[R]:
        """Send a message that is handled even if its reply is cancelled."""
        reply = _OrderReply[R]()
        set_about(reply, message, self)
        try:
            self.actor_inbox.put(Envelope(message, reply, frames))
        except pykka.ActorDeadError as error:
            fail(reply, error)
        return reply

    def _drain_and_stop(self) -> ReplyFuture[bool]:
        """Return the future of an end that comes when the agents' turns have finished."""
        ended = _OrderReply[bool]()
        message = messages.Shutdown(drain=True)
        set_about(ended, message, self)

        def stop(drained: ReplyFuture[None]) -> None:
            # A stop that is sent now would cancel the turns.
            try:
                drained.get()
            except pykka.ActorDeadError:
                resolve(ended, value=False)
            except BaseException as error:  # noqa: BLE001 (it belongs to who waits)
                fail(ended, error)
            else:
                self.stop(block=False).add_done_callback(lambda _: resolve(ended, value=True))

        self._put_order(message).add_done_callback(stop)
        return ended


class _OrderReply(ReplyFuture[R]):
    """The reply to a message that is handled even if the reply is cancelled.

    Cancelling it does not cancel the message: an actor drops a message only if its reply is of the
    class `ReplyFuture` itself.
    """
