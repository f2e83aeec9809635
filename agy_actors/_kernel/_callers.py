"""Who waits for whom: the chain of blocking asks, and the deadlocks in it.

An actor that blocks on an ask is named in a `Frame`; the ask carries the frames of
all that wait for it. An actor named there cannot answer

*   anything, while its own loop is the thread that blocks, nor
*   another turn, while one of its turns waits: turns run one at a time, nor
*   a stop, while one of its turns waits, unless `stop_grace` cuts that off.

It can answer a query from a tool of its own turn: that runs on its free loop.

The chain follows context variables, so it holds across `asyncio.to_thread`, tasks
and `contextvars.copy_context`, and not across a bare `threading.Thread`.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._kernel import forks
from agy_actors._kernel._errors import DeadlockError
from agy_actors._kernel._host import current_host
from agy_actors._kernel._message import takes_turn

if TYPE_CHECKING:
    from agy_actors._kernel._ref import AsyncioActorRef

__all__ = ["Caller", "Frame", "StaticCaller", "chain_to", "current_caller"]


class Frame(NamedTuple):
    """One actor that waits for the reply of an ask."""

    urn: str
    name: str
    in_turn: bool
    """Whether one of its turns waits."""
    loop_blocked: bool
    """Whether its loop's own thread waits."""


class Caller(Protocol):
    """The actor in whose context code runs."""

    thread_id: int
    """The thread of the actor's loop."""

    def frames(self) -> tuple[Frame, ...]:
        """Return those that wait for what runs here, and last the actor itself."""
        ...


class StaticCaller:
    """A caller whose chain is known when its message is handled."""

    __slots__ = ("_frames", "thread_id")

    def __init__(self, frames: tuple[Frame, ...], thread_id: int) -> None:
        self._frames = frames
        self.thread_id = thread_id

    def frames(self) -> tuple[Frame, ...]:
        return self._frames


current_caller: contextvars.ContextVar[Caller | None] = contextvars.ContextVar(
    "agy_actors_caller", default=None
)
"""The actor in whose context this code runs, if any."""


def chain_to(
    target: AsyncioActorRef, message: object, caller: Caller, *, blocking: bool = True
) -> tuple[Frame, ...]:
    """Return the frames that an ask of `target` carries whose reply is waited for.

    Args:
        target: whom to ask.
        message: what to ask.
        caller: who asks.
        blocking: whether the waiting blocks its thread, or is a coroutine's.

    Raises:
        DeadlockError: the target waits for the asker, so the reply could never come.
        ForkedProcessError: the target is of the process that this one was forked from.
    """
    forks.check(target.actor_inbox.made_in)
    frames = caller.frames()
    if blocking and frames and current_host().thread_id() == caller.thread_id:
        frames = (*frames[:-1], frames[-1]._replace(loop_blocked=True))
    stop = isinstance(message, _ActorStop)
    after_turn = target.actor_class.stop_grace is None if stop else takes_turn(message)
    for position, frame in enumerate(frames):
        if frame.urn != target.actor_urn:
            continue
        if frame.loop_blocked or (after_turn and frame.in_turn):
            chain = " -> ".join([*(frame.name for frame in frames[position:]), frame.name])
            what = "stop" if stop else type(message).__name__
            raise DeadlockError(
                f"asking {frame.name} for {what} can never be answered: it is"
                f" waiting for this very code ({chain}); ask with block=False and do not wait for"
                " the reply here, or tell it"
            )
    return frames
