"""Members of a pool that do not start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from agy_actors import AgentStartError, Backoff, Disconnect, Routing, Supervisor
from agy_actors.testing import SimulatedAgent, Simulation, reply

if TYPE_CHECKING:
    from agy_actors import PoolRef

ROUTINGS = list(Routing)
EVERY_SECOND = Backoff(wait=tenacity.wait_fixed(1.0))


def ask(pool: PoolRef, prompt: str) -> Any:
    return pool.ask(prompt, key=prompt if pool.routing is Routing.CONSISTENT_HASH else None)


def is_whole(pool: PoolRef, size: int) -> bool:
    return pool.statistics().size == len(pool.members()) == size


@pytest.mark.parametrize("routing", ROUTINGS)
def test_a_member_of_a_pool_does_not_start(routing: Routing) -> None:
    def scenario(sim: Simulation) -> None:
        config = SimulatedAgent()
        with Supervisor.start(backoff=EVERY_SECOND) as supervisor:
            pool = supervisor.create_pool(config, 1, routing=routing)
            config.fail_starts(3)

            with pytest.raises(AgentStartError):
                pool.resize(2)
            for number in range(10):  # Any key has a member.
                assert ask(pool, str(number))
            sim.sleep(10.0)

            assert is_whole(pool, 2)
            pool.resize(3)
            assert is_whole(pool, 3)
            assert config.running == 3

    Simulation().run(scenario)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_a_replacement_that_does_not_start_is_tried_again(routing: Routing) -> None:
    def scenario(sim: Simulation) -> None:
        config = SimulatedAgent()
        with Supervisor.start(backoff=EVERY_SECOND) as supervisor:
            pool = supervisor.create_pool(config, 2, routing=routing)
            config.fail_starts(2)

            pool.members()[0].ask(Disconnect())
            sim.sleep(10.0)

            assert is_whole(pool, 2)
            assert config.running == 2
            assert ask(pool, "hi")

    Simulation().run(scenario)


def test_a_pool_that_scales_grows_after_a_start_that_failed() -> None:
    def scenario(sim: Simulation) -> None:
        config = SimulatedAgent(lambda _: reply(after=10.0))
        with Supervisor.start(backoff=EVERY_SECOND) as supervisor:
            pool = supervisor.create_pool(config, 1, max_size=3)
            config.fail_starts(2)

            answers = [pool.ask(str(number), block=False) for number in range(9)]

            assert [answer.get().text for answer in answers] == [str(n) for n in range(9)]
            assert sim.now < 60.0  # One member alone needs 90 s.

    Simulation().run(scenario)
