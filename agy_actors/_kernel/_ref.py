"""References to actors: what the rest of the program holds."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import pykka
from pykka._envelope import Envelope as PykkaEnvelope
from pykka.messages import _ActorStop

from agy_actors._kernel import forks
from agy_actors._kernel._arguments import check_flag, check_optional_seconds
from agy_actors._kernel._callers import chain_to, current_caller
from agy_actors._kernel._errors import AskTimeout
from agy_actors._kernel._future import ReplyFuture
from agy_actors._kernel._mailbox import Envelope
from agy_actors._kernel._message import TURN, Message
from agy_actors._kernel.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Hashable

    from agy_actors._kernel._callers import Frame
    from agy_actors._kernel._death import Lifeline
    from agy_actors._kernel._mailbox import Mailbox

__all__ = ["AsyncioActorRef"]

R = TypeVar("R")

_NEED_ENVELOPES = (tuple, PykkaEnvelope, type(None))
"""What is not put into a mailbox bare: pykka's own messages are tuples; an envelope would
be taken for the one around a message, and `None` for the lack of one."""


@functools.lru_cache(maxsize=1024)
def _goes_bare(kind: Hashable) -> bool:
    """Tell whether messages of a type that nobody waits for are put into a mailbox bare."""
    # Remembered, since it is asked for each `tell`, and takes as long as the rest of it.
    assert isinstance(kind, type)
    takes_turns = issubclass(kind, Message) and kind.lane is TURN
    return not (takes_turns or issubclass(kind, _NEED_ENVELOPES))


class AsyncioActorRef(ProcessBound, pykka.ActorRef[Any]):
    """A reference to an actor, for every thread. It stays valid across restarts.

    It is for the process that the actor runs in: in a forked child, every use of it raises
    `ForkedProcessError`.
    """

    _instead_of_pickling = (
        "send its name, or any message, and look the actor up in that process, or start another"
        " there (a supervisor of its own, for agents)"
    )

    actor_inbox: Mailbox  # pyright: ignore[reportIncompatibleVariableOverride] # never replaced
    """See `AsyncioActor.actor_inbox`."""

    actor_stopped: Lifeline  # pyright: ignore[reportIncompatibleVariableOverride] # as above
    """Set when the actor stops; it knows who watches for the end."""

    def is_alive(self) -> bool:
        """Tell whether the actor has not stopped. It may be hung, and restart all the same.

        Raises:
            ForkedProcessError: this process is a forked child of the actor's.
        """
        forks.check(self.actor_inbox.made_in)
        return not self.actor_stopped.is_set()

    def _state_suffix(self) -> str:
        """Return what a `repr` says of the actor's state; empty for one that is alive."""
        if self.actor_inbox.made_in != forks.generation:
            return ", of the parent process"
        return "" if self.is_alive() else ", ended"

    def tell(self, message: Any) -> None:
        """Send a message and do not wait for anything.

        Args:
            message: any object. Its handler must not raise: nobody is there to be told,
                so the actor fails (see `pykka.Actor.on_failure`).

        Raises:
            pykka.ActorDeadError: the actor has ended.
            MailboxFull: the message takes the turn lane, which is at its capacity.
            ForkedProcessError: this process is a forked child of the actor's.
        """
        if _goes_bare(type(message)):  # type: ignore[arg-type] # mypy: a type is no Hashable
            self.actor_inbox.post(message)
        else:
            self.actor_inbox.put(Envelope(message))

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
        """Send a message and wait for its reply, or for nothing but the future of it.

        Args:
            message: any object; a `Message[R]` is answered with an `R`.
            block: wait for the reply and return it; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking, or `None` for as long as it takes.
                A blocking ask that runs out of time abandons its reply: a message that
                has not been taken up never is, a coroutine that handles it is cancelled.

        Raises:
            AskTimeout: no reply came in time. It is a `pykka.Timeout` and a `TimeoutError`.
            DeadlockError: the actor waits for the code that asks here.
            MailboxFull: the message takes the turn lane, which is at its capacity.
            InvalidArgument: the timeout is not a number of seconds from 0, or `block` is not a
                `bool`. Nothing is sent.
            pykka.ActorDeadError: the actor has ended, before or after the message came.
                Without blocking, the future raises it.
            ForkedProcessError: this process is a forked child of the actor's.
            BaseException: what the actor's handler raised.
        """
        if timeout is not None:
            timeout = check_optional_seconds("timeout", timeout, zero=True)
        if block is not True and block is not False:  # Cheaper than a call, for every ask.
            check_flag("block", block)
        frames: tuple[Frame, ...] = ()
        if block and (caller := current_caller.get()) is not None:
            frames = chain_to(self, message, caller)
        future: ReplyFuture[Any] = ReplyFuture()
        future.about = (message, self)
        try:
            self.actor_inbox.put(Envelope(message, future, frames))
        except pykka.ActorDeadError as error:
            future.fail(error)
        if not block:
            return future
        if timeout is None:
            return future.get()
        return self._get_or_abandon(future, message, timeout)

    def _get_or_abandon(self, future: ReplyFuture[Any], message: Any, timeout: float) -> Any:
        try:
            return future.get(timeout=timeout)
        except AskTimeout:
            if future.done() and not future.cancelled():  # What the handler raised, or just now.
                return future.get()
            future.cancel()
            if not future.cancelled():
                return future.get()
            asked = getattr(message, "message", message)  # One around another goes by that.
            raise AskTimeout(
                f"{self} did not answer {type(asked).__name__} within {timeout:g} seconds;"
                " the request was abandoned"
            ) from None

    @overload
    def stop(self, *, block: Literal[True] = True, timeout: float | None = None) -> bool: ...

    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = None) -> ReplyFuture[bool]: ...

    @overload
    def stop(
        self, *, block: bool = True, timeout: float | None = None
    ) -> bool | ReplyFuture[bool]: ...

    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | ReplyFuture[bool]:
        """Ask the actor to stop, after all that was sent to it before.

        The reply comes when the actor has ended and its loop is closed.

        Args:
            block: wait for the end; else return a future.
            timeout: the seconds to wait if blocking. Running out of it only stops the
                waiting, never the stopping.

        Returns:
            `True` if the actor stopped or was stopping, `False` if it was dead before.

        Raises:
            AskTimeout: it did not end in time.
            DeadlockError: the actor waits for the code that waits here for its end.
            ForkedProcessError: this process is a forked child of the actor's.
            InvalidArgument: the timeout is not a number of seconds from 0, or `block` is not a
                `bool`. The actor goes on.
        """
        timeout = check_optional_seconds("timeout", timeout, zero=True)
        check_flag("block", block)
        if block and (caller := current_caller.get()) is not None:
            chain_to(self, _ActorStop(), caller)
        was_alive = _WasAlive()
        was_alive.about = (_ActorStop(), self)
        try:
            self.actor_inbox.put(Envelope(_ActorStop(), was_alive))
        except pykka.ActorDeadError as error:
            was_alive.fail(error)
        return was_alive.get(timeout=timeout) if block else was_alive


class _WasAlive(ReplyFuture[bool]):
    """The reply to a stop. To cancel it ends the waiting, and not the stop."""

    def resolve(self, value: object) -> bool:  # noqa: ARG002 (an actor replies with `None`)
        return super().resolve(value=True)

    def fail(self, error: BaseException) -> bool:
        if isinstance(error, pykka.ActorDeadError):
            return super().resolve(value=False)
        return super().fail(error)
