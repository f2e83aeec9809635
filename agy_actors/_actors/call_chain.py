"""The caller: the actor in whose context code runs, and the chain of blocking asks up to it.

An ask that can never be answered, because its own chain leads back to the asker, is refused
before it is sent (`chain_to`). `deadlock` finds the circles that close in another way.

An actor that blocks on an ask has a `Frame`; the ask carries the frames of all actors that wait for
it. An actor with a frame cannot answer

*   any message, while its own loop is the thread that blocks;
*   another turn, while one of its turns waits: turns run one at a time;
*   a stop, while one of its handlers waits, unless `stop_grace` cuts that off, or the stop itself
    (`StopNow`).

It can answer a query from a tool of its own turn: that runs on its free loop.

The chain follows context variables, so it holds across `asyncio.to_thread`, tasks
and `contextvars.copy_context`, and not across a bare `threading.Thread`.
"""

from __future__ import annotations

import contextvars
import enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._actors import forks
from agy_actors._actors.errors import DeadlockError
from agy_actors._actors.message import StopNow, comes_after_turns, takes_turn
from agy_actors._actors.runtime import current_runtime
from agy_actors._actors.task_tree import is_awaited

if TYPE_CHECKING:
    import asyncio

    from pykka._envelope import Envelope as AnyEnvelope


__all__ = [
    "Activity",
    "ActorCaller",
    "Caller",
    "CallingActor",
    "Frame",
    "Scope",
    "activity_of",
    "call_task",
    "chain_to",
    "current_caller",
]


class Frame(NamedTuple):
    """One actor that waits for the reply of an ask."""

    urn: str
    name: str
    in_turn: bool
    """Whether one of its turns waits."""
    loop_blocked: bool
    """Whether its loop's own thread waits."""
    handling: bool = False
    """Whether the handler of a message waits, of a turn or not."""


class Scope(enum.Enum):
    """The part of an actor that a wait holds up."""

    LOOP = "loop"
    """The whole actor: its loop's own thread waits."""

    START = "start"
    """All but a `StopNow`, which cancels it: the actor's first messages wait for its start."""

    HANDLER = "handler"
    """The reply to the message that is handled; if it is a turn, all other turns; and a stop
    that does not cut it off."""

    END = "end"
    """Its end."""


class HandledMessages(Protocol):
    """The part of an actor's `MessageHandler` that is used here."""

    loop: asyncio.AbstractEventLoop
    thread_id: int
    turn: AnyEnvelope[Any] | None
    handling: AnyEnvelope[Any] | None
    in_flight: dict[AnyEnvelope[Any], asyncio.Task[bool]]

    def is_handling(self, envelope: AnyEnvelope[Any]) -> bool: ...


class CallingActor(Protocol):
    """The part of an asking actor that is used here."""

    actor_urn: str
    stop_grace: ClassVar[float | None]

    @property
    def actor_inbox(self) -> Any: ...
    @property
    def _owner_urns(self) -> tuple[str, ...]: ...
    @property
    def _messages(self) -> HandledMessages: ...
    @property
    def _ended(self) -> bool: ...
    @property
    def _hook_in_progress(self) -> tuple[asyncio.Task[Any] | None, Scope]: ...
    def caller_name(self) -> str: ...
    def _cuts_off_handlers(self) -> bool: ...


class AskedRef(Protocol):
    """The part of the ref of an asked actor that is used here."""

    actor_urn: str

    @property
    def actor_inbox(self) -> Any: ...
    @property
    def actor_class(self) -> Any: ...


class Activity(NamedTuple):
    """A part of an actor that may wait."""

    actor: CallingActor
    scope: Scope
    envelope: AnyEnvelope[Any] | None = None
    """The message that is handled."""

    def holds_up(self, message: object, reply: object) -> bool:
        """Return whether the actor cannot reply to a message before this continues.

        Callable from any thread.

        Args:
            message: the message.
            reply: its future.
        """
        actor, scope, envelope = self
        if actor._ended:  # noqa: SLF001 (one concept in two classes)
            return False
        if scope is not Scope.HANDLER:
            stop, now = isinstance(message, _ActorStop), isinstance(message, StopNow)
            return {Scope.LOOP: True, Scope.START: not now, Scope.END: stop}[scope]
        cuts_off = actor._cuts_off_handlers  # noqa: SLF001 (of this package)
        messages = actor._messages  # noqa: SLF001 (of this package)
        if envelope is None or not messages.is_handling(envelope) or cuts_off():
            return False
        if reply is not None and envelope.reply_to is reply:
            return True
        if isinstance(message, _ActorStop):
            return actor.stop_grace is None and not isinstance(message, StopNow)
        return takes_turn(envelope.message) and comes_after_turns(message)


class Caller(Protocol):
    """The actor in whose context code runs."""

    @property
    def thread_id(self) -> int:
        """The thread of the actor's loop."""
        ...

    def frames(self) -> tuple[Frame, ...]:
        """Return the frames of the actors that wait for this code, and last of the actor itself."""
        ...

    def activity(self, task: asyncio.Task[Any] | None) -> Activity | None:
        """Return which activity is held up if the running code waits; `None` for no activity.

        Args:
            task: the running task, which is to wait; `None` if it is the running thread.
        """
        ...


class ActorCaller:
    """The caller while an actor runs its start or its end, which belong to no message."""

    __slots__ = ("_actor", "thread_id")

    def __init__(self, actor: CallingActor, thread_id: int) -> None:
        self._actor = actor
        self.thread_id = thread_id

    def frames(self) -> tuple[Frame, ...]:
        actor = self._actor
        return (Frame(actor.actor_urn, actor.caller_name(), in_turn=False, loop_blocked=False),)

    def activity(self, task: asyncio.Task[Any] | None) -> Activity | None:
        actor = self._actor
        if task is None:
            return activity_of(actor, None, None)
        if task.get_loop() is not actor._messages.loop:  # noqa: SLF001 (one concept in two classes)
            return None
        hook_task, scope = actor._hook_in_progress  # noqa: SLF001 (as above)
        if hook_task is not None and is_awaited(task, [hook_task]):
            return Activity(actor, scope)
        return None


def activity_of(
    actor: CallingActor, envelope: AnyEnvelope[Any] | None, task: asyncio.Task[Any] | None
) -> Activity | None:
    """Return which activity is held up if an actor's code waits; `None` for no activity.

    Args:
        actor: the actor.
        envelope: the message in whose context the code runs.
        task: the running task, which is to wait; `None` if it is the running thread.
    """
    messages = actor._messages  # noqa: SLF001 (one concept in two classes)
    if task is None and current_runtime().thread_id() == messages.thread_id:
        return Activity(actor, Scope.LOOP, envelope)
    if envelope is None or not messages.is_handling(envelope):
        return None  # No asker waits any more for this code.
    if task is not None:
        roots: list[asyncio.Task[Any]] = []
        if task.get_loop() is messages.loop:
            handler, call = messages.in_flight.get(envelope), call_task.get()
            roots = [root for root in (handler, call) if root is not None]
            if not roots:
                return None
        # Otherwise a thread of the handler's runs its own loop until the task is done.
        if not is_awaited(task, roots):
            return None
    return Activity(actor, Scope.HANDLER, envelope)


call_task: contextvars.ContextVar[asyncio.Task[Any] | None] = contextvars.ContextVar(
    "agy_actors_call_task", default=None
)
"""The task in which a tool or a hook is called, if it is not the handler's own. The turn continues
when the call has ended."""

current_caller: contextvars.ContextVar[Caller | None] = contextvars.ContextVar(
    "agy_actors_caller", default=None
)
"""The actor in whose context this code runs, if any."""


def chain_to(
    target: AskedRef, message: object, caller: Caller, *, blocking: bool = True
) -> tuple[Frame, ...]:
    """Return the frames that an ask carries, for a caller that waits for the reply.

    Args:
        target: the ref of the actor that is asked.
        message: what to ask.
        caller: the asking actor.
        blocking: whether the waiting blocks its thread, or is a coroutine's.

    Raises:
        DeadlockError: the target waits for the asker, so the reply could never come.
        ForkedProcessError: the target belongs to the process that this one was forked from.
    """
    forks.check(target.actor_inbox.made_in)
    frames = caller.frames()
    if blocking and frames and current_runtime().thread_id() == caller.thread_id:
        frames = (*frames[:-1], frames[-1]._replace(loop_blocked=True))
    stop = isinstance(message, _ActorStop)
    after_turn = not stop and comes_after_turns(message)
    waits = target.actor_class.stop_grace is None and not isinstance(message, StopNow)
    after_all = stop and waits
    for position, frame in enumerate(frames):
        if frame.urn != target.actor_urn:
            continue
        if (
            frame.loop_blocked
            or (after_turn and frame.in_turn)
            or (after_all and (frame.in_turn or frame.handling))
        ):
            if target.actor_inbox.closed and not stop:
                break  # It has ended or is about to end: the ask gets that error.
            chain = " -> ".join([*(frame.name for frame in frames[position:]), frame.name])
            what = "stop" if stop else type(message).__name__
            raise DeadlockError(
                f"asking {frame.name} for {what} can never be answered: it is"
                f" waiting for this very code ({chain}); ask with block=False and do not wait for"
                " the reply here, or tell it"
            )
    return frames
