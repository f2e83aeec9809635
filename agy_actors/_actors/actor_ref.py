"""References to actors, for the rest of the program."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import pykka
from pykka._envelope import Envelope as PykkaEnvelope
from pykka.messages import _ActorStop

from agy_actors._actors import forks, registry
from agy_actors._actors.arguments import check_flag, check_optional_seconds, check_seconds
from agy_actors._actors.blocking_warning import running_loop, warn_of_blocking
from agy_actors._actors.call_chain import chain_to, current_caller
from agy_actors._actors.deadlock import waits_of
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.errors import AskTimeout
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import fail, set_about
from agy_actors._actors.future_states import VALUE
from agy_actors._actors.message import TURN, Message, StopNow
from agy_actors._actors.not_constructible import MadeForUsers
from agy_actors._actors.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Hashable

    from agy_actors._actors.call_chain import Frame
    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.delayed import DelayedMessage
    from agy_actors._actors.lifeline import Lifeline
    from agy_actors._actors.mailbox import Mailbox

__all__ = ["AsyncioActorRef"]

R = TypeVar("R")

_NEED_ENVELOPES = (tuple, PykkaEnvelope, type(None))
"""Types of messages that need an envelope: pykka's own messages are tuples, an envelope would be
mistaken for the one around a message, and `None` means that there is no message."""


@functools.lru_cache(maxsize=1024)
def _goes_bare(kind: Hashable) -> bool:
    """Return whether told messages of a type go into a mailbox without an envelope."""
    # Cached: each `tell` needs it, and computing it takes as long as the rest of `tell`.
    assert isinstance(kind, type)
    takes_turns = issubclass(kind, Message) and kind.lane is TURN
    return not (takes_turns or issubclass(kind, _NEED_ENVELOPES))


class AsyncioActorRef(MadeForUsers, ProcessBound, pykka.ActorRef[Any]):
    """A reference to an actor. Thread-safe. It stays valid across restarts.

    In a forked child of the actor's process, every use raises `ForkedProcessError`.
    """

    _instead_of_pickling = (
        "send its name, or any message, and look the actor up in that process, or start another"
        " there (a supervisor of its own, for agents)"
    )

    _made_from = pykka.Actor
    _call_instead = "start the actor with the `start` of its class, which returns its ref"

    actor_inbox: Mailbox  # pyright: ignore[reportIncompatibleVariableOverride] # never replaced
    """See `AsyncioActor.actor_inbox`."""

    _registration: int
    """Grows in the order in which refs are registered. See `registry`."""

    _child_name: str | None = None
    """The actor's name under its supervisor or in its pool, if it has one."""

    actor_stopped: Lifeline  # pyright: ignore[reportIncompatibleVariableOverride] # as above
    """See `AsyncioActor.actor_stopped`."""

    def __init__(self, actor: pykka.Actor) -> None:
        super().__init__(actor)
        # An actor is registered as soon as it is made, unless it is supervised.
        self._registration = registry.new_number()

    def is_alive(self) -> bool:
        """Return whether the actor has not ended. One that hangs or is being restarted is alive.

        Raises:
            ForkedProcessError: this process is a forked child of the actor's.
        """
        forks.check(self.actor_inbox.made_in)
        return not self.actor_stopped.is_set()

    def _state_suffix(self) -> str:
        """Return the actor's state for `repr`; empty for a living actor."""
        if self.actor_inbox.made_in != forks.generation:
            return ", of the parent process"
        return "" if self.is_alive() else ", ended"

    def tell(self, message: Any) -> None:
        """Send a message without a reply. It does not wait.

        Args:
            message: any object. If its handler raises, the actor fails (see
                `pykka.Actor.on_failure`).

        Raises:
            ActorDeadError: the actor has ended. It is a `pykka.ActorDeadError`.
            MailboxFull: the message takes the turn lane, which is at its capacity.
            ForkedProcessError: this process is a forked child of the actor's.
        """
        if _goes_bare(type(message)):  # type: ignore[arg-type] # mypy: a type is no Hashable
            self.actor_inbox.post(message)
        else:
            self.actor_inbox.put(Envelope(message))

    def tell_later(self, message: Any, seconds: float) -> DelayedMessage:
        """Send a message without a reply after some seconds. It does not wait. Thread-safe.

        The message survives restarts of the actor. If the actor ends first, the message is a dead
        letter.

        Args:
            message: any object; see `tell`.
            seconds: the delay in seconds, >= 0.

        Returns:
            A handle whose `cancel()` withdraws the message before it is sent.

        Raises:
            InvalidArgument: the delay is not a finite number of seconds >= 0.
            ActorDeadError: the actor has ended. It is a `pykka.ActorDeadError`.
            ForkedProcessError: this process is a forked child of the actor's.
        """
        seconds = check_seconds("seconds", seconds, zero=True, infinite=False)
        return self.actor_inbox.put_later(Envelope(self._told(message)), seconds)

    def _told(self, message: Any) -> Any:
        """Return what `tell` puts into the mailbox for a message."""
        return message

    # pykka's overloads, told apart by the type of the reply.
    @overload  # type: ignore[override]
    def ask(
        self, message: Message[R], *, block: Literal[True] = True, timeout: float | None = None
    ) -> R: ...

    @overload
    def ask(
        self, message: Message[R], *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[R]: ...

    @overload
    def ask(
        self, message: Message[R], *, block: bool, timeout: float | None = None
    ) -> R | ReplyFuture[R]: ...

    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any: ...

    # Our overloads, by the type of the message, come before pykka's, by `block`.
    def ask(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, message: Any, *, block: bool = True, timeout: float | None = None
    ) -> Any:
        """Send a message and return its reply, or a future of the reply.

        Args:
            message: any object; a `Message[R]` is answered with an `R`.
            block: wait for the reply and return it; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking; `None` for no limit.
                A blocking ask that times out, or that Ctrl-C interrupts, abandons its reply: a
                message that was not started is dropped, and a coroutine that handles it is
                cancelled.

        Raises:
            AskTimeout: no reply came in time. It is a `pykka.Timeout` and a `TimeoutError`.
            DeadlockError: the actor waits for the code that asks here. If that is known at once,
                nothing is sent.
            MailboxFull: the message takes the turn lane, which is at its capacity.
            InvalidArgument: the timeout is not a number of seconds >= 0, or `block` is not a
                `bool`. Nothing is sent.
            ActorDeadError: the actor has ended, before or after the message came. It is a
                `pykka.ActorDeadError`. Without blocking, the future raises it.
            ForkedProcessError: this process is a forked child of the actor's.
            BaseException: the actor's handler raised it.

        Warns:
            BlockingCallWarning: it blocks the thread of a running event loop.
        """
        if timeout is not None:
            timeout = check_optional_seconds("timeout", timeout, zero=True)
        if block is not True and block is not False:  # A call would cost more, in every ask.
            check_flag("block", block)
        frames: tuple[Frame, ...] = ()
        if block and (caller := current_caller.get()) is not None:
            frames = chain_to(self, message, caller)
        blocks_loop = block and running_loop() is not None and timeout != 0
        future: ReplyFuture[Any] = _warn_once() if blocks_loop else ReplyFuture()
        future._about = (message, self)  # noqa: SLF001 (a call for each ask would cost more)
        try:
            try:
                self.actor_inbox.put(Envelope(message, future, frames))
            except pykka.ActorDeadError as error:
                fail(future, error)
            if not block:
                return future
            if timeout is None:
                future._wait(None)  # noqa: SLF001 (`get` would check more, in every ask)
                return future._outcome()  # noqa: SLF001 (likewise)
            return self._get_or_abandon(future, message, timeout)
        except BaseException as error:
            if future._failed_with(error):  # noqa: SLF001 (of this package)
                # Without the lines of `get`: the asker's line and this one are enough.
                raise error.with_traceback(future._result[1])  # noqa: B904, SLF001 (no other error)
            # Something such as Ctrl-C interrupted the wait.
            if not future.cancel() and future._state == VALUE:  # noqa: SLF001 (of this package)
                self._undo(message, future.get())  # It came just then.
            raise

    def _undo(self, message: Any, reply: Any) -> None:
        """Undo the effect of a message whose reply came after the wait was interrupted.

        Called by the thread that asked.
        """

    def _need_of(self, message: object, reply: object) -> Need:
        """Return the need of a reply of this actor (see `deadlock`). Callable from any thread."""
        return waits_of(self.actor_urn, message, reply)

    def _get_or_abandon(self, future: ReplyFuture[Any], message: Any, timeout: float) -> Any:
        try:
            return future.get(timeout=timeout)
        except AskTimeout:
            if future.done() and not future.cancelled():  # The handler raised it, or the wait did.
                return future.get()
            future.cancel()
            if not future.cancelled():
                return future.get()
            asked = getattr(message, "message", message)  # A wrapper is named by its message.
            raise AskTimeout(
                f"{self} did not answer {type(asked).__name__} within {timeout:g} seconds;"
                " the request was abandoned"
            ) from None

    @overload
    def stop(
        self, *, block: Literal[True] = True, timeout: float | None = None, now: bool = False
    ) -> bool: ...

    @overload
    def stop(
        self, *, block: Literal[False], timeout: float | None = None, now: bool = False
    ) -> ReplyFuture[bool]: ...

    @overload
    def stop(
        self, *, block: bool = True, timeout: float | None = None, now: bool = False
    ) -> bool | ReplyFuture[bool]: ...

    def stop(
        self, *, block: bool = True, timeout: float | None = None, now: bool = False
    ) -> bool | ReplyFuture[bool]:
        """Stop the actor, after it has handled all earlier messages, or now.

        The reply comes when the actor has ended and its loop is closed. Later messages are refused
        with the dead actor's error.

        By default it works as pykka's stop: messages and turns that were sent before are handled
        first. With `now=True` coroutines that handle a message are cancelled, and so is an
        `on_start` that is a coroutine; waiting messages are dropped, and their askers get the dead
        actor's error. A handler that is a plain function cannot be cancelled: the actor stops when
        it returns.

        Args:
            block: wait for the end; else return a future.
            timeout: the seconds to wait if blocking. The actor still stops after a timeout.
            now: cancel running handlers and drop waiting messages. It also speeds up a stop that is
                in progress.

        Returns:
            `True` if the actor stopped or was stopping, `False` if it was dead before.

        Raises:
            AskTimeout: it did not end in time.
            DeadlockError: the actor waits for the code that waits here for its end.
            ForkedProcessError: this process is a forked child of the actor's.
            InvalidArgument: the timeout is not a number of seconds >= 0, or `block` or `now` is
                not a `bool`. The actor continues.
        """
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        check_flag("block", block)
        message = StopNow() if check_flag("now", now) else _ActorStop()
        if block and (caller := current_caller.get()) is not None:
            chain_to(self, message, caller)
        was_alive = _WasAlive()
        set_about(was_alive, message, self)
        try:
            self.actor_inbox.put(Envelope(message, was_alive))
        except pykka.ActorDeadError as error:
            fail(was_alive, error)
        except BaseException:
            was_alive.cancel()
            raise
        return was_alive.get(timeout=timeout) if block else was_alive


def _warn_once() -> ReplyFuture[Any]:
    """Warn of an ask that blocks an event loop, and return its future, which does not warn again.

    It is called before anything is sent, since the warning may be an error.
    """
    warn_of_blocking()
    future: ReplyFuture[Any] = ReplyFuture()
    future._warns = False  # noqa: SLF001 (of this package)
    return future


class _WasAlive(ReplyFuture[bool]):
    """The reply to a stop. Cancelling it ends the waiting, not the stop."""

    def _resolve(self, value: object) -> bool:  # noqa: ARG002 (an actor replies with `None`)
        return super()._resolve(value=True)

    def _fail(self, error: BaseException) -> bool:
        if isinstance(error, pykka.ActorDeadError):
            return super()._resolve(value=False)
        return super()._fail(error)
