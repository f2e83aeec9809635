"""How long a pool waits before it replaces members, and before it gives them another turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from agy_actors import AgentStartError, Backoff, Chat, Disconnect, Send, Supervisor
from agy_actors.testing import SimulatedAgent, Simulation, reply

if TYPE_CHECKING:
    from agy_actors import SupervisorRef

GROWING = Backoff(wait=tenacity.wait_incrementing(start=4, increment=4), reset_after=100.0)


def supervise(**options: Any) -> SupervisorRef:
    return Supervisor.start(name="root", backoff=GROWING, max_restarts=50, **options)


def test_members_are_replaced_after_a_backoff_that_grows() -> None:
    def scenario(sim: Simulation) -> list[float]:
        pauses = []
        with supervise() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(), 1, max_restarts=20)
            for _ in range(4):
                before = sim.now
                pool.members()[0].ask(Disconnect())
                pool.ask(Chat("hello"))
                pauses.append(sim.now - before)
        return pauses

    assert Simulation().run(scenario) == [0.0, 4.0, 8.0, 12.0]


def test_members_that_do_not_start_are_started_again_after_a_backoff_that_grows() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            config = SimulatedAgent()
            pool = supervisor.create_pool(config, 1)
            config.fail_starts(3)
            with pytest.raises(AgentStartError):
                pool.resize(2)
            assert sim.now == 0.0
            for until, members in ((0.2, 1), (4.2, 1), (12.0, 1), (12.2, 2)):
                sim.sleep(until - sim.now)
                assert config.running == members

    Simulation().run(scenario)


def test_a_turn_does_not_wait_for_a_member_that_works_on_another_message() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            play = {"long": reply(after=100.0), "short": reply(after=1.0)}
            pool = supervisor.create_pool(SimulatedAgent(lambda prompt: play[prompt]), 2)
            pool.ask(Send("long"))

            for number in range(1, 4):
                pool.ask(Chat("short"))
                assert sim.now == number

    Simulation().run(scenario)
