"""`Life`: the life of one incarnation of an actor, from its start to its end.

`live` tells it from top to bottom. It runs as the main task of the incarnation's loop.
Everything else changes the state, which wakes the main task, or interrupts the hook that it runs.

Guarantees:

*   A stop lets `on_start` and the messages that came before it end first, then nothing more is
    handled. A `StopNow` cancels them, also while a stop is under way. All requests to stop are
    answered when the actor has ended.
*   An incarnation that has ended takes nothing more from the mailbox that it shares with the next
    one. Its unfinished messages are answered, or go back to the front of the mailbox.
*   The owner knows of the end of an incarnation before it is visible to others.

It is for the incarnation's own thread, so there is no lock. For any thread are `request_restart`,
`abandon` (for a loop that hangs) and reading the state.
"""

# ruff: noqa: SLF001 (an actor and its life are one concept in two classes)

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, cast

from agy_actors._actors import registry
from agy_actors._actors.blocking_warning import let_functions_block
from agy_actors._actors.call_chain import ActorCaller, Scope, current_caller
from agy_actors._actors.failures import FAILURES
from agy_actors._actors.incarnation import Outcome
from agy_actors._actors.life_state import HAS_ENDED, HAS_SUCCESSOR, LifeState
from agy_actors._actors.lifeline import DeathReason

if TYPE_CHECKING:
    from pykka._envelope import Envelope as AnyEnvelope

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.answers import Answers
    from agy_actors._actors.failures import Failures
    from agy_actors._actors.incarnation import Owner
    from agy_actors._actors.lifeline import Lifeline
    from agy_actors._actors.mailbox import Mailbox
    from agy_actors._actors.message_handler import MessageHandler
    from agy_actors._actors.runtime import Runtime
    from agy_actors._actors.timers import Timers

__all__ = ["Life"]

_logger = logging.getLogger("pykka")  # The name that users of pykka configure.


class LivingActor(Protocol):
    """What is used here of an actor."""

    actor_inbox: Mailbox
    actor_stopped: Lifeline
    _answers: Answers
    _cause: BaseException | None
    _failed_with: Exception | None
    _failures: Failures
    _loop: asyncio.AbstractEventLoop
    _messages: MessageHandler
    _outcome: Outcome
    _runtime: Runtime
    _timers: Timers

    @property
    def actor_ref(self) -> AsyncioActorRef: ...
    @property
    def stop_grace(self) -> float | None: ...
    @property
    def _reports_failures(self) -> bool: ...
    @property
    def _hurrying(self) -> tuple[type, ...]: ...
    @property
    def _owner(self) -> Owner | None: ...
    def on_start(self) -> Coroutine[Any, Any, None] | None: ...
    def on_stop(self) -> Coroutine[Any, Any, None] | None: ...
    def _fail(self, error: BaseException) -> None: ...
    async def _finish_messages(self) -> None: ...
    def _hurry(self) -> None: ...
    def _report_ready(self) -> None: ...
    def _restart(self) -> None: ...
    async def _wind_up(self) -> None: ...


class Life:
    """The life of one incarnation."""

    def __init__(self, actor: Any) -> None:
        self._actor: LivingActor = actor
        self.state = LifeState.STARTING
        self._hook_task: asyncio.Task[Any] | None = None
        """The main task, while it runs `on_start`, or a stop with `on_stop`."""
        self._left: asyncio.Future[None] | None = None
        """Resolved when the state is no longer RUNNING."""
        self.restart_requested = False

    def __repr__(self) -> str:
        return f"<Life {self.state.value}{'' if self._hook_task is None else ', in a hook'}>"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is taken from the mailbox."""
        return self.state in HAS_ENDED

    @property
    def has_successor(self) -> bool:
        """Whether ref and mailbox are left to the next incarnation."""
        return self.state in HAS_SUCCESSOR

    @property
    def hook_in_progress(self) -> tuple[asyncio.Task[Any] | None, Scope]:
        """The task that runs `on_start` or a stop, if one does, and what that holds up."""
        return self._hook_task, Scope.START if self.state is LifeState.STARTING else Scope.END

    # The life, from top to bottom.

    async def live(self) -> None:
        """Live from the first moment on the loop to the last."""
        self._enter_loop()
        if self.state is LifeState.STARTING:
            await self._set_up()
        if self.state is LifeState.RUNNING:
            self._actor._messages.attach()
            self._left = self._actor._loop.create_future()
            await self._left
        if self.state is LifeState.STOPPING:
            await self._run_hook(self._finish_and_clean_up())
        elif self.state is LifeState.RESTARTING:
            await self._run_hook(self._clean_up_for_restart())
        await self._actor._wind_up()

    def _enter_loop(self) -> None:
        actor, messages = self._actor, self._actor._messages
        actor._loop = messages.loop = asyncio.get_running_loop()
        messages.thread_id = actor._runtime.thread_id()
        if not actor._reports_failures:
            let_functions_block(actor._loop)
        current_caller.set(ActorCaller(cast("Any", actor), messages.thread_id))
        if self.restart_requested:  # Before there was a loop.
            self._actor._restart()

    async def _set_up(self) -> None:
        actor = self._actor
        try:
            started = actor.on_start()
            if started is not None and isinstance(started, Coroutine):
                if self.state is not LifeState.STARTING:  # Abandoned: the mailbox is another's.
                    started.close()
                    return
                actor.actor_inbox.attach(actor._loop, self._look_for_stop_now)
                await self._run_hook(started)
        except FAILURES as error:
            if not self.has_ended:
                actor._fail(error)
            elif not isinstance(error, asyncio.CancelledError):  # Else it was interrupted.
                actor._failures.log(error)
        if self.state is LifeState.STARTING and not actor.actor_stopped.is_set():
            self.state = LifeState.RUNNING
            actor._report_ready()

    def _look_for_stop_now(self) -> None:
        """Cancel `on_start` if a `StopNow` waits. Other messages are left for later."""
        if self.state is not LifeState.STARTING:
            return
        if self._actor.actor_inbox.has_stop(self._actor._hurrying, sleep=True):
            self._close_and_reject()
            self.end()

    async def _run_hook(self, hook: Coroutine[Any, Any, None]) -> None:
        """Run a part of the life that a change of the state interrupts, by a cancellation."""
        state = self.state
        task = self._hook_task = asyncio.current_task()
        try:
            await hook
        except asyncio.CancelledError:
            if self.state is state:
                raise  # Somebody else cancelled the main task.
        finally:
            self._hook_task = None
            while task is not None and self.state is not state and task.cancelling():
                task.uncancel()

    async def _finish_and_clean_up(self) -> None:
        actor = self._actor
        with contextlib.suppress(asyncio.CancelledError):  # By `interrupt`, or somebody else.
            await actor._finish_messages()
        if self.state is LifeState.STOPPING and not actor.actor_stopped.is_set():
            registry.unregister(actor.actor_ref)
            actor.actor_stopped.set()
            _logger.debug("Stopped %s", actor)
            await self._run_on_stop()

    async def finish_messages(self) -> None:
        """Let the messages that came before the stop be handled, within the grace."""
        actor = self._actor
        await actor._messages.finish(actor.stop_grace)
        if actor.actor_inbox.turns_waiting:
            self._close_and_reject()
        await actor._messages.cancel_and_wait()

    async def _clean_up_for_restart(self) -> None:
        actor = self._actor
        actor.actor_inbox.detach(actor._loop)
        actor._timers.end()
        await actor._messages.cancel_and_wait()
        await self._run_on_stop()

    async def _run_on_stop(self) -> None:
        state = self.state
        try:
            stopped = self._actor.on_stop()
            if stopped is not None and isinstance(stopped, Coroutine):
                await stopped
        except FAILURES as error:
            # An incarnation that was abandoned is interrupted, which is no failure.
            if self.state is state or not isinstance(error, asyncio.CancelledError):
                self._actor._failures.log(error)

    async def wind_up(self) -> None:
        """Take nothing more, and answer or return the messages that are left."""
        actor = self._actor
        self.end()
        actor._timers.end()
        if self.has_successor:
            actor.actor_inbox.detach(actor._loop)
        else:
            self._close_and_reject()
        await actor._messages.cancel_and_wait()
        actor._answers.give_back_unfinished()

    def conclude(self) -> None:
        """End what is left when the loop is closed, also if the loop itself failed."""
        actor = self._actor
        actor._messages.open = False
        if not self.has_successor:
            if not actor.actor_stopped.is_set():
                registry.unregister(actor.actor_ref)
                actor.actor_stopped.set()
            actor._answers.reject(actor.actor_inbox.close(actor._answers.make_dead_error))
            actor.actor_inbox.detach()
        actor._answers.give_back_unfinished()
        if not self.has_successor:
            reason = DeathReason.STOPPED if actor._cause is None else DeathReason.FAILED
            actor.actor_stopped.die(reason, actor._cause)
        actor._answers.answer_stop_requests()

    def report_gone(self) -> None:
        """Tell the owner that this incarnation has ended, before that is visible."""
        actor = self._actor
        if actor._owner is None or self.state is LifeState.ABANDONED:
            return
        if actor.actor_inbox.closed:
            actor._outcome = Outcome.ENDED
        elif not self.has_successor:  # The loop's main task was cancelled, or raised.
            actor._outcome = Outcome.CRASHED
            cut_off = RuntimeError(f"the main task of {actor} was cut off")
            actor._failed_with = actor._failed_with or cut_off
            self.end(for_good=False)
            actor.actor_inbox.detach(actor._loop)
        if self.has_successor:
            actor._timers.end()
            actor._answers.give_back_unfinished()
        actor._owner.gone(actor)

    # What changes the state.

    def begin_stop(self, envelope: AnyEnvelope[Any]) -> None:
        """Handle a request to stop: messages that came before it are still handled."""
        actor = self._actor
        actor._answers.stop_requests.append(envelope)
        left: list[AnyEnvelope[Any]] = []
        if self._begin_to_stop():
            actor._timers.end(keep_turns=True)
            left = actor.actor_inbox.close(
                actor._answers.make_dead_error, keep_turns=True, take_stops=True
            )
            actor._answers.reject(left)
        for asked in (envelope, *left):
            if isinstance(asked.message, actor._hurrying):
                actor._hurry()
                break

    def stop_now(self) -> bool:
        """Begin a stop that waits for nothing; return whether that was possible."""
        if not self._begin_to_stop():
            return False
        self._close_and_reject()
        # Not now: one of the handlers may have called this.
        self._actor._loop.call_soon(self._actor._messages.cancel)
        return True

    def hurry(self) -> None:
        """Cancel the running handlers and drop what waits: the actor is to stop now."""
        self._close_and_reject()
        self._actor._messages.cancel()

    def end(self, *, for_good: bool = True) -> None:
        """End this incarnation, unless it has ended: for good, or for the next one."""
        self._actor._messages.open = False
        if self.state is LifeState.RESTARTING:
            self._change(LifeState.RETIRED)
        elif not self.has_ended:
            self._change(LifeState.ENDED if for_good else LifeState.RETIRED)

    def request_restart(self) -> None:
        """See `AsyncioActor._request_restart`."""
        self.restart_requested = True
        # Either `_enter_loop`, which sets the loop first, sees the request, or this sees the loop.
        if cast("asyncio.AbstractEventLoop | None", self._actor._loop) is not None:
            self._call_soon_threadsafe(self._actor._restart)

    def restart(self) -> None:
        """Leave STARTING or RUNNING for the next incarnation, unless a stop was requested."""
        actor = self._actor
        running = self.state is LifeState.RUNNING
        if actor.actor_inbox.closed or not (running or self.state is LifeState.STARTING):
            return
        actor._messages.open = False
        actor._outcome = Outcome.CRASHED
        actor._failed_with = RuntimeError(f"{actor} was asked to restart")
        self._change(LifeState.RESTARTING if running else LifeState.RETIRED)

    def abandon(self) -> None:
        """See `AsyncioActor._abandon`."""
        actor, messages = self._actor, self._actor._messages
        self.mark_abandoned()
        actor.actor_inbox.evict()
        actor._timers.withdraw()
        hanging = messages.claim_hanging()
        if hanging is not None:
            actor._answers.reject([hanging])
        actor._answers.give_back_unfinished()
        if not self.has_successor:
            self.conclude()
        if messages.thread_id:
            self._call_soon_threadsafe(self._interrupt)

    def mark_abandoned(self) -> None:
        """Have this incarnation take nothing more. Callable from any thread, also repeatedly."""
        actor = self._actor
        if self.state is not LifeState.ABANDONED:
            self.state = LifeState.ENDED if actor.actor_inbox.closed else LifeState.ABANDONED
        actor._messages.open, actor._messages.cut_off = False, True

    def _begin_to_stop(self) -> bool:
        if self.state is not LifeState.RUNNING:
            return False
        self._change(LifeState.STOPPING)
        return True

    def _change(self, state: LifeState) -> None:
        self.state = state
        self._interrupt()

    def _interrupt(self) -> None:
        """Have the main task go on to what the state asks for."""
        if self._left is not None and not self._left.done():
            self._left.set_result(None)
        if self._hook_task is not None:
            self._hook_task.cancel()

    def _call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: it came to its end.
            self._actor._loop.call_soon_threadsafe(callback)

    def _close_and_reject(self) -> None:
        actor = self._actor
        close = actor.actor_inbox.close
        actor._answers.reject(close(actor._answers.make_dead_error, take_stops=True))
