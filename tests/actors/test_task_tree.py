"""The tasks that hold a task up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors._actors.task_tree import is_awaited

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    Look = Callable[[], Coroutine[Any, Any, None]]


class Awaitable:
    """An awaitable that is neither a coroutine nor a future, like a `ReplyFuture`."""

    def __init__(self, look: Look) -> None:
        self.look = look

    def __await__(self) -> Generator[Any, Any, None]:
        return self.look().__await__()


async def await_it(look: Look) -> None:
    await look()


async def await_task(look: Look) -> None:
    await asyncio.create_task(look())


async def gather(look: Look) -> None:
    await asyncio.gather(asyncio.sleep(0.001), look())


async def gather_awaitables(look: Look) -> None:
    await asyncio.gather(Awaitable(look), asyncio.sleep(0.001))


async def wait_for(look: Look) -> None:
    await asyncio.wait_for(look(), 60)


async def wait_for_awaitable(look: Look) -> None:
    await asyncio.wait_for(Awaitable(look), 60)


async def within_timeout(look: Look) -> None:
    async with asyncio.timeout(60):
        await look()


async def wait_for_all(look: Look) -> None:
    await asyncio.wait([asyncio.create_task(look()), asyncio.create_task(asyncio.sleep(0.001))])


async def shield(look: Look) -> None:
    await asyncio.shield(look())


async def task_group(look: Look) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(look())


async def all_together(look: Look) -> None:
    await asyncio.wait_for(asyncio.shield(task_group(lambda: gather(look))), 60)


async def wait_for_first(look: Look) -> None:
    tasks = [asyncio.create_task(look()), asyncio.create_task(asyncio.sleep(0.001))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(tasks)


async def leave(look: Look) -> None:
    kept: set[asyncio.Task[None]] = set()
    task = asyncio.create_task(look())
    kept.add(task)
    task.add_done_callback(kept.discard)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not kept


HELD_UP = [
    await_it,
    await_task,
    gather,
    gather_awaitables,
    wait_for,
    wait_for_awaitable,
    within_timeout,
    wait_for_all,
    shield,
    task_group,
    all_together,
]


def look_from(way: Callable[[Look], Coroutine[Any, Any, None]]) -> tuple[bool, bool]:
    """Return whether a task awaits another one, and whether a loop ends with that."""
    found: list[tuple[bool, bool]] = []

    async def main() -> None:
        root = asyncio.current_task()
        assert root is not None

        async def look() -> None:
            task = asyncio.current_task()
            assert task is not None
            await asyncio.sleep(0)
            found.append((is_awaited(task, [root]), is_awaited(task, [])))

        await way(look)

    asyncio.run(main())
    return found[0]


@pytest.mark.parametrize("way", HELD_UP)
def test_a_task_is_held_up_by_the_tasks_that_it_awaits(
    way: Callable[[Look], Coroutine[Any, Any, None]],
) -> None:
    assert look_from(way) == (True, True)


@pytest.mark.parametrize("way", [wait_for_first, leave])
def test_a_task_is_not_held_up_by_the_tasks_that_it_left_running(
    way: Callable[[Look], Coroutine[Any, Any, None]],
) -> None:
    assert look_from(way) == (False, False)
