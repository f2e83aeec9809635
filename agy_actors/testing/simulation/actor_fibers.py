"""`ActorFibers`: the actors of a simulation, from their start to their end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.declare_dead import declare_dead
from agy_actors._supervision.owner_actor import OwnerActor
from agy_actors.testing.simulation.simulated_mailbox import SimulatedMailbox

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from agy_actors._supervision.child import Child
    from agy_actors.testing.simulation.fiber import Fiber
    from agy_actors.testing.simulation.scheduler import Scheduler

__all__ = ["ActorFibers"]


class ActorFibers:
    """Starts actors in fibers, and stops those that are left when all clients have ended.

    Args:
        scheduler: runs the fibers.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._exits: dict[Fiber, Callable[[], None]] = {}
        self.ending = False
        """Whether all clients have ended."""

    def __repr__(self) -> str:
        return f"<ActorFibers: {list(self._exits)}{', ending' if self.ending else ''}>"

    def start(
        self, main: Callable[[], Coroutine[Any, Any, None]], on_exit: Callable[[], None], name: str
    ) -> None:
        """Run `main()` to its end in a new fiber, then call `on_exit`.

        Raises:
            MisuseError: the call comes from outside the simulation.
        """
        scheduler = self._scheduler
        scheduler.running_fiber("start an actor")
        actor = getattr(main, "__self__", None)
        label = _label(actor, name)
        fiber = scheduler.new_fiber(label, actor)
        if isinstance(actor, AsyncioActor) and isinstance(actor.actor_inbox, SimulatedMailbox):
            actor.actor_inbox.label = label
        self._exits[fiber] = on_exit
        scheduler.note(scheduler.current, "starts", label)
        task = fiber.create_task(main(), context=scheduler.context.copy())
        task.add_done_callback(lambda task: self._after_main(fiber, task))

    def stop_all(self) -> None:
        """Stop the actors that clients started, youngest first, or else all that are left.

        The simulation finishes when no actor is left.
        """
        scheduler = self._scheduler
        self.ending = True
        scheduler.drawing = False
        actors = self._running()
        roots = [fiber for fiber in actors if _is_root(fiber)]
        for fiber in reversed(roots or actors):
            actor = fiber.subject
            assert isinstance(actor, AsyncioActor)
            scheduler.context.copy().run(actor.actor_ref.stop, block=False)
        if not scheduler.fibers:
            scheduler.finish()

    def clear_up(self) -> None:
        """After a failure: close the tasks and fibers that are left, and unregister actors."""
        scheduler = self._scheduler
        children: list[Child] = []
        for fiber in list(scheduler.fibers):
            for task in fiber.unfinished_tasks():
                task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
                with contextlib.suppress(BaseException):
                    task.get_coro().close()
            scheduler.end_fiber(fiber)
            on_exit = self._exits.pop(fiber, None)
            if on_exit is not None:
                with contextlib.suppress(BaseException):
                    scheduler.context.copy().run(on_exit)
            if isinstance(fiber.subject, OwnerActor):
                children += fiber.subject.lifecycle.children.values()
        for child in children:  # Nobody restarts them any more, and some wait for that.
            with contextlib.suppress(BaseException):
                declare_dead(child.ref, child.dead_error(f"{child.label} has ended"))

    def _running(self) -> list[Fiber]:
        return [f for f in self._scheduler.fibers if isinstance(f.subject, AsyncioActor)]

    def _after_main(self, fiber: Fiber, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._scheduler.note_error(fiber, {"message": "an actor failed", "exception": error})
        if fiber.unfinished_tasks():
            closing = fiber.create_task(_cancel_unfinished(fiber))
            closing.add_done_callback(lambda _: self._exit(fiber))
        else:
            self._exit(fiber)

    def _exit(self, fiber: Fiber) -> None:
        scheduler = self._scheduler
        scheduler.end_fiber(fiber)
        scheduler.note(fiber, "ends")
        scheduler.context.copy().run(self._exits.pop(fiber))
        if self.ending:
            left = self._running()
            if not left:
                scheduler.finish()
            elif not any(map(_is_root, left)):
                self.stop_all()


def _is_root(fiber: Fiber) -> bool:
    """Return whether a client started the actor, and not another actor."""
    return fiber.started_by is None or fiber.started_by.is_client


def _label(actor: object, name: str) -> str:
    if isinstance(actor, AsyncioActor) and "urn:" not in actor.caller_name():
        return actor.caller_name()
    return name


async def _cancel_unfinished(fiber: Fiber) -> None:
    tasks = fiber.unfinished_tasks(asyncio.current_task())
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    await fiber.shutdown_asyncgens()
