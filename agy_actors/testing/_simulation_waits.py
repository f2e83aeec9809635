"""Who waits for whom, read off the stacks of those who wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._kernel import ReplyFuture
from agy_actors.testing._simulation_trace import describe, name_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from agy_actors.testing._simulation_loop import Strand

__all__ = ["waits_of"]


def waits_of(strand: Strand) -> Iterator[str]:
    """Say what a strand waits for, where that is a reply, or what its messages wait for."""
    if strand.parked is not None:
        yield f"{strand.name} waits for {describe(strand.blocked_on)}, and blocks its thread"
    for task in strand.tasks:
        if not task.done():
            yield from _waits_of_task(strand, task)
    inbox = getattr(strand.subject, "actor_inbox", None)
    if inbox is not None and len(inbox):
        first = [*inbox.control, *inbox._turns][0]  # noqa: SLF001 (it is ours)
        yield f"{strand.name} does not take up what waits for it: {len(inbox)}, {describe(first)}"


def _waits_of_task(strand: Strand, task: asyncio.Task[Any]) -> Iterator[str]:
    handled, awaited = "", None
    inner: Any = task.get_coro()
    place = name_of(inner)
    while inner is not None:
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None)
        if frame is not None:
            names = frame.f_locals
            if frame.f_code.co_name == "_handle_async":
                handled = f", handling {describe(names.get('envelope'))},"
            if frame.f_code.co_name == "__await__" and isinstance(names.get("self"), ReplyFuture):
                awaited = names["self"]
            else:
                place = f"{name_of(inner)}, line {frame.f_lineno}"
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    if awaited is not None:
        yield f"{strand.name}{handled} waits for {describe(awaited)}"
    elif handled or strand.is_client:
        yield f"{strand.name}{handled} waits in {place}"
