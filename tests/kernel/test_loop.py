"""The loop that owns no descriptor until it needs one."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from agy_actors._kernel import AsyncioActor
from agy_actors._kernel._loop import new_event_loop

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
