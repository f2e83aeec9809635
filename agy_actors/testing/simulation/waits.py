"""Reports what a fiber waits for, from the stacks of its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._actors.future import ReplyFuture
from agy_actors.testing.simulation.descriptions import describe, is_internal, name_of
from agy_actors.testing.simulation.mailbox_contents import waiting_messages

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from agy_actors.testing.simulation.fiber import Fiber

__all__ = ["waits_of"]


def waits_of(fiber: Fiber) -> Iterator[str]:
    """Yield what a fiber and each of its tasks wait for, and what its mailbox holds."""
    if fiber.parked is not None:
        yield f"{fiber.name} waits for {describe(fiber.blocked_on)}, and blocks its thread"
    for task in fiber.tasks:
        if not task.done():
            yield from _waits_of_task(fiber, task)
    messages = waiting_messages(fiber.subject)
    if messages:
        first = describe(messages[0])
        yield f"{fiber.name} does not handle its {len(messages)} waiting messages, first {first}"


def _waits_of_task(fiber: Fiber, task: asyncio.Task[Any]) -> Iterator[str]:
    handled, awaited = "", None
    inner: Any = task.get_coro()
    place = ""
    while inner is not None:
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None)
        if frame is not None:
            names = frame.f_locals
            if frame.f_code.co_name == "_handle_async":
                handled = f", handling {describe(names.get('envelope'))},"
            if frame.f_code.co_name == "__await__" and isinstance(names.get("self"), ReplyFuture):
                awaited = names["self"]
            elif not is_internal(inner):
                place = f" in {name_of(inner)}, line {frame.f_lineno}"
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    if awaited is not None:
        yield f"{fiber.name}{handled} waits for {describe(awaited)}"
    elif handled or fiber.is_client:
        # Without a place, it waits in code of agy_actors, such as a turn of a simulated agent.
        yield f"{fiber.name}{handled} waits{place}"
