"""`AsyncioActor`: an actor type whose thread is an asyncio loop.

It has a life cycle (`life`), a message handler (`message_handler`), answers for messages without a
handler (`answers`), reactions to its failures (`failures`) and timers (`timers`). Each of these
modules states its guarantees.

Guarantee: every ask that the mailbox accepted gets exactly one reply: its handler's, or the dead
actor's error if the actor ends first.
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, cast

import pykka
from loguru import logger

from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.answers import Answers, actor_dead_error
from agy_actors._actors.failures import Failures
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import fail
from agy_actors._actors.incarnation import Outcome
from agy_actors._actors.life import Life
from agy_actors._actors.life_state import LifeState
from agy_actors._actors.lifeline import Lifeline
from agy_actors._actors.mailbox import Mailbox
from agy_actors._actors.message import StopNow
from agy_actors._actors.message_handler import MessageHandler
from agy_actors._actors.responsiveness import Probe, lines_of
from agy_actors._actors.runtime import current_runtime
from agy_actors._actors.timers import Timers
from agy_actors._actors.unsupervised import announce_dead_letter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Hashable
    from types import TracebackType

    from pykka._envelope import Envelope as PykkaEnvelope

    from agy_actors._actors.call_chain import Scope
    from agy_actors._actors.incarnation import Owner

    AnyEnvelope: TypeAlias = PykkaEnvelope[Any]


__all__ = ["AsyncioActor"]

_logger = logging.getLogger("pykka")  # The name that users of pykka configure.


class AsyncioActor(pykka.Actor):
    """An actor whose thread runs an asyncio loop.

    A handler may be a plain function, whose result is the reply, or a coroutine function: the
    reply comes when it ends, and the actor continues to handle messages meanwhile. Messages of the
    turn lane (`Message.lane`) are handled one at a time.

    Start it with `start()`, as any pykka actor.
    """

    use_daemon_thread: ClassVar[bool] = False
    """Whether the interpreter may end without waiting for the actor. Read at the start. A
    supervised actor always runs on such a thread: its supervisor ends it in order."""

    mailbox_capacity: ClassVar[int] = 1000
    """The most messages that the turn lane holds. If it is full, a sender gets `MailboxFull`."""

    stop_grace: ClassVar[float | None] = None
    """The seconds that a stop waits for running handlers; `None` waits until they end."""

    _hurrying: ClassVar[tuple[type, ...]] = (StopNow,)
    """The messages that stop the actor at once, also while a slower stop runs."""

    _unabandonable: ClassVar[tuple[type, ...]] = ()
    """The messages whose handlers are not cancelled when the reply is cancelled, since that would
    leave a change half done."""

    _owner_urns: tuple[str, ...] = ()
    """The URNs of the actors whose end stops this one: its supervisor and the supervisors above."""

    _reports_failures: ClassVar[bool] = False
    """Whether a subclass reports its crashes and dead letters itself. If not, a crash is printed
    where no logging shows it, and dead letters are events of `agy_actors.subscribe`."""

    _owner: Owner | None = None
    """What restarts the actor when it fails. Set it before `_begin`."""

    actor_urn: str
    """Identifies the actor. The incarnations of an actor have the same."""

    actor_inbox: Mailbox
    """The actor's mailbox."""

    actor_stopped: Lifeline  # pyright: ignore[reportIncompatibleVariableOverride]
    """Set when the actor stops. It also holds the callbacks of `watch`."""

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> AsyncioActorRef:
        """Start the actor and return its ref.

        Args:
            args: the positional arguments of the constructor.
            kwargs: the keyword arguments of the constructor.
        """
        return cast("AsyncioActorRef", super().start(*args, **kwargs))

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return cast("Mailbox", (current_runtime().mailbox_type or Mailbox)())

    @staticmethod
    def _create_future() -> ReplyFuture[Any]:
        return ReplyFuture()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Not pykka's __init__, which makes an event and a ref that would be replaced at once.
        del args, kwargs
        self.actor_urn = uuid.uuid4().urn
        self.actor_inbox = self._create_actor_inbox()
        self.actor_stopped = Lifeline()
        self._actor_ref = AsyncioActorRef(self)
        self.actor_inbox.capacity = self.mailbox_capacity
        self.actor_inbox.actor_name = str(self)
        self._outcome = Outcome.ENDED
        """Why this incarnation has ended, once it has."""
        self._failed_with: Exception | None = None
        """The error that this incarnation failed with; `None` if it did not fail."""
        self._runtime = current_runtime()
        self._loop: asyncio.AbstractEventLoop = cast("asyncio.AbstractEventLoop", None)
        """The incarnation's event loop, set when its thread starts."""
        self._life = Life(self)
        self._messages = MessageHandler(self, self._runtime.batch)
        self._answers = Answers(self)
        self._failures = Failures(self)
        self._probe = Probe()
        self._timers = Timers(self, self._messages)
        self._cause: BaseException | None = None
        """The error that ended the actor for good; `None` if it did not fail."""

    @property
    def actor_ref(self) -> AsyncioActorRef:
        """The actor's ref."""
        return cast("AsyncioActorRef", self._actor_ref)

    # For subclasses to override.

    def on_start(self) -> Coroutine[Any, Any, None] | None:  # type: ignore[override] # or async
        """Set the actor up on its loop, before its first message. May be a coroutine.

        If it raises, the actor ends. A supervised actor is set up in each incarnation. A
        coroutine is cancelled by `stop(now=True)`, and when a supervisor ends the actor.
        """

    def on_stop(self) -> Coroutine[Any, Any, None] | None:  # type: ignore[override] # or async
        """Clean up on the actor's loop, after its last message. May be a coroutine.

        It is not called when the actor ends because of a failure (see `on_failure`). It is called
        when a supervisor restarts the actor together with others. An exception is logged.
        """

    def dead_error(self) -> Exception:
        """Make the error for asks that the actor's end left unanswered, and for later ones."""
        return actor_dead_error(self)

    def caller_name(self) -> str:
        """Return the actor's name for a `DeadlockError`."""
        return str(self)

    def on_dead_letter(self, message: Any) -> None:
        """Handle a dead letter: a told message that the actor's end left unhandled.

        Called on any thread; it must not raise. By default it logs the message and informs the
        subscribers: the supervisor's, or those of `agy_actors.subscribe`.
        """
        logger.warning("{} ended before it handled a {}", self, type(message).__name__)
        if self._owner is not None:
            self._owner.dead_letter(self, message)
        elif not self._reports_failures:
            announce_dead_letter(str(self), message)

    def _on_taken(self, envelope: AnyEnvelope) -> None:
        """Note that a turn was taken from the mailbox. Called on the loop, before its handler."""

    def _on_dropped(self, envelope: AnyEnvelope) -> None:
        """Note that a message is not handled, because its asker gave up. Called on the loop."""

    def _on_turns_held(self) -> None:
        """Note that turns may wait while none may be taken. Called on the loop."""

    # Timers. Call these on the actor's thread: in `on_start`, or while a message is handled.

    def start_timer(
        self, key: Hashable, message: Any, after: float, every: float | None = None
    ) -> None:
        """Tell the actor itself a message later, once or repeatedly.

        The timer ends with this incarnation: a supervised actor starts it in `on_start`.
        Starting a key again replaces its timer, and withdraws its message that still waits.

        Args:
            key: names the timer, among those of this actor.
            message: what to tell. If its handler raises, the actor fails, as with any tell.
            after: the seconds until the message, >= 0.
            every: the seconds between further messages, > 0; `None` for a single one. While
                the previous message still waits, no further one is sent.

        Raises:
            InvalidArgument: an argument is not as described.
            RuntimeError: this is not the actor's thread.
        """
        self._timers.start(key, message, after, every)

    def cancel_timer(self, key: Hashable) -> None:
        """Cancel the timer with this key, if there is one. Its waiting message is withdrawn.

        Raises:
            InvalidArgument: the key is not hashable.
            RuntimeError: this is not the actor's thread.
        """
        self._timers.cancel(key)

    def set_receive_timeout(self, seconds: float | None) -> None:
        """Tell the actor a `ReceiveTimeout` whenever no message came for some seconds.

        It repeats for as long as no message comes, and ends with this incarnation.

        Args:
            seconds: the seconds, > 0; `None` turns it off.

        Raises:
            InvalidArgument: the argument is not as described.
            RuntimeError: this is not the actor's thread.
        """
        self._timers.set_receive_timeout(seconds)

    # `life` calls these steps of an incarnation. A subclass may extend them.

    def _start_actor_loop(self) -> None:
        try:
            self._begin()
        except BaseException as error:
            # pykka has registered the actor. It must not stay there, where `stop_all` would wait
            # for it for ever.
            self._cause = error
            self._after_loop()
            raise

    def _begin(self) -> None:
        """Start this incarnation's thread, without registering the actor anew."""
        self._runtime.run_actor(
            self._live,
            on_exit=self._after_loop,
            name=f"{type(self).__name__}-{self._runtime.number(type(self).__name__)}",
            daemon=self.use_daemon_thread or self._owner is not None,
        )

    async def _live(self) -> None:
        await self._life.live()

    async def _finish_messages(self) -> None:
        """Wait until the messages that came before a stop are handled, within `stop_grace`."""
        await self._life.finish_messages()

    async def _wind_up(self) -> None:
        """Take nothing more, and answer or return the messages that are left."""
        await self._life.wind_up()

    def _after_loop(self) -> None:
        """End the incarnation when the loop is closed, also if the loop itself failed."""
        self._life.report_gone()
        self._life.conclude()

    def _begin_stop(self, envelope: AnyEnvelope) -> None:
        """Handle a request to stop: messages that came before it are still handled."""
        self._life.begin_stop(envelope)

    def _hurry(self) -> None:
        """Cancel the running handlers and drop the waiting messages: the actor stops now."""
        self._life.hurry()

    def _end(self) -> None:
        """End the actor for good, without `on_stop`. Call it on the loop."""
        self._life.end()

    def _retire(self) -> None:
        """End this incarnation and leave ref and mailbox to the next one. Call it on the loop.

        Messages that are being handled go back to the front of the mailbox, unless answered. An
        actor that is stopping has no next incarnation: it ends for good instead.
        """
        self._life.end(for_good=self.actor_inbox.closed)

    def _answer_error(self, envelope: AnyEnvelope, error: BaseException) -> None:
        """Answer a message whose handler raised. If it was told, the actor has failed."""
        if envelope.reply_to is not None:
            exc_info = (type(error), error, error.__traceback__)
            _logger.info("Exception returned from %s to caller:", self, exc_info=exc_info)
            fail(envelope.reply_to, error)
        else:
            self._failures.fail(error)

    def _fail(self, error: BaseException) -> None:
        """End the actor, or this incarnation if it has an owner: `on_start` has failed."""
        self._failures.fail_to_start(error)

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super()._handle_failure(exception_type, exception_value, traceback)
        if exception_value is not None:
            self._failures.print_unseen(exception_value)

    def _reject(self, envelopes: list[AnyEnvelope]) -> None:
        """Answer messages that will not be handled. Callable from any thread."""
        self._answers.reject(envelopes)

    # For the owner.

    def _take_over(self, ref: AsyncioActorRef) -> Self:
        """Take over the previous incarnation's ref and mailbox. Call it before `_begin`."""
        self.actor_urn = ref.actor_urn
        # Never replaced once it runs, so that pykka's wider type does no harm.
        self.actor_inbox = ref.actor_inbox  # pyright: ignore[reportIncompatibleVariableOverride]
        self.actor_stopped = ref.actor_stopped  # pyright: ignore[reportIncompatibleVariableOverride]
        self._actor_ref = ref
        return self

    def _report_ready(self) -> None:
        if self._owner is not None:
            self._owner.ready(self)

    def _request_restart(self) -> None:
        """End this incarnation so that another one follows. Callable from any thread.

        It may be called before the incarnation's thread runs. Messages that are being handled are
        cancelled and go back to the mailbox, then `on_stop` is called. An actor that is stopping
        ends for good instead.
        """
        self._life.request_restart()

    def _restart(self) -> None:
        """Carry out `_request_restart`, on the loop."""
        self._life.restart()

    def _kill(self) -> None:
        """Kill at once the actor's processes. Callable from any thread."""

    def _abandon(self) -> None:
        """Leave ref and mailbox to the next incarnation, without using this one's thread.

        For an incarnation whose loop hangs; callable from any thread. The message that hangs the
        loop is answered with the dead actor's error; others that were being handled go back to the
        front of the mailbox. The thread ends when its loop runs again.
        """
        self._life.abandon()

    def _is_responsive(self) -> bool:
        """Return whether the loop has made a step since the last call. For one supervisor."""
        return self._probe.is_responsive(self._loop)

    def _where(self) -> str:
        """Return the lines of code that the actor's thread runs. Callable from any thread."""
        return lines_of(self._messages.thread_id)

    # For subclasses and for the detection of deadlocks.

    @property
    def _ended(self) -> bool:
        return self._life.has_ended

    @property
    def _is_stopping(self) -> bool:
        return self._life.state is LifeState.STOPPING

    @property
    def _is_supervised(self) -> bool:
        return self._reports_failures or self._owner is not None

    @property
    def _hook_in_progress(self) -> tuple[asyncio.Task[Any] | None, Scope]:
        return self._life.hook_in_progress

    def _cuts_off_handlers(self) -> bool:
        """Return whether a stop that cancels handlers is in progress. Callable from any thread."""
        if self.stop_grace is None:
            return False
        requested = self._answers.stop_requests or self.actor_inbox.has_stop()
        return self._is_stopping or bool(requested)
