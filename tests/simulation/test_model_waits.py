"""An agent reports that it waits for its model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agy_actors import Chat, ModelSilent, Supervisor, TurnStalled
from agy_actors._agents.model_waits import SILENCE
from agy_actors.testing import SimulatedAgent, Simulation, hang, reply

if TYPE_CHECKING:
    from agy_actors import Event


def silences(events: list[Event]) -> list[tuple[int, float]]:
    return [(event.turn, event.seconds) for event in events if isinstance(event, ModelSilent)]


def test_silence_is_reported_repeatedly_until_the_turn_ends() -> None:
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            agent = supervisor.create_agent(SimulatedAgent([reply(), hang()]))
            agent.ask(Chat("quick"))
            with pytest.raises(TurnStalled):
                agent.ask(Chat("slow", stall_timeout=3.5 * SILENCE))
            assert agent.ask(Chat("next")).text == "next"

    Simulation().run(scenario)

    assert silences(events) == [(2, SILENCE), (2, 2 * SILENCE), (2, 3 * SILENCE)]


def test_silence_counts_from_the_last_piece_of_the_reply() -> None:
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            slow = reply("one\ntwo\nthree\n", after=1.0, apart=SILENCE + 1.0)
            agent = supervisor.create_agent(SimulatedAgent([slow]))
            agent.ask(Chat("go"))

    Simulation().run(scenario)

    assert silences(events) == [(1, SILENCE), (1, SILENCE)]


def test_an_answer_that_comes_in_time_is_not_silence() -> None:
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            brisk = reply("one\ntwo\nthree\n", after=SILENCE - 0.5, apart=SILENCE - 0.5)
            agent = supervisor.create_agent(SimulatedAgent([brisk]))
            agent.ask(Chat("go"))
            sim.sleep(10 * SILENCE)

    Simulation().run(scenario)

    assert silences(events) == []


def test_a_running_tool_is_not_silence_of_the_model() -> None:
    events: list[Event] = []

    async def dig() -> str:
        """Dig."""
        await asyncio.sleep(3 * SILENCE)
        return "dug"

    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            turn = reply("done\n").calling("dig")
            agent = supervisor.create_agent(SimulatedAgent([turn], tools=[dig]))
            assert agent.ask(Chat("go")).text == "done\n"

    Simulation().run(scenario)

    assert silences(events) == []
