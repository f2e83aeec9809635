"""`AsyncioActor`: an actor type whose thread is an asyncio loop.

Guarantees:

*   Every ask that the mailbox took is answered exactly once: by its handler, or, when
    the actor ends first, with the dead actor's error. `_in_flight` holds every
    envelope from `take` to its answer, and the end answers what is left in it.
*   Messages are taken up in the order of their lane, and turns run one at a time.
*   What a handler raises, `BaseException` included, reaches its asker and nobody
    else. pykka would stop every actor in the process for a BaseException.
*   A stop lets all that was put before it end first, then nothing more is handled.
    Who asks for a stop meanwhile is answered when the actor has ended, too.
*   An incarnation that has retired, or was forsaken, takes nothing more from the
    mailbox that it shares with its successor.

All state of an actor is touched on its loop's thread alone, so there is no lock here.
`forsake` is the exception: it is for a loop that has stopped turning.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sys
import threading
import traceback
from collections.abc import Coroutine
from pathlib import Path
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeGuard, cast

import pykka
from loguru import logger
from pykka._envelope import Envelope as PykkaEnvelope

from agy_actors._kernel import forks
from agy_actors._kernel._callers import Frame, StaticCaller, current_caller
from agy_actors._kernel._death import DeathReason, Lifeline
from agy_actors._kernel._future import CANCELLED, ReplyFuture, fail, resolve
from agy_actors._kernel._host import current_host
from agy_actors._kernel._loop import is_asleep
from agy_actors._kernel._mailbox import Envelope, Mailbox, is_stop
from agy_actors._kernel._message import DEFERRED, TURN, Message
from agy_actors._kernel._ref import AsyncioActorRef

if TYPE_CHECKING:
    AnyEnvelope: TypeAlias = PykkaEnvelope[Any]


__all__ = ["AsyncioActor"]

_logger = logging.getLogger("pykka")  # The name that users of pykka configure.

_FRAMES = 4  # Innermost lines of code shown of a thread; arbitrary.

_FAILURES = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
"""What code of an actor may raise: all but GeneratorExit, which ends the coroutine itself."""


class AsyncioActor(pykka.Actor):
    """An actor whose thread runs an asyncio loop that drains its mailbox.

    A handler may be a plain function, whose result is the reply, or a coroutine
    function: the reply comes when it ends, and the actor goes on handling messages
    meanwhile. Messages of the turn lane (`Message.lane`) are handled one at a time.

    Start it with `start()`, as any pykka actor.
    """

    use_daemon_thread: ClassVar[bool] = False
    """Whether the interpreter may end without waiting for the actor. Read at the start."""

    mailbox_capacity: ClassVar[int] = 1000
    """How many messages the turn lane holds; a sender gets `MailboxFull` beyond."""

    stop_grace: ClassVar[float | None] = None
    """Seconds that a stop gives to what is being handled; `None` waits for its end."""

    unabandonable: ClassVar[tuple[type, ...]] = ()
    """The messages whose handling goes on when nobody waits for the reply any more. The handling
    of others is cancelled, which would leave a change that these make half done."""

    actor_inbox: Mailbox
    """The actor's mailbox."""

    actor_stopped: Lifeline  # pyright: ignore[reportIncompatibleVariableOverride]
    """Set when the actor stops; it knows who watches. pykka's own is a bare event."""

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> AsyncioActorRef:
        """Start the actor and return its ref. Arguments go to the constructor."""
        return cast("AsyncioActorRef", super().start(*args, **kwargs))

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return (current_host().mailbox_type or Mailbox)()

    @staticmethod
    def _create_future() -> ReplyFuture[Any]:
        return ReplyFuture()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor_stopped = Lifeline()
        self._actor_ref = AsyncioActorRef(self)
        self.actor_inbox.capacity = self.mailbox_capacity
        self.actor_inbox.owner = str(self)
        self._host = current_host()
        self._loop: asyncio.AbstractEventLoop = cast("asyncio.AbstractEventLoop", None)
        """The incarnation's own, from its first moment on."""
        self._pulse: threading.Event | None = None
        self._thread_id = 0
        self._in_flight: dict[AnyEnvelope, asyncio.Task[bool]] = {}
        self._turn: AnyEnvelope | None = None
        self._handling: AnyEnvelope | None = None
        self._turns_open = True
        self._stopping: list[AnyEnvelope] = []
        self._ending: asyncio.Task[None] | None = None
        self._ended = False
        self._cut_off = False
        self._retired = False
        self._cause: BaseException | None = None

    @property
    def actor_ref(self) -> AsyncioActorRef:
        """The actor's ref."""
        return cast("AsyncioActorRef", self._actor_ref)

    # What a subclass may say.

    def on_start(self) -> Coroutine[Any, Any, None] | None:  # type: ignore[override] # or async
        """Set the actor up on its loop, before its first message. May be a coroutine."""

    def on_stop(self) -> Coroutine[Any, Any, None] | None:  # type: ignore[override] # or async
        """Clean up on the actor's loop, after its last message. May be a coroutine.

        It is not called when the actor ends because of a failure.
        """

    def dead_error(self) -> Exception:
        """Make the error for those who ask after the actor's end, or whose ask it cut off."""
        error = pykka.ActorDeadError(f"{self} not found")  # pykka's words
        error.__cause__ = self._cause
        return error

    def caller_name(self) -> str:
        """Return what the actor is called in a `DeadlockError`."""
        return str(self)

    def on_dead_letter(self, message: Any) -> None:
        """Note a message that was told, and that the actor's end left unhandled.

        Called on any thread; it must not raise. By default it is logged.
        """
        logger.warning("{} ended before it handled a {}", self, type(message).__name__)

    def on_taken(self, envelope: AnyEnvelope) -> None:
        """Note that a turn was taken up. Called on the loop, before its handler."""

    # The life of an incarnation.

    def succeed(self, ref: AsyncioActorRef) -> Self:
        """Take over a predecessor's ref and mailbox, before `begin`."""
        self.actor_urn = ref.actor_urn
        # Never replaced once it runs, so that pykka's wider type does no harm.
        self.actor_inbox = ref.actor_inbox  # pyright: ignore[reportIncompatibleVariableOverride]
        self.actor_stopped = ref.actor_stopped  # pyright: ignore[reportIncompatibleVariableOverride]
        self._actor_ref = ref
        return self

    def begin(self) -> None:
        """Start this incarnation's loop, without registering it anew."""
        self._run_on_host()

    def retire(self) -> None:
        """End this incarnation and leave ref and mailbox to a successor.

        What is being handled goes back to the front of the mailbox, unless answered.
        An actor that is stopping has no successor: it ends for good instead.
        Call it on the actor's loop.
        """
        self._retired = not self.actor_inbox.closed
        self._end()

    def forsake(self) -> None:
        """Leave ref and mailbox to a successor, without the help of this incarnation.

        For an incarnation whose loop hangs; call it on any thread. What hangs the loop
        is answered with the dead actor's error; other messages that were being handled
        go back to the front of the mailbox. The thread ends when its loop turns again.
        """
        self._retired = not self.actor_inbox.closed
        self._ended = self._cut_off = True
        self.actor_inbox.detach()
        hanging = self._handling
        if hanging is not None:
            self._reject([hanging])
        for envelope in reversed(self._in_flight.copy()):
            if self._in_flight.pop(envelope, None) is not None:  # The loop may be back.
                self._give_back(envelope)
        if not self._retired:
            self._conclude()
        if self._thread_id:
            with contextlib.suppress(RuntimeError):  # The loop is closed: it came to its end.
                self._loop.call_soon_threadsafe(self._end)

    def beats(self) -> bool:
        """Tell whether the loop has turned since this was last asked. For one supervisor.

        A loop that sleeps is well, and is left asleep; any other is sent a call, which
        it has made by the next time if it turns at all.
        """
        loop = self._loop
        if loop is None or is_asleep(loop):
            self._pulse = None
            return True
        if self._pulse is not None and not self._pulse.is_set():
            return False
        self._pulse = threading.Event()
        with contextlib.suppress(RuntimeError):  # The loop is closed: it came to its end.
            loop.call_soon_threadsafe(self._pulse.set)
        return True

    def where(self) -> str:
        """Tell, on any thread, in which lines of code the actor's thread is just now."""
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 (documented)
        if frame is None:
            return "(no thread)"
        stack = traceback.extract_stack(frame)[-_FRAMES:]
        return " > ".join(f"{f.name} ({Path(f.filename).name}:{f.lineno})" for f in stack)

    def open_turns(self, *, open: bool) -> None:  # noqa: A002
        """Let turns be taken up, or not. Call it on the actor's loop."""
        self._turns_open = open
        if open:
            self.actor_inbox.rouse()

    def _start_actor_loop(self) -> None:
        try:
            self._run_on_host()
        except BaseException as error:
            # pykka has registered the actor. It must not stay there, to be stopped by all
            # and never to answer.
            self._cause = error
            self._after_loop()
            raise

    def _run_on_host(self) -> None:
        self._host.run_actor(
            self._live,
            on_exit=self._after_loop,
            name=f"{type(self).__name__}-{self._host.number(type(self).__name__)}",
            daemon=self.use_daemon_thread,
        )

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._thread_id = self._host.thread_id()
        frame = Frame(self.actor_urn, self.caller_name(), in_turn=False, loop_blocked=False)
        current_caller.set(StaticCaller((frame,), self._thread_id))
        try:
            started = None if self._ended else self.on_start()
            if isinstance(started, Coroutine):
                await started
        except _FAILURES:  # pykka: on_start's failure is logged and ends the actor.
            self._fail()
        if not self.actor_stopped.is_set() and not self._ended:
            self.actor_inbox.attach(self._loop, self._drain)
            await self._over
        await self._wind_up()

    async def _wind_up(self) -> None:
        self._ended = True
        if not self._retired:
            self._reject(self.actor_inbox.close(self._make_dead_error, take_stops=True))
        else:
            self.actor_inbox.detach(self._loop)
        await self._cut_off_handlers()
        self._settle_in_flight()

    async def _cut_off_handlers(self) -> None:
        self._cut_off = True
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _settle_in_flight(self) -> None:
        left, self._in_flight = self._in_flight, {}
        for envelope in reversed(left):
            self._give_back(envelope)

    def _give_back(self, envelope: AnyEnvelope) -> None:
        if not (self._retired and self.actor_inbox.put_back(envelope)):
            self._reject([envelope])

    def _after_loop(self) -> None:
        self._conclude()

    def _conclude(self) -> None:
        # A crash of the loop itself must not leave anybody waiting.
        if not self._retired:
            if not self.actor_stopped.is_set():
                pykka.ActorRegistry.unregister(self.actor_ref)
                self.actor_stopped.set()
            self._reject(self.actor_inbox.close(self._make_dead_error))
            self.actor_inbox.detach()
        self._settle_in_flight()
        if not self._retired:
            reason = DeathReason.STOPPED if self._cause is None else DeathReason.FAILED
            self.actor_stopped.die(reason, self._cause)
        stopping, self._stopping = self._stopping, []
        for envelope in stopping:
            resolve(envelope.reply_to, None)

    # Taking up messages.

    def _drain(self) -> None:
        take, control = self.actor_inbox.take, self.actor_inbox.control
        handle, handle_bare = self._handle, self._handle_bare
        again = True  # The mailbox sleeps only after it gave nothing: else nobody drains it.
        try:
            for _ in range(self._host.batch):
                if self._ended:
                    again = False
                    return
                if control:
                    item = control.popleft()  # As `take` would.
                else:
                    item = take(turns=self._turn is None and self._turns_open)
                    if item is None:
                        again = False
                        return
                kind = type(item)
                if kind is Envelope or kind is PykkaEnvelope:
                    self._handling = item
                    handle(item)
                else:
                    self._handling = None
                    handle_bare(item)
        finally:
            self._handling = None
            if again:
                self._loop.call_soon(self._drain)

    def _handle(self, envelope: AnyEnvelope) -> None:
        # The hottest path there is, so nothing here calls what it can do without.
        message, reply_to = envelope.message, envelope.reply_to
        if type(reply_to) is ReplyFuture and reply_to._state == CANCELLED:  # noqa: SLF001 (as above)
            return
        pykkas = isinstance(message, tuple)  # As all of pykka's own messages are.
        if pykkas and is_stop(message):
            self._begin_stop(envelope)
            return
        turn = isinstance(message, Message) and message.lane is TURN
        frames = envelope.frames if type(envelope) is Envelope else ()
        if turn or frames:
            self._handle_in_context(envelope, frames, turn=turn)
            return
        try:
            response = self._handle_receive(message) if pykkas else self.on_receive(message)
        except BaseException as error:  # noqa: BLE001 (it belongs to the asker)
            self._answer_error(envelope, error)
            return
        if hasattr(response, "__await__") and _is_coroutine(response):
            self._run(envelope, response, None)
        elif type(reply_to) is ReplyFuture:
            reply_to.resolve(response)
        elif reply_to is not None:
            resolve(envelope.reply_to, response)

    def _handle_bare(self, message: object) -> None:
        """Handle a bare message: nobody waits for it, and it is no turn."""
        try:
            response = self.on_receive(message)
        except BaseException as error:  # noqa: BLE001 (it is the actor's failure, and nobody else's)
            self._answer_error(Envelope(message), error)
            return
        if response is not None and hasattr(response, "__await__") and _is_coroutine(response):
            self._run(Envelope(message), response, None)

    def _handle_in_context(
        self, envelope: AnyEnvelope, frames: tuple[Frame, ...], *, turn: bool
    ) -> None:
        context = contextvars.copy_context()
        try:
            if turn:
                self.on_taken(envelope)
            frame = Frame(self.actor_urn, self.caller_name(), in_turn=turn, loop_blocked=False)
            caller = _HandlingCaller(self, envelope, frames, frame)
            context.run(current_caller.set, caller)
            response = context.run(self._handle_receive, envelope.message)
        except BaseException as error:  # noqa: BLE001 (it belongs to the asker)
            self._answer_error(envelope, error)
            return
        if _is_coroutine(response):
            if turn:
                self._turn = envelope
            self._run(envelope, response, context)
        elif response is not DEFERRED:
            resolve(envelope.reply_to, response)

    def _run(
        self,
        envelope: AnyEnvelope,
        handler: Coroutine[Any, Any, Any],
        context: contextvars.Context | None,
    ) -> None:
        task = self._loop.create_task(self._handle_async(envelope, handler), context=context)
        task.add_done_callback(lambda _: self._finished(envelope, handler, task))
        self._in_flight[envelope] = task
        reply_to = envelope.reply_to
        if isinstance(reply_to, ReplyFuture) and not isinstance(
            envelope.message, self.unabandonable
        ):
            reply_to.add_done_callback(lambda _: self._abandon(envelope, task))

    async def _handle_async(self, envelope: AnyEnvelope, handler: Coroutine[Any, Any, Any]) -> bool:
        """Handle a message to its end, and return whether that settled it."""
        try:
            response = await handler
        except asyncio.CancelledError as error:
            if self._cut_off:
                return False  # `_settle_in_flight` will.
            if not _is_abandoned(envelope):
                self._answer_error(envelope, error)
        except BaseException as error:  # noqa: BLE001 (it belongs to the asker)
            self._answer_error(envelope, error)
        else:
            resolve(envelope.reply_to, response)
        return True

    def _finished(
        self, envelope: AnyEnvelope, handler: Coroutine[Any, Any, Any], task: asyncio.Task[bool]
    ) -> None:
        # A callback and no `finally`: a task that is cancelled before its first step
        # runs no line of its coroutine, and it too must give the turn back.
        handler.close()
        settled = not task.cancelled() and (task.exception() is not None or task.result())
        if settled or not self._cut_off:
            self._in_flight.pop(envelope, None)
            if not settled:
                # Cancelled before its first step, so nobody else has answered.
                self._reject([envelope])
        if self._turn is envelope:
            self._turn = None
            self.actor_inbox.rouse()

    def _abandon(self, envelope: AnyEnvelope, task: asyncio.Task[bool]) -> None:
        if _is_abandoned(envelope):
            try:
                self._loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                if not self._loop.is_closed():  # With the loop, the task has ended.
                    raise

    # Answering.

    def _answer_error(self, envelope: AnyEnvelope, error: BaseException) -> None:
        exc_info = (type(error), error, error.__traceback__)
        if envelope.reply_to is not None:
            _logger.info("Exception returned from %s to caller:", self, exc_info=exc_info)
            fail(envelope.reply_to, error)
            return
        self._cause = error
        if isinstance(error, Exception):
            self._handle_failure(*exc_info)
            try:
                self.on_failure(*exc_info)
            except _FAILURES:  # pykka: logged.
                self._handle_failure(*sys.exc_info())
            self._end()
        elif self._ending is None:
            # pykka's words, which people grep for; here "all" is this one.
            _logger.debug("%r in %s. Stopping all actors.", error, self)
            self._reject(self.actor_inbox.close(self._make_dead_error, take_stops=True))
            self._ending = self._loop.create_task(self._stop_at_once())

    def _reject(self, envelopes: list[AnyEnvelope]) -> None:
        for envelope in envelopes:
            if is_stop(envelope.message):
                self._stopping.append(envelope)
            elif envelope.reply_to is not None:
                fail(envelope.reply_to, self._make_dead_error())
            else:
                self.on_dead_letter(envelope.message)

    def _make_dead_error(self) -> Exception:
        try:
            return self.dead_error()
        except Exception:  # noqa: BLE001 (a subclass's mistake must not leave an ask unanswered)
            logger.exception("The dead_error of {} failed", self)
            return AsyncioActor.dead_error(self)

    # Ending.

    def _fail(self) -> None:
        kind, error, traceback = sys.exc_info()
        self._cause = error
        self._handle_failure(kind, error, traceback)

    def _begin_stop(self, envelope: AnyEnvelope) -> None:
        self._stopping.append(envelope)
        if self._ending is not None:
            return
        self._reject(
            self.actor_inbox.close(self._make_dead_error, keep_turns=True, take_stops=True)
        )
        if self._in_flight or self.actor_inbox.turns_waiting:
            self._ending = self._loop.create_task(self._drain_and_stop())
            return
        stopped = self._stop_hooks()
        if stopped is None:
            self._end()
        else:
            self._ending = self._loop.create_task(self._finish_stop(stopped))

    async def _drain_and_stop(self) -> None:
        deadline = None if self.stop_grace is None else self._loop.time() + self.stop_grace
        try:
            while self._in_flight or (self._turns_open and self.actor_inbox.turns_waiting):
                left = None if deadline is None else deadline - self._loop.time()
                if left is not None and left <= 0:
                    break
                if self._in_flight:
                    await asyncio.wait(self._in_flight.values(), timeout=left)
                else:
                    await asyncio.sleep(0)  # A turn is about to be taken up.
            self._reject(self.actor_inbox.close(self._make_dead_error, take_stops=True))
        finally:
            await self._stop_at_once()

    async def _stop_at_once(self) -> None:
        try:
            await self._cut_off_handlers()  # `on_stop` comes after them.
        finally:
            await self._finish_stop()

    async def _finish_stop(self, stopped: Coroutine[Any, Any, None] | None = None) -> None:
        try:
            if stopped is None:
                stopped = self._stop_hooks()
            if stopped is not None:
                await stopped
        except _FAILURES as failure:  # pykka: on_stop's failure is logged.
            # Cut off by the end of the loop, where one that was forsaken came back: no failure.
            if not (self._ended and isinstance(failure, asyncio.CancelledError)):
                self._handle_failure(*sys.exc_info())
        finally:
            self._end()

    def _stop_hooks(self) -> Coroutine[Any, Any, None] | None:
        if self.actor_stopped.is_set():
            return None
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        _logger.debug("Stopped %s", self)
        try:
            stopped = self.on_stop()
        except _FAILURES:  # pykka: on_stop's failure is logged.
            self._handle_failure(*sys.exc_info())
            return None
        return stopped if isinstance(stopped, Coroutine) else None

    def _end(self) -> None:
        self._ended = True
        if not self._over.done():
            self._over.set_result(None)


class _HandlingCaller:
    """The caller in whose context a message is handled, for as long as it is handled.

    Tasks that a handler leaves behind keep its context. By then nobody waits for it.
    """

    __slots__ = ("_actor", "_envelope", "_frame", "_waiting", "thread_id")

    def __init__(
        self, actor: AsyncioActor, envelope: AnyEnvelope, waiting: tuple[Frame, ...], frame: Frame
    ) -> None:
        self._actor = actor
        self._envelope = envelope
        self._waiting = waiting
        self._frame = frame
        self.thread_id = actor._thread_id  # noqa: SLF001 (one concept in two classes)

    def frames(self) -> tuple[Frame, ...]:
        if self._actor.actor_inbox.made_in != forks.generation:
            return ()  # A tool forked, and this is the child: nobody waits for what runs here.
        reply_to = self._envelope.reply_to
        waited_for = isinstance(reply_to, ReplyFuture) and not reply_to.done()
        frame = self._frame
        actor = self._actor
        if frame.in_turn and self._envelope not in (actor._turn, actor._handling):  # noqa: SLF001 (see above)
            frame = frame._replace(in_turn=False)
        return (*self._waiting, frame) if waited_for else (frame,)


def _is_coroutine(response: object) -> TypeGuard[Coroutine[Any, Any, Any]]:
    # Not `asyncio.iscoroutine`: on Python 3.11 that takes generators for coroutines.
    return type(response) is CoroutineType or isinstance(response, Coroutine)


def _abandoned(reply_to: pykka.Future[Any]) -> bool:
    return type(reply_to) is ReplyFuture and reply_to.cancelled()


def _is_abandoned(envelope: AnyEnvelope) -> bool:
    return envelope.reply_to is not None and _abandoned(envelope.reply_to)
