"""Members of a pool that do not start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from agy_actors import AgentStartError, Backoff, Chat, Disconnect, Routing, Supervisor
from agy_actors._agents.open_files import OpenFiles
from agy_actors.testing import SimulatedAgent, Simulation, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import PoolRef

ROUTINGS = list(Routing)
REASONS = ["its start fails", "there are no descriptors"]
EVERY_SECOND = Backoff(wait=tenacity.wait_fixed(1.0))


def ask(pool: PoolRef, prompt: str) -> Any:
    return pool.ask(Chat(prompt), key=prompt if pool.routing is Routing.CONSISTENT_HASH else None)


@pytest.fixture
def fail_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[SimulatedAgent, str, int], None]:
    """Fail the next starts for a reason."""
    left = [0]
    make_room = OpenFiles.make_room

    def make_no_room(files: OpenFiles, agent: str, starting: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise AgentStartError(f"agent {agent!r} does not find descriptors")
        make_room(files, agent, starting)

    def fail(config: SimulatedAgent, reason: str, number: int) -> None:
        if reason == "its start fails":
            config.fail_starts(number)
        else:
            left[0] = number

    monkeypatch.setattr(OpenFiles, "make_room", make_no_room)
    return fail


def is_whole(pool: PoolRef, size: int) -> bool:
    return pool.statistics().size == len(pool.members()) == size


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("reason", REASONS)
def test_a_member_of_a_pool_does_not_start(
    fail_starts: Callable[[SimulatedAgent, str, int], None], reason: str, routing: Routing
) -> None:
    def scenario(sim: Simulation) -> None:
        config = SimulatedAgent()
        with Supervisor.start(backoff=EVERY_SECOND) as supervisor:
            pool = supervisor.create_pool(config, 1, routing=routing)
            fail_starts(config, reason, 3)

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
@pytest.mark.parametrize("reason", REASONS)
def test_a_replacement_that_does_not_start_is_started_again(
    fail_starts: Callable[[SimulatedAgent, str, int], None], reason: str, routing: Routing
) -> None:
    def scenario(sim: Simulation) -> None:
        config = SimulatedAgent()
        with Supervisor.start(backoff=EVERY_SECOND) as supervisor:
            pool = supervisor.create_pool(config, 2, routing=routing)
            fail_starts(config, reason, 2)

            pool.members()[0].ask(Disconnect())
            sim.sleep(10.0)

            assert is_whole(pool, 2)
            assert config.running == 2
            assert ask(pool, "hi")

    Simulation().run(scenario)


@pytest.mark.parametrize("reason", REASONS)
def test_a_pool_that_scales_grows_after_a_start_that_failed(
    fail_starts: Callable[[SimulatedAgent, str, int], None], reason: str
) -> None:
    def scenario(sim: Simulation) -> None:
        config = SimulatedAgent(lambda _: reply(after=10.0))
        with Supervisor.start(backoff=EVERY_SECOND) as supervisor:
            pool = supervisor.create_pool(config, 1, max_size=3)
            fail_starts(config, reason, 2)

            answers = [pool.ask(Chat(str(number)), block=False) for number in range(9)]

            assert [answer.get().text for answer in answers] == [str(n) for n in range(9)]
            assert sim.now < 60.0  # A single member needs 90 s.

    Simulation().run(scenario)
