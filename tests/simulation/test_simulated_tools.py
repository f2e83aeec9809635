"""Simulated agents call tools: whatever a tool raises, the turn continues."""

from __future__ import annotations

import asyncio

import pytest

from agy_actors import Chat, Supervisor
from agy_actors.testing import SimulatedAgent, Simulation, reply


@pytest.mark.parametrize(
    "error", [ValueError, StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError]
)
@pytest.mark.parametrize("kind", ["sync", "async", "object"])
def test_a_simulated_turn_continues_after_every_exception_of_its_tool(
    kind: str, error: type[BaseException]
) -> None:
    called: list[str] = []

    def find() -> None:
        called.append("find")
        raise error

    async def find_async() -> None:
        find()

    class Finder:
        def __call__(self) -> None:
            find()

    tool = {"sync": find, "async": find_async, "object": Finder()}[kind]
    name = getattr(tool, "__name__", "Finder")

    def scenario(_: Simulation) -> None:
        with Supervisor.start() as supervisor:
            config = SimulatedAgent([reply("done").calling(name)], tools=[tool])
            agent = supervisor.create_agent(config)
            assert agent.ask(Chat("go", timeout=60)).text == "done"

    Simulation().run(scenario)
    assert called == ["find"]
