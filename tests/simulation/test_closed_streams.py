"""Streams that one thread reads and another closes, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import Chat, ChatStream, CreateAgent, Supervisor, WaitForIdle
from agy_actors.testing import SimulatedAgent, Simulation, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    Open = Callable[[ChatStream], Any]

CURSORS: dict[str, Open] = {
    "iter": iter,
    "aiter": aiter,
    "events": lambda stream: stream.events(),
    "events with timeout": lambda stream: stream.events(timeout=500.0),
    "thoughts": lambda stream: stream.thoughts(),
    "tool_calls": lambda stream: stream.tool_calls(),
}


@pytest.fixture(params=list(CURSORS.values()), ids=list(CURSORS))
def open_cursor(request: pytest.FixtureRequest) -> Open:
    opened: Open = request.param
    return opened


def read(cursor: Any) -> list[object]:
    return list(cursor)


async def read_async(cursor: Any) -> list[object]:
    return [piece async for piece in cursor]


def close(cursor: Any) -> None:
    cursor.close()


async def close_async(cursor: Any) -> None:
    await cursor.aclose()


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("reading", [read, read_async])
@pytest.mark.parametrize("closing", [close, close_async])
def test_closing_a_cursor_from_elsewhere_ends_the_loop_over_it(
    open_cursor: Open, reading: Any, closing: Any, others: int
) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([reply("one\ntwo", apart=50.0)]))
            stream = agent.stream("go")
            cursor = open_cursor(stream)
            kept = [stream.events() for _ in range(others)]
            reader = sim.client(reading, cursor)
            sim.sleep(1.0)
            assert not reader.future.done()

            sim.client(closing, cursor).result()

            pieces = reader.result(timeout=1.0)
            assert len(pieces) <= 1
            assert stream.future.cancelled() is not bool(others)
            for other in kept:
                other.close()
            agent.ask(WaitForIdle())

    Simulation(max_time=400.0).run(scenario)


def test_a_loop_over_a_cursor_that_its_own_thread_closes_ends() -> None:
    def scenario(_: Simulation) -> list[str]:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([reply("one\ntwo\nthree", apart=1.0)]))
            pieces = []
            cursor = iter(agent.stream("go"))
            for piece in cursor:
                pieces.append(piece)
                cursor.close()
            return pieces

    assert Simulation().run(scenario) == ["one\n"]


@pytest.mark.parametrize(
    "opened",
    [
        lambda stream: stream,
        iter,
        aiter,
        lambda stream: stream.events(),
        lambda stream: stream.thoughts(),
        lambda stream: stream.tool_calls(),
    ],
    ids=["stream", "iter", "aiter", "events", "thoughts", "tool_calls"],
)
def test_aclosing_cancels_a_turn_without_a_reader(opened: Open) -> None:
    async def scenario(_: Simulation) -> None:
        async with Supervisor.start() as supervisor:
            config = SimulatedAgent([reply("one\ntwo\nthree", apart=100.0)])
            agent = await supervisor.ask(CreateAgent(config), block=False)
            stream = agent.stream(Chat("go"))
            async with contextlib.aclosing(opened(stream)):
                await asyncio.sleep(1.0)
                assert not stream.done()

            assert stream.future.cancelled()

    Simulation(max_time=90.0).run(scenario)
