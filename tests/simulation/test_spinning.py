"""Waits use no CPU: in virtual time, a loop that spins never lets time pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agy_actors import (
    AgentDeadError,
    Backoff,
    Chat,
    Delete,
    Disconnect,
    Strategy,
    Supervisor,
    TurnInterrupted,
    WaitForIdle,
)
from agy_actors._actors.future import ReplyFuture
from agy_actors.testing import SimulatedAgent, Simulation, crash, hang, reply

if TYPE_CHECKING:
    from agy_actors import Message

STEPS = 5_000
"""More steps than a scenario takes that does not spin. One that spins takes all of them."""


@pytest.mark.parametrize("end", [Disconnect(), Delete()], ids=["disconnect", "delete"])
def test_an_agent_that_closes_slowly_does_not_spin_while_an_asker_waits_for_idle(
    end: Message[None],
) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([hang()], stop=5.0))
            turn = agent.ask(Chat("go"), block=False)
            idle = agent.ask(WaitForIdle(), block=False)
            sim.sleep(1.0)

            agent.ask(end)

            assert sim.now == 6.0
            for waiting in (turn, idle):
                with pytest.raises(AgentDeadError):
                    waiting.get()

    Simulation(max_steps=STEPS).run(scenario)


def test_an_agent_that_stops_slowly_does_not_spin_while_an_asker_waits_for_idle() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([reply(after=2.0)], stop=5.0))
            turn = agent.ask(Chat("go"), block=False)
            idle = agent.ask(WaitForIdle(), block=False)

            agent.stop()

            assert sim.now == 7.0
            assert turn.get().text == "go"
            assert idle.get() is None

    Simulation(max_steps=STEPS).run(scenario)


@pytest.mark.filterwarnings("ignore::agy_actors.BlockingCallWarning")
def test_a_supervisor_does_not_spin_over_an_agent_that_was_abandoned_during_its_restart() -> None:
    def scenario(sim: Simulation) -> None:
        gate: ReplyFuture[None] = ReplyFuture()

        async def block() -> None:
            gate.get()

        with Supervisor.start(
            strategy=Strategy.ONE_FOR_ALL, hang_timeout=None, backoff=Backoff()
        ) as supervisor:
            blocked = supervisor.create_agent(
                SimulatedAgent([reply().calling("block")], tools=[block]),
                stop_timeout=1.0,
            )
            sibling = supervisor.create_agent(SimulatedAgent([crash(), crash()]))
            turn = blocked.ask(Chat("go"), block=False)
            sim.sleep(1.0)
            sibling.tell(Chat("crash"))  # Both must be restarted, and one cannot end.
            sim.sleep(1.0)

            supervisor.shutdown_agent(blocked)

            assert not blocked.is_alive()
            with pytest.raises(TurnInterrupted, match="held up"):
                turn.get()
            sim.sleep(30.0)
            gate.set(None)

    Simulation(max_steps=STEPS).run(scenario)
