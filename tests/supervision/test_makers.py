"""Methods that create children without blocking: futures of refs, and cancelled creations."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, assert_type

import psutil
import pykka
import pytest

from agy_actors import (
    AgentDeadError,
    AgentRef,
    AgentStartError,
    InvalidArgument,
    InvalidConfig,
    PoolRef,
    ReplyFuture,
    Subscription,
    Supervisor,
    SupervisorRef,
    SupervisorStatistics,
    watch,
)
from agy_actors._supervision.child_creation import ChildCreation
from agy_actors.testing import (
    RandomSchedules,
    SimulatedAgent,
    Simulation,
    explore,
    hang,
    reply,
)
from tests.harnesses import FAILS, HANGS, PATIENCE, children, fake_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from google.antigravity import AgentConfig

    from agy_actors.testing import ScriptedModel

OF_AGENTS: dict[str, Any] = {
    "create_agent": lambda supervisor, config: supervisor.create_agent(config, "it", block=False),
    "get_or_create_agent": lambda supervisor, config: supervisor.get_or_create_agent(
        config, "it", block=False
    ),
    "create_pool": lambda supervisor, config: supervisor.create_pool(config, 2, "it", block=False),
}
MAKERS: dict[str, Any] = OF_AGENTS | {
    "create_supervisor": lambda supervisor, _: supervisor.create_supervisor("it", block=False),
}

of_agents = pytest.mark.parametrize("make", OF_AGENTS.values(), ids=OF_AGENTS)
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def names(supervisor: SupervisorRef) -> set[str]:
    return {*supervisor.children(), *supervisor.pools(), *supervisor.supervisors()}


@makers
def test_a_maker_that_does_not_block_returns_a_future_of_the_ref(
    supervisor: SupervisorRef, make: Any
) -> None:
    future = make(supervisor, SimulatedAgent())

    ref = future.get(timeout=PATIENCE)
    assert type(future) is ReplyFuture
    assert ref.name == "it"
    assert names(supervisor) == {"it"}


def test_agents_are_created_side_by_side(model: ScriptedModel) -> None:
    async def main() -> list[str]:
        async with Supervisor.start() as supervisor:
            agents = await asyncio.gather(
                *(supervisor.create_agent(model.openai_config(), block=False) for _ in range(4))
            )
            replies = await asyncio.gather(*(agent.ask("hi", block=False) for agent in agents))
            return [reply.text for reply in replies]

    assert asyncio.run(main()) == ["echo: hi"] * 4


@of_agents
def test_a_maker_that_does_not_block_does_not_wait(make: Any) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            future = make(supervisor, SimulatedAgent(start=5.0))
            assert (sim.now, future.done()) == (0.0, False)
            future.get()
            assert sim.now == 5.0

    Simulation().run(scenario)


@of_agents
def test_a_start_that_fails_is_raised_by_the_future(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path, make: Any
) -> None:
    future = make(supervisor, model.openai_config(env=fake_harness(tmp_path, FAILS)))

    with pytest.raises(AgentStartError):
        future.get(timeout=PATIENCE)
    assert names(supervisor) == set()


@of_agents
def test_the_future_raises_the_error_of_invalid_arguments(
    supervisor: SupervisorRef, make: Any
) -> None:
    future = make(supervisor, "no configuration")

    with pytest.raises(InvalidConfig, match="needs a configuration"):
        future.get(timeout=PATIENCE)


@makers
def test_the_future_of_a_supervisor_that_has_ended_raises_that(
    supervisor: SupervisorRef, make: Any
) -> None:
    supervisor.stop()

    with pytest.raises(AgentDeadError):
        make(supervisor, SimulatedAgent()).get(timeout=PATIENCE)


@pytest.mark.new_processes
@of_agents
def test_a_creation_whose_future_is_cancelled_leaves_nothing(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path, make: Any
) -> None:
    before = pykka.ActorRegistry.get_all()
    future = make(supervisor, model.openai_config(env=fake_harness(tmp_path, HANGS)))
    until(lambda: bool(children()))

    assert future.cancel()

    _, alive = psutil.wait_procs(children(), timeout=PATIENCE)
    assert not alive
    until(lambda: pykka.ActorRegistry.get_all() == before)
    until(lambda: names(supervisor) == set())
    assert make(supervisor, model.openai_config()).get(timeout=PATIENCE).name == "it"


@makers
def test_a_creation_that_is_cancelled_at_any_moment_leaves_nothing_or_a_child(make: Any) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            future = make(supervisor, SimulatedAgent(start=1.0))
            sim.sleep(sim.choose(0.5, 1.0, 1.5))
            cancelled = future.cancel()
            sim.sleep(60.0)
            assert names(supervisor) == (set() if cancelled else {"it"})

    explore(scenario, RandomSchedules(1), runs=60)


@makers
def test_a_creation_whose_task_is_cancelled_at_any_moment_leaves_nothing(make: Any) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            got: list[object] = []

            async def create() -> None:
                try:
                    async with asyncio.timeout(sim.choose(0.5, 1.0, 1.5)):
                        got.append(await make(supervisor, SimulatedAgent(start=1.0)))
                except TimeoutError:
                    pass

            sim.client(create).future.get()
            sim.sleep(60.0)
            assert names(supervisor) == ({"it"} if got else set())

    explore(scenario, RandomSchedules(2), runs=60)


@makers
def test_a_task_that_is_cancelled_just_when_the_ref_comes_leaves_nothing(
    supervisor: SupervisorRef, make: Any
) -> None:
    async def wait_for(future: ReplyFuture[Any]) -> None:
        await future

    async def main() -> None:
        task = asyncio.create_task(wait_for(future := make(supervisor, SimulatedAgent())))
        await asyncio.sleep(0)  # It waits from now on.
        until(future.done)  # This blocks the loop: the task does not learn of the reply.
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    until(lambda: names(supervisor) == set())


@makers
def test_a_future_that_is_cancelled_just_before_the_ref_comes_leaves_nothing(
    supervisor: SupervisorRef, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until_ready = ChildCreation.wait_until_ready
    futures: list[ReplyFuture[Any]] = []
    made = threading.Event()

    async def be_ready_too_late(self: Any, child: Any, **options: Any) -> Any:
        ref = await wait_until_ready(self, child, **options)
        if child.name == "it":
            assert made.wait(PATIENCE)
            assert futures[0].cancel()
        return ref

    monkeypatch.setattr(ChildCreation, "wait_until_ready", be_ready_too_late)
    futures.append(make(supervisor, SimulatedAgent()))
    made.set()

    until(futures[0].done)
    until(lambda: names(supervisor) == set())


# Other methods with `block=False`.


def test_a_supervisors_questions_can_be_awaited(supervisor: SupervisorRef) -> None:
    agent = supervisor.create_agent(SimulatedAgent(), "poet")
    pool = supervisor.create_pool(SimulatedAgent(), 2, "pool")
    team = supervisor.create_supervisor("team")

    async def main() -> None:
        assert await supervisor.children(block=False) == {"poet": agent}
        assert await supervisor.pools(block=False) == {"pool": pool}
        assert await supervisor.supervisors(block=False) == {"team": team}
        assert await supervisor.pace(block=False) == supervisor_pace
        assert (await supervisor.load(block=False)).running == 0
        assert (await supervisor.statistics(block=False)).name == supervisor.name
        assert len(await pool.members(block=False)) == 2
        assert (await pool.statistics(block=False)).size == 2
        await pool.resize(3, block=False)
        assert len(await pool.members(block=False)) == 3

    supervisor_pace = supervisor.pace()
    asyncio.run(main())


def test_a_subscription_can_be_awaited(supervisor: SupervisorRef) -> None:
    events: list[object] = []

    async def main() -> None:
        await supervisor.subscribe(events.append, block=False)

    asyncio.run(main())
    supervisor.create_agent(SimulatedAgent())
    until(lambda: bool(events))


def test_a_resize_that_is_cancelled_keeps_its_size(supervisor: SupervisorRef) -> None:
    pool = supervisor.create_pool(SimulatedAgent(), 1)

    with pytest.raises(InvalidConfig):
        pool.resize(0, block=False)
    pool.resize(2, block=False).get(timeout=PATIENCE)

    assert len(pool.members()) == 2


@pytest.mark.parametrize("drain", [True, False])
def test_an_end_can_be_awaited(supervisor: SupervisorRef, *, drain: bool) -> None:
    team = supervisor.create_supervisor("team")
    agent = team.create_agent(SimulatedAgent(), "poet")
    other = team.create_agent(SimulatedAgent(), "critic")

    async def main() -> None:
        await team.shutdown_agent(agent, drain=drain, block=False)
        assert not agent.is_alive()
        assert await team.shutdown(drain=drain, block=False) is True
        assert not other.is_alive()
        assert not team.is_alive()
        assert await team.shutdown(drain=drain, block=False) is False

    asyncio.run(main())


def test_a_drain_that_is_awaited_lets_turns_end(make_owner: Any) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            owner, agent = make_owner(supervisor, SimulatedAgent([reply("done", after=5.0)]))
            turn = agent.ask("go", block=False)
            sim.sleep(0.5)

            end = owner.shutdown(drain=True, block=False)

            assert sim.now == 0.5
            assert end.get() is True
            assert turn.get(timeout=0).text == "done"
            assert not owner.is_alive()
            assert sim.now == pytest.approx(5.0, abs=0.2)

    Simulation().run(scenario)


def _supervisor(supervisor: SupervisorRef, config: AgentConfig) -> tuple[Any, Any]:
    team = supervisor.create_supervisor("team")
    return team, team.create_agent(config)


def _pool(supervisor: SupervisorRef, config: AgentConfig) -> tuple[Any, Any]:
    pool = supervisor.create_pool(config, 1)
    return pool, pool


@pytest.fixture(params=[_supervisor, _pool])
def make_owner(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("drain", [True, False])
def test_an_end_whose_future_is_cancelled_continues(*, drain: bool) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            team = supervisor.create_supervisor("team")
            agent = team.create_agent(SimulatedAgent([reply("done", after=5.0)], stop=1.0))
            turn = agent.ask("go", block=False)
            sim.sleep(0.5)

            assert team.shutdown(drain=drain, block=False).cancel()

            watch(team).get(timeout=60.0)
            if drain:
                assert turn.get(timeout=0).text == "done"
            else:
                with pytest.raises(AgentDeadError):
                    turn.get(timeout=0)

    Simulation().run(scenario)


def test_a_drain_that_is_awaited_can_be_hurried() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            team = supervisor.create_supervisor("team")
            turn = team.create_agent(SimulatedAgent([hang()])).ask("go", block=False)
            sim.sleep(0.5)

            end = team.shutdown(drain=True, block=False)
            sim.sleep(0.5)
            team.stop()

            assert end.get(timeout=5.0) is True
            with pytest.raises(AgentDeadError):
                turn.get(timeout=0)
            assert sim.now < 5.0

    Simulation().run(scenario)


@pytest.mark.parametrize("method", ["shutdown", "create_supervisor", "children", "statistics"])
def test_block_is_a_bool(supervisor: SupervisorRef, method: str) -> None:
    with pytest.raises(InvalidArgument, match="block"):
        getattr(supervisor, method)(block="no")

    assert supervisor.is_alive()


def check_types(  # Not called: it is for the type checkers.
    supervisor: SupervisorRef, pool: PoolRef, config: AgentConfig, *, block: bool
) -> None:
    assert_type(supervisor.create_agent(config, "poet", block=False), ReplyFuture[AgentRef])
    assert_type(supervisor.create_agent(config, block=True, stop_timeout=1.0), AgentRef)
    assert_type(
        supervisor.create_agent(config, block=block, timeout=5.0), AgentRef | ReplyFuture[AgentRef]
    )
    assert_type(supervisor.get_or_create_agent(config, "poet"), AgentRef)
    assert_type(supervisor.get_or_create_agent(config, "poet", block=False), ReplyFuture[AgentRef])
    assert_type(supervisor.create_pool(config, block=False), ReplyFuture[PoolRef])
    assert_type(supervisor.create_pool(config, 2, idle_timeout=3.0), PoolRef)
    assert_type(supervisor.create_supervisor(), SupervisorRef)
    assert_type(supervisor.create_supervisor(block=False), ReplyFuture[SupervisorRef])
    assert_type(supervisor.shutdown(block=False), ReplyFuture[bool])
    assert_type(supervisor.shutdown_agent("poet", block=False), ReplyFuture[None])
    assert_type(supervisor.subscribe(print, block=False), ReplyFuture[Subscription])
    assert_type(supervisor.statistics(block=False), ReplyFuture[SupervisorStatistics])
    assert_type(supervisor.children(), dict[str, AgentRef])
    assert_type(pool.resize(2, block=False), ReplyFuture[None])
    assert_type(pool.members(block=False), ReplyFuture[list[AgentRef]])
