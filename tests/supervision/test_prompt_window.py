"""How many prompts of a `map` or an `as_completed` are in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import AgentDeadError, AskTimeout, Chat, MailboxFull, Supervisor
from agy_actors.testing import SimulatedAgent, Simulation, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors import PoolRef

PROMPTS = [str(number) for number in range(12)]


def by_map(pool: PoolRef, prompts: Any, **options: Any) -> list[str]:
    return [answer.text for answer in pool.map(prompts, **options)]


def by_completion(pool: PoolRef, prompts: Any, **options: Any) -> list[str]:
    return [future.get().text for future in pool.as_completed(prompts, **options)]


WAYS = [by_map, by_completion]


@pytest.mark.parametrize("way", WAYS)
def test_an_iteration_waits_while_the_mailbox_of_the_pool_is_full(
    way: Callable[..., list[str]],
) -> None:
    def scenario(_: Simulation) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(lambda _: reply(after=1.0)), 1, capacity=1)

            assert sorted(way(pool, PROMPTS, in_flight=8)) == sorted(PROMPTS)

    Simulation().run(scenario)


@pytest.mark.parametrize("way", WAYS)
def test_an_iteration_waits_while_others_fill_the_mailbox_of_the_pool(
    way: Callable[..., list[str]],
) -> None:
    refusals: list[str] = []

    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(lambda _: reply(after=1.0)), 1, capacity=3)

            def ask(number: int) -> None:
                for _ in range(6):
                    try:
                        pool.ask(Chat(f"other {number}"))
                    except MailboxFull as error:
                        refusals.append(str(error))
                        sim.sleep(0.3)

            others = [sim.client(ask, number) for number in range(3)]
            assert sorted(way(pool, PROMPTS)) == sorted(PROMPTS)
            for other in others:
                other.result()

    Simulation().run(scenario)

    assert refusals


@pytest.mark.parametrize("way", WAYS)
def test_an_iteration_waits_for_a_pool_that_others_fill_before_it_begins(
    way: Callable[..., list[str]],
) -> None:
    def scenario(_: Simulation) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(lambda _: reply(after=1.0)), 1, capacity=2)
            others = [pool.ask(Chat("other"), block=False) for _ in range(2)]

            assert sorted(way(pool, PROMPTS)) == sorted(PROMPTS)
            assert {other.get().text for other in others} == {"other"}

    Simulation().run(scenario)


def test_map_waits_for_a_full_pool_no_longer_than_for_a_reply() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(lambda _: reply(after=9.0)), 1, capacity=2)
            others = [pool.ask(Chat("other"), block=False) for _ in range(2)]

            with pytest.raises(AskTimeout, match="no reply to Chat by pool 'pool-1'"):
                list(pool.map(PROMPTS, timeout=5.0))

            assert sim.now == 5.0
            assert {other.get().text for other in others} == {"other"}

    Simulation().run(scenario)


@pytest.mark.parametrize("way", WAYS)
def test_an_iteration_that_waits_for_a_full_pool_ends_with_the_pool(
    way: Callable[..., list[str]],
) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(lambda _: reply(after=9.0)), 1, capacity=2)
            for _ in range(2):
                pool.tell(Chat("other"))

            def end() -> None:
                sim.sleep(3.0)
                pool.stop()

            client = sim.client(end)
            with pytest.raises(AgentDeadError, match="pool 'pool-1' has ended"):
                way(pool, PROMPTS)
            client.result()

    Simulation().run(scenario)


@pytest.mark.parametrize("way", WAYS)
def test_more_prompts_are_in_progress_when_a_pool_has_more_members(
    way: Callable[..., list[str]],
) -> None:
    taken: list[float] = []

    def scenario(sim: Simulation) -> None:
        def prompts() -> Iterator[str]:
            for prompt in PROMPTS:
                taken.append(sim.now)
                yield prompt

        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(lambda _: reply(after=10.0)), 1)

            def grow() -> None:
                sim.sleep(5.0)
                pool.resize(4)

            client = sim.client(grow)
            way(pool, prompts())
            client.result()

    Simulation().run(scenario)

    assert sum(time < 5.0 for time in taken) == 2  # Two for each member.
    assert sum(time < 10.0 for time in taken) == 8


@pytest.mark.parametrize("way", WAYS)
def test_fewer_prompts_are_in_progress_when_a_pool_has_fewer_members(
    way: Callable[..., list[str]],
) -> None:
    taken: list[float] = []

    def scenario(sim: Simulation) -> None:
        def prompts() -> Iterator[str]:
            for prompt in PROMPTS:
                taken.append(sim.now)
                yield prompt

        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(lambda _: reply(after=10.0)), 3)

            def shrink() -> None:
                sim.sleep(5.0)
                pool.resize(1)

            client = sim.client(shrink)
            way(pool, prompts())
            client.result()

    Simulation().run(scenario)

    assert sum(time < 5.0 for time in taken) == 6
    # At 10 s three of them end; the next is taken when fewer than two are in progress.
    assert sum(time < 30.0 for time in taken) == 6
    assert len(taken) == len(PROMPTS)


@pytest.mark.parametrize("way", WAYS)
def test_the_bound_that_was_asked_for_does_not_follow_the_size_of_the_pool(
    way: Callable[..., list[str]],
) -> None:
    config = SimulatedAgent(lambda _: reply(after=10.0))

    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(config, 1)

            def grow() -> None:
                sim.sleep(5.0)
                pool.resize(4)

            client = sim.client(grow)
            assert sorted(way(pool, PROMPTS, in_flight=1)) == sorted(PROMPTS)
            client.result()
            assert sim.now == 10.0 * len(PROMPTS)

    Simulation().run(scenario)
