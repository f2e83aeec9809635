"""`Client`: code of a scenario that calls actors, and the fibers that clients run in."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import fail, resolve, set_about
from agy_actors.testing.simulation.errors import SimulationAborted

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors.testing.simulation.fiber import Fiber
    from agy_actors.testing.simulation.scheduler import Scheduler

__all__ = ["Client", "ClientFibers"]

T = TypeVar("T")


class Client(Generic[T]):
    """Code that calls actors in a simulation, as a thread of a program would."""

    def __init__(self, name: str) -> None:
        self.name = name
        """Its name in traces."""
        self.future: ReplyFuture[T] = ReplyFuture()
        """The future of what it returns."""
        set_about(self.future, f"the end of {name}", name)

    def __repr__(self) -> str:
        return f"<Client {self.name}>"

    def result(self, timeout: float | None = None) -> T:
        """Wait until it ends, in virtual time, and return its result."""
        return self.future.get(timeout=timeout)

    def __await__(self) -> Any:
        return self.future.__await__()


class ClientFibers:
    """Starts clients in fibers.

    Args:
        scheduler: runs the fibers. An error of a client finishes it.
        on_all_ended: called when the last client has ended without an error.
    """

    def __init__(self, scheduler: Scheduler, on_all_ended: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self._on_all_ended = on_all_ended
        self._open = 0

    def __repr__(self) -> str:
        return f"<ClientFibers: {self._open} open>"

    def start(self, name: str, function: Callable[..., Any], *args: Any) -> Client[Any]:
        """Call a function, or run a coroutine function, in a new fiber."""
        client: Client[Any] = Client(name)
        fiber = self._scheduler.new_fiber(name, client)
        fiber.is_client = True
        self._open += 1

        def begin() -> None:
            try:
                result = function(*args)
            except SimulationAborted:
                raise
            except BaseException as error:  # noqa: BLE001 (`Simulation.run` raises it)
                self._end(fiber, client, None, error)
                return
            if inspect.iscoroutine(result):
                task = fiber.create_task(result)
                task.add_done_callback(lambda task: self._end(fiber, client, *_outcome(task)))
            else:
                self._end(fiber, client, result, None)

        fiber.call_soon(begin, context=self._scheduler.context.copy())
        return client

    def _end(
        self, fiber: Fiber, client: Client[Any], result: Any, error: BaseException | None
    ) -> None:
        scheduler = self._scheduler
        scheduler.end_fiber(fiber)
        if error is not None:
            scheduler.note(fiber, "ends with", error)
            fail(client.future, error)
            scheduler.finish(error)
            return
        resolve(client.future, result)
        self._open -= 1
        if not self._open:
            self._on_all_ended()


def _outcome(task: asyncio.Task[Any]) -> tuple[Any, BaseException | None]:
    if task.cancelled():
        return None, asyncio.CancelledError()
    error = task.exception()
    return (None, error) if error is not None else (task.result(), None)
