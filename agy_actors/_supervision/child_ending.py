"""Ends the children of one supervisor.

Guarantees:

*   Each child is ended once, by its own task, within its `stop_timeout` plus twice `_CHILD_GRACE`.
    Cancelling the wait for that end does not change it.
*   A supervisor's stop ends its children in the reverse order of their start: for `_ORDERLY`
    seconds one after another, then up to `_AT_ONCE` at a time. If none of those ends within
    `_STALL` seconds, up to twice as many.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from loguru import Logger

    from agy_actors._supervision.background import Background
    from agy_actors._supervision.child import Child

__all__ = ["ChildEnding"]

_CHILD_GRACE = 10.0
"""Seconds that a child gets to end before its process is killed, and again before its thread is
abandoned. The value of agy-bridge."""

_ORDERLY = 1.0
"""Seconds for which a stop ends children one after another. After that it ends several at a time,
so that the time of a stop does not grow with the number of hanging children. Arbitrary: an idle
agent takes a few hundredths of a second."""

_AT_ONCE = 32
"""Children that end at the same time after that. Arbitrary: enough for the processors and the disk
to be busy. More would take longer: each thread that waits for the interpreter's lock wakes every
few milliseconds (`sys.setswitchinterval`), so a thousand of them keep a processor busy."""

_STALL = 0.1
"""Seconds without the end of a child after which twice as many children end at the same time.
Arbitrary: 2,000 children that all hang are told to end within 0.6 seconds."""


class ChildEnding:
    """Ends the children of one supervisor. For the supervisor's thread.

    Args:
        children: the supervisor's children by name, as they are at any time.
        background: logs errors.
        log: the supervisor's.
        on_end: called first when a child begins to end for good.
        forget: called when a child has ended completely.
        note_end: called after the incarnation of a child that was forgotten was abandoned.
        finish_work: awaited before the children are ended.
    """

    def __init__(
        self,
        children: dict[str, Child],
        background: Background,
        log: Logger,
        *,
        on_end: Callable[[Child], None],
        forget: Callable[[Child], None],
        note_end: Callable[[Child], None],
        finish_work: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._children = children
        self._background = background
        self._log = log
        self._on_end = on_end
        self._forget = forget
        self._note_end = note_end
        self._finish_work = finish_work
        self._enforcing: set[asyncio.Task[None]] = set()
        self.all_ended: asyncio.Task[None] | None = None
        """The task that ends all children; `None` before the supervisor ends."""
        self.drains = False
        """Whether the children may finish their turns before they end."""

    def __repr__(self) -> str:
        state = "no" if self.all_ended is None else "all"
        return f"<ChildEnding {state}; drains {self.drains}; {len(self._enforcing)} children end>"

    def end_all(self, *, drain: bool) -> asyncio.Task[None]:
        """End all children, and return the task that does it. May be called once."""
        assert self.all_ended is None
        self.drains = self.drains or drain
        self._background.cancel()
        self.all_ended = asyncio.get_running_loop().create_task(self._end_children())
        return self.all_ended

    def end_drain(self) -> None:
        """If the children finish their turns, cancel those turns."""
        if self.all_ended is None or not self.drains:
            return
        self.drains = False
        for child in list(self._children.values()):
            self._end_drain_of(child)

    def _end_drain_of(self, child: Child) -> None:
        if child.draining and not child.ended.done():
            ask = functools.partial(child.ask_to_end, drain=False)
            self._background.attempt(f"the end of {child.label}", ask)
            child.draining = False

    async def _end_children(self) -> None:
        await self._finish_work()
        children = list(self._children.values())
        left = children.copy()
        loop = asyncio.get_running_loop()
        orderly_until = loop.time() + _ORDERLY
        ending, at_once = 0, 1
        one_ended = asyncio.Event()

        def note_end(_: object) -> None:
            nonlocal ending
            ending -= 1
            one_ended.set()

        while left:
            one_ended.clear()
            while left and ending < at_once:
                child = left.pop()
                self.end(child, drain=self.drains)
                ending += 1
                child.ended.add_done_callback(note_end)
            orderly = loop.time() < orderly_until
            try:
                async with asyncio.timeout_at(orderly_until if orderly else loop.time() + _STALL):
                    await one_ended.wait()
            except TimeoutError:
                at_once = _AT_ONCE if orderly else 2 * at_once
            else:
                at_once = 1 if orderly else max(at_once, _AT_ONCE)
        if children:
            await asyncio.wait([child.ended for child in children])

    def end(self, child: Child, *, drain: bool = False) -> None:
        """End a child for good, by force if necessary."""
        if child.ending or child.ended.done():
            if not drain:
                self._end_drain_of(child)
            return
        self._on_end(child)
        child.ending, child.draining = True, drain
        if not child.ends_itself:
            task = asyncio.get_running_loop().create_task(self._enforce_stop(child))
            self._enforcing.add(task)
            task.add_done_callback(self._enforcing.discard)
        if child.running or (child.ends_itself and child.begun):
            ask = functools.partial(child.ask_to_end, drain=drain)
            # If this fails, the child is killed.
            self._background.attempt(f"the end of {child.label}", ask)
        else:
            self._forget(child)

    async def _enforce_stop(self, child: Child) -> None:
        log = self._log.bind(agent=child.name)
        await asyncio.wait([child.ended], timeout=child.stop_timeout)
        if child.draining and not child.ended.done():
            log.warning("{} is not done; its turns are cancelled", child.noun)
            self._end_drain_of(child)
            await asyncio.wait([child.ended], timeout=_CHILD_GRACE)
        if child.ended.done():
            return
        log.warning("{} does not end; {}", child.noun, child.force)
        end = f"the end of {child.label}"
        self._background.attempt(end, child.kill)
        await asyncio.wait([child.ended], timeout=_CHILD_GRACE)
        if not child.ended.done():
            said = "{}'s thread does not end; abandoned: {}"
            self._background.attempt(end, lambda: log.error(said, child.noun, child.where()))
            self._forget(child)
            child.running = False
            # This also answers the message whose handler blocks the thread.
            self._background.attempt(end, child.abandon)
            self._background.attempt(end, lambda: self._note_end(child))

    async def wait_then_kill(self, child: Child, actor: Any) -> None:
        """Wait until an incarnation exits; kill its processes when its grace period is over."""
        for force in (False, True):
            if force:
                log = self._log.bind(agent=child.name)
                log.warning("{} does not end; {}", child.noun, child.force)
                self._background.attempt(f"the end of {child.label}", child.kill)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHILD_GRACE):
                    await child.exited.wait()
            if not child.runs(actor):
                return
