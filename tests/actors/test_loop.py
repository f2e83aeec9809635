"""The loop that owns no descriptor until it needs one."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import weakref
from typing import TYPE_CHECKING

import psutil
import pytest

from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.event_loop import new_event_loop, unfinished_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(name="loop")
def loop_fixture() -> Iterator[asyncio.AbstractEventLoop]:
    loop = new_event_loop()
    yield loop
    loop.close()


def test_an_idle_actor_owns_no_descriptor() -> None:
    process = psutil.Process()
    before = process.num_fds()

    refs = [AsyncioActor.start() for _ in range(10)]
    for ref in refs:
        ref.ask("message")

    assert process.num_fds() == before
    for ref in refs:
        ref.stop()


def test_a_callback_from_another_thread_ends_the_wait(loop: asyncio.AbstractEventLoop) -> None:
    waiting = threading.Event()

    async def wait() -> str:
        future = loop.create_future()
        threading.Thread(target=resolve, args=(future,)).start()
        loop.call_soon(waiting.set)
        return str(await future)

    def resolve(future: asyncio.Future[str]) -> None:
        waiting.wait()
        loop.call_soon_threadsafe(future.set_result, "woken")

    assert loop.run_until_complete(wait()) == "woken"


def test_timers_end_the_wait(loop: asyncio.AbstractEventLoop) -> None:
    async def wait() -> None:
        async with asyncio.timeout(0.01):
            await loop.create_future()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(wait())


def test_io_works_from_the_first_descriptor_on(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()

    async def receive() -> bytes:
        reader, writer = await asyncio.open_connection(sock=ours)
        loop.call_soon(theirs.sendall, b"hello")
        received = await reader.readexactly(5)
        writer.close()
        await writer.wait_closed()
        return received

    assert loop.run_until_complete(receive()) == b"hello"
    theirs.close()


def test_no_wake_up_is_lost_while_the_first_descriptor_is_registered() -> None:
    for _ in range(200):
        loop = new_event_loop()
        ours, theirs = socket.socketpair()
        started = threading.Event()

        async def change(
            loop: asyncio.AbstractEventLoop, ours: socket.socket, started: threading.Event
        ) -> str:
            future: asyncio.Future[str] = loop.create_future()

            def wake() -> None:
                started.wait()
                loop.call_soon_threadsafe(future.set_result, "woken")

            thread = threading.Thread(target=wake)
            thread.start()
            started.set()
            loop.add_reader(ours, lambda: None)
            try:
                async with asyncio.timeout(10):
                    return await future
            finally:
                loop.remove_reader(ours)
                thread.join()

        assert loop.run_until_complete(change(loop, ours, started)) == "woken"
        loop.close()
        ours.close()
        theirs.close()


def test_a_closed_loop_leaves_no_descriptor() -> None:
    process = psutil.Process()
    before = process.num_fds()
    ours, theirs = socket.socketpair()

    loop = new_event_loop()
    loop.add_reader(ours, lambda: None)
    loop.remove_reader(ours)
    loop.close()

    ours.close()
    theirs.close()
    assert process.num_fds() == before


def test_a_loop_knows_its_tasks_that_are_not_done(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> tuple[list[str], list[str]]:
        go = asyncio.Event()
        tasks = [
            loop.create_task(go.wait() if n % 10 == 0 else asyncio.sleep(0), name=f"{n}")
            for n in range(100)
        ]
        for task in tasks[1:10]:
            await task
        unfinished = [task.get_name() for task in unfinished_tasks(loop)]
        go.set()
        await asyncio.wait(tasks)
        return unfinished, [task.get_name() for task in unfinished_tasks(loop)]

    before, after = loop.run_until_complete(loop.create_task(main(), name="main"))

    assert before == ["main", *(f"{n}" for n in range(0, 100, 10))]
    assert after == ["main"]


def test_a_loop_keeps_no_task_alive_that_is_done(loop: asyncio.AbstractEventLoop) -> None:
    class Result:
        pass

    async def make() -> Result:
        return Result()

    async def main() -> list[weakref.ref[Result]]:
        return [weakref.ref(await loop.create_task(make())) for _ in range(5)]

    results = loop.run_until_complete(main())
    gc.collect()

    assert [result() for result in results] == [None] * 5


def test_a_loop_does_not_collect_references_to_tasks(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        for _ in range(10_000):
            await loop.create_task(asyncio.sleep(0))

    loop.run_until_complete(main())

    assert len(loop._tasks) < 100  # type: ignore[attr-defined] # it is one of ours


def test_a_stock_loop_knows_its_tasks_too() -> None:
    loop = asyncio.new_event_loop()

    async def main() -> list[str]:
        task = loop.create_task(asyncio.sleep(60), name="other")
        names = [task.get_name() for task in unfinished_tasks(loop)]
        task.cancel()
        return names

    names = loop.run_until_complete(loop.create_task(main(), name="main"))
    loop.close()

    assert sorted(names) == ["main", "other"]
