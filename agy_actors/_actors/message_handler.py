"""`MessageHandler`: takes an actor's messages from its mailbox and calls their handlers.

Guarantees:

*   Messages are taken in the order of their lane, and turns run one at a time.
*   An exception of a handler, even a `BaseException`, is passed to the actor, which sends it to the
    asker. pykka would stop every actor in the process for a BaseException.
*   Each message is in `in_flight` from the first suspension of its handler to its answer, so the
    actor's end can answer the remaining ones or return them.

All methods run on the actor's loop, so there is no lock, except `claim_hanging` and `is_handling`,
which any thread may call, also while the loop hangs.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeGuard, cast

from pykka._envelope import Envelope as PykkaEnvelope

from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.envelope import Envelope, in_envelope, is_abandoned, is_stop
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import resolve
from agy_actors._actors.future_states import CANCELLED
from agy_actors._actors.handling_caller import HandlingCaller
from agy_actors._actors.message import DEFERRED, TURN, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.call_chain import CallingActor, Frame
    from agy_actors._actors.mailbox import Mailbox

    AnyEnvelope: TypeAlias = PykkaEnvelope[Any]

__all__ = ["MessageHandler"]


class HandlingActor(Protocol):
    """The part of its actor that a message handler uses."""

    actor_inbox: Mailbox
    _answers: Any

    _unabandonable: ClassVar[tuple[type, ...]]

    def on_receive(self, message: Any) -> Any: ...
    def _handle_receive(self, message: Any) -> Any: ...
    def _on_taken(self, envelope: Any) -> None: ...
    def _on_dropped(self, envelope: Any) -> None: ...
    def _on_turns_held(self) -> None: ...
    def _begin_stop(self, envelope: Any) -> None: ...
    def _answer_error(self, envelope: Any, error: BaseException) -> None: ...
    def _reject(self, envelopes: list[Any]) -> None: ...


class MessageHandler:
    """Handles the messages of one incarnation of an actor.

    Args:
        actor: the actor. Its `_take_over` may still replace its mailbox.
        batch: how many messages are taken before the loop gets to its other work.
    """

    def __init__(self, actor: HandlingActor, batch: int) -> None:
        self._actor = actor
        self._batch = batch
        self.loop = cast("asyncio.AbstractEventLoop", None)
        """The incarnation's event loop, set when its thread starts."""
        self.thread_id = 0
        """The thread of the loop; 0 before it runs."""
        self.open = True
        """Whether messages may be handled: until the incarnation ends."""
        self.in_flight: dict[AnyEnvelope, asyncio.Task[bool]] = {}
        """The messages whose handlers are suspended coroutines."""
        self.handling: AnyEnvelope | None = None
        """The envelope whose handler runs now, if the message has one."""
        self.turn: AnyEnvelope | None = None
        """The turn that runs."""
        self.turns_open = True
        """Whether turns may be taken."""
        self.cut_off = False
        """Whether the handlers were cancelled, for the incarnation's end."""
        self._claims = threading.Lock()
        self._claimed: AnyEnvelope | None = None
        """The envelope that hung the loop when the incarnation was abandoned."""

    def attach(self) -> None:
        """Begin to take messages."""
        self._actor.actor_inbox.attach(self.loop, self.drain)

    def open_turns(self, *, open: bool) -> None:  # noqa: A002
        """Allow turns to be taken, or not."""
        self.turns_open = open
        if open:
            self._actor.actor_inbox.rouse()

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call a listener before each message is handled; `None` ends that."""
        # Shadowing the methods costs nothing when there is no listener.
        for name in ("_handle", "_handle_bare"):
            self.__dict__.pop(name, None)
            if listener is not None:
                setattr(self, name, functools.partial(_call_both, listener, getattr(self, name)))

    def is_handling(self, envelope: AnyEnvelope) -> bool:
        """Return whether a message is being handled. Callable from any thread."""
        return envelope in self.in_flight or envelope is self.handling

    # Taking messages.

    def drain(self) -> None:
        """Handle waiting messages, at most one batch."""
        inbox = self._actor.actor_inbox
        take, control = inbox.take, inbox.control
        handle, handle_bare = self._handle, self._handle_bare
        # The mailbox sleeps only after `take` found no message; otherwise this must run again.
        again = True
        try:
            for _ in range(self._batch):
                if control:
                    try:
                        item = control.popleft()  # As `take` would.
                    except IndexError:  # This incarnation has just been abandoned.
                        continue
                else:
                    item = take(turns=self.turn is None and self.turns_open, by=self.loop)
                    if item is None:
                        again = False
                        if not self.turns_open:
                            self._actor._on_turns_held()  # noqa: SLF001 (its actor's hook)
                        return
                # First store the envelope, then check `open`. The caller of `claim_hanging` does
                # the reverse, so at least one of the two sees the other.
                kind = type(item)
                if kind is Envelope or kind is PykkaEnvelope:
                    self.handling = item
                    if self.open:
                        handle(item)
                        continue
                else:
                    self.handling = None
                    if self.open:
                        handle_bare(item)
                        continue
                again = False
                self._return(item)
                return
        finally:
            self.handling = None
            if again:
                self.loop.call_soon(self.drain)

    def claim_hanging(self) -> AnyEnvelope | None:
        """Return the message that hangs the loop, which the caller answers. On any thread.

        Set `open` to False first.
        """
        with self._claims:
            # A message without an envelope was told: it has no answer.
            self._claimed = self.handling
            return self._claimed

    def is_claimed(self, envelope: AnyEnvelope) -> bool:
        """Return whether `claim_hanging` returned this message."""
        return envelope is self._claimed

    def _return(self, item: Any) -> None:
        """Return a message that was taken when this incarnation had ended or was abandoned."""
        with self._claims:
            claimed = item is self._claimed
        if not claimed:  # Otherwise it was answered.
            self._actor._answers.give_back(in_envelope(item))  # noqa: SLF001 (its actor's)

    # Handling messages.

    def _handle(self, envelope: AnyEnvelope) -> None:
        # The hottest path: it avoids calls.
        message, reply_to = envelope.message, envelope.reply_to
        if type(reply_to) is ReplyFuture and reply_to._state == CANCELLED:  # noqa: SLF001 (as above)
            self._actor._on_dropped(envelope)  # noqa: SLF001 (its actor's hook)
            return
        pykkas = isinstance(message, tuple)  # As all of pykka's own messages are.
        actor = self._actor
        if pykkas and is_stop(message):
            actor._begin_stop(envelope)  # noqa: SLF001 (its actor's hook)
            return
        turn = isinstance(message, Message) and message.lane is TURN
        frames = envelope.frames if type(envelope) is Envelope else ()
        if turn or frames:
            self._handle_in_context(envelope, frames, turn=turn)
            return
        try:
            response = actor._handle_receive(message) if pykkas else actor.on_receive(message)  # noqa: SLF001 (pykka's)
        except BaseException as error:  # noqa: BLE001 (it belongs to the asker)
            actor._answer_error(envelope, error)  # noqa: SLF001 (its actor's hook)
            return
        if hasattr(response, "__await__") and _is_coroutine(response):
            self._run(envelope, response, None)
        elif type(reply_to) is ReplyFuture:
            reply_to._resolve(response)  # noqa: SLF001 (as above)
        elif reply_to is not None:
            resolve(envelope.reply_to, response)

    def _handle_bare(self, message: object) -> None:
        """Handle a message without an envelope: it was told, and is not a turn."""
        try:
            response = self._actor.on_receive(message)
        except BaseException as error:  # noqa: BLE001 (it is the actor's failure alone)
            self._actor._answer_error(Envelope(message), error)  # noqa: SLF001 (its actor's hook)
            return
        if response is not None and hasattr(response, "__await__") and _is_coroutine(response):
            self._run(Envelope(message), response, None)

    def _handle_in_context(
        self, envelope: AnyEnvelope, frames: tuple[Frame, ...], *, turn: bool
    ) -> None:
        context = contextvars.copy_context()
        actor = self._actor
        try:
            if turn:
                actor._on_taken(envelope)  # noqa: SLF001 (its actor's hook)
            context.run(current_caller.set, self._caller(envelope, frames, turn=turn))
            response = context.run(actor._handle_receive, envelope.message)  # noqa: SLF001 (pykka's)
        except BaseException as error:  # noqa: BLE001 (it belongs to the asker)
            actor._answer_error(envelope, error)  # noqa: SLF001 (its actor's hook)
            return
        if _is_coroutine(response):
            if turn:
                self.turn = envelope
            self._run(envelope, response, context)
        elif response is not DEFERRED:
            resolve(envelope.reply_to, response)

    def _caller(
        self, envelope: AnyEnvelope, frames: tuple[Frame, ...], *, turn: bool
    ) -> HandlingCaller:
        actor = cast("CallingActor", self._actor)
        return HandlingCaller(actor, envelope, frames, turn, self.thread_id)

    def _run(
        self,
        envelope: AnyEnvelope,
        handler: Coroutine[Any, Any, Any],
        context: contextvars.Context | None,
    ) -> None:
        if context is None:
            context = contextvars.copy_context()
            context.run(current_caller.set, self._caller(envelope, (), turn=False))
        task = self.loop.create_task(self._handle_async(envelope, handler), context=context)
        task.add_done_callback(lambda _: self._finished(envelope, handler, task))
        self.in_flight[envelope] = task
        reply_to = envelope.reply_to
        if isinstance(reply_to, ReplyFuture) and not isinstance(
            envelope.message,
            self._actor._unabandonable,  # noqa: SLF001 (its actor's)
        ):
            reply_to.add_done_callback(lambda _: self._cancel_abandoned(envelope, task))

    async def _handle_async(self, envelope: AnyEnvelope, handler: Coroutine[Any, Any, Any]) -> bool:
        """Await the handler of a message, and return whether the message is settled."""
        try:
            response = await handler
        except asyncio.CancelledError as error:
            if self.cut_off:
                return False  # The actor answers it, or returns it to the mailbox.
            if not is_abandoned(envelope):
                self._actor._answer_error(envelope, error)  # noqa: SLF001 (its actor's hook)
        except BaseException as error:  # noqa: BLE001 (it belongs to the asker)
            self._actor._answer_error(envelope, error)  # noqa: SLF001 (its actor's hook)
        else:
            reply_to = envelope.reply_to
            if type(reply_to) is ReplyFuture:
                reply_to._resolve(response)  # noqa: SLF001 (as above)
            else:
                resolve(reply_to, response)
        return True

    def _finished(
        self, envelope: AnyEnvelope, handler: Coroutine[Any, Any, Any], task: asyncio.Task[bool]
    ) -> None:
        # A callback and no `finally`: a task that is cancelled before its first step
        # runs no line of its coroutine, and must release the turn too.
        handler.close()
        settled = not task.cancelled() and (task.exception() is not None or task.result())
        if settled or not self.cut_off:
            self.in_flight.pop(envelope, None)
            if not settled:
                # Cancelled before its first step, so it was not answered.
                self._actor._reject([envelope])  # noqa: SLF001 (its actor's)
        if self.turn is envelope:
            self.turn = None
            self._actor.actor_inbox.rouse()

    def _cancel_abandoned(self, envelope: AnyEnvelope, task: asyncio.Task[bool]) -> None:
        if is_abandoned(envelope):
            try:
                self.loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                if not self.loop.is_closed():  # With the loop, the task has ended.
                    raise

    # Ending.

    async def finish(self, grace: float | None) -> None:
        """Return when all messages that came have been handled, or `grace` seconds have passed."""
        inbox = self._actor.actor_inbox
        deadline = None if grace is None else self.loop.time() + grace
        while self.in_flight or (self.turns_open and inbox.turns_waiting):
            if self.cut_off:  # Only the cancelled ones are left.
                return
            left = None if deadline is None else deadline - self.loop.time()
            if left is not None and left <= 0:
                return
            if self.in_flight:
                await asyncio.wait(list(self.in_flight.values()), timeout=left)
            else:
                await asyncio.sleep(0)  # A turn is about to be taken.

    def cancel(self) -> None:
        """Cancel the handlers once: a second cancellation would interrupt their clean-up."""
        if not self.cut_off:
            self.cut_off = True
            for task in self.in_flight.values():
                task.cancel()

    async def cancel_and_wait(self) -> None:
        """Cancel the handlers, and return when they have ended."""
        self.cancel()
        if self.in_flight:
            await asyncio.wait(list(self.in_flight.values()))

    def take_unfinished(self) -> list[AnyEnvelope]:
        """Remove and return the messages whose handling was interrupted, oldest first.

        Callable from any thread: the loop of an abandoned incarnation may run again meanwhile.
        """
        return [e for e in list(self.in_flight) if self.in_flight.pop(e, None) is not None]


def _call_both(listener: Callable[[], None], handle: Callable[[Any], None], item: Any) -> None:
    listener()
    handle(item)


def _is_coroutine(response: object) -> TypeGuard[Coroutine[Any, Any, Any]]:
    # Not `asyncio.iscoroutine`: on Python 3.11 it returns `True` for generators.
    return type(response) is CoroutineType or isinstance(response, Coroutine)
