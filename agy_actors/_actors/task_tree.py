"""Finds the tasks that await the end of an asyncio task, directly or not.

A handler or a tool may start tasks of its own. The tasks that it awaits hold it up, also through
`gather`, `wait_for`, `wait`, `shield` or a `TaskGroup`. The tasks that it left running do not.
asyncio keeps no list of awaiting tasks before Python 3.14, but an awaiting task has added a
callback to the future. The shapes of these callbacks are the same in CPython 3.11, 3.12 and 3.13,
as `tests/actors/test_task_tree.py` shows; one that is not known is ignored.
"""

from __future__ import annotations

import asyncio
import functools
from asyncio import base_events
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["is_awaited"]

_END_OF_RUN = base_events._run_until_complete_cb  # type: ignore[attr-defined] # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]


def is_awaited(task: asyncio.Task[Any], roots: Collection[asyncio.Task[Any]]) -> bool:
    """Return whether one of `roots` is a task or awaits its end, directly or not.

    Args:
        task: the task. Call this on its loop.
        roots: the tasks; if it is empty, whether the running loop ends with the task.
    """
    seen: set[int] = set()
    left: list[asyncio.Future[Any]] = [task]
    while left:
        future = left.pop()
        if future in roots:
            return True
        if id(future) in seen:
            continue
        seen.add(id(future))
        for callback, _ in getattr(future, "_callbacks", None) or ():
            if not roots and callback is _END_OF_RUN:
                return True
            left.extend(_futures_ended_by(callback))
    return False


def _futures_ended_by(callback: Any) -> Iterator[asyncio.Future[Any]]:
    """Return the tasks and futures that cannot end before a callback is called."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):  # It awaits the future itself.
        yield owner
    elif isinstance(owner, asyncio.TaskGroup):
        yield from _futures_in([getattr(owner, "_on_completed_fut", None)])  # At its end.
    elif isinstance(callback, functools.partial):
        yield from _futures_in(callback.args)  # `wait_for` in Python 3.11.
    elif (code := getattr(callback, "__code__", None)) is not None:
        cells = zip(code.co_freevars, callback.__closure__ or (), strict=False)
        variables = {name: _content(cell) for name, cell in cells}
        if code.co_name == "_on_completion":  # `wait`
            if variables.get("return_when") == asyncio.ALL_COMPLETED:
                yield from _futures_in([variables.get("waiter")])
        else:  # `gather` and `shield`
            yield from _futures_in([variables.get("outer")])


def _futures_in(values: Iterable[Any]) -> Iterator[asyncio.Future[Any]]:
    return (value for value in values if isinstance(value, asyncio.Future))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # It is empty yet.
        return None
