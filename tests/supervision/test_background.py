"""Background work of supervisors logs every exception, and continues."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from agy_actors import AgentDeadError, Backoff, Chat, GetPoolStatistics, Supervisor, watch
from agy_actors._agents.agent_actor import AgentActor
from agy_actors._agents.agent_child import AgentChild
from agy_actors._supervision import pool_actor, pool_logic, pool_steps
from agy_actors._supervision.background import Background
from agy_actors.testing import SimulatedAgent, Simulation, crash, hang, reply
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HANG = 0.6
"""Seconds: long for a loop, short for a test."""


class Odd(BaseException):
    """An exception that `except Exception` does not catch."""


ERRORS = [
    ValueError,
    MemoryError,
    RecursionError,
    StopIteration,
    StopAsyncIteration,
    asyncio.CancelledError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    Odd,
]


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """The lines of the log from ERROR on."""
    said: list[str] = []
    logger.enable("agy_actors")
    handler = logger.add(lambda message: said.append(str(message)), level="ERROR")
    yield said
    logger.remove(handler)
    logger.disable("agy_actors")


class FailsOnce:
    """Raises in its first call, and calls the original function in later ones."""

    def __init__(self, function: Callable[..., Any], error: BaseException) -> None:
        self._function = function
        self._error: BaseException | None = error
        self.failed = threading.Event()

    def __get__(self, instance: object, _: type | None = None) -> Callable[..., Any]:
        return lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        error, self._error = self._error, None
        if error is not None:
            self.failed.set()
            raise error
        return self._function(*args, **kwargs)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", ["_is_responsive", "_where", "_abandon"])
def test_hang_detection_works_after_any_exception(
    monkeypatch: pytest.MonkeyPatch,
    errors: list[str],
    where: str,
    error: type[BaseException],
) -> None:
    let_go, blocked = threading.Event(), threading.Event()
    fails = FailsOnce(getattr(AgentActor, where), error("no words of it"))
    monkeypatch.setattr(AgentActor, where, fails)

    async def block() -> None:
        if not blocked.is_set():
            blocked.set()
            let_go.wait(PATIENCE)

    config = SimulatedAgent([reply().calling("block"), reply("here")], tools=[block])
    with Supervisor.start(hang_timeout=HANG) as supervisor:
        agent = supervisor.create_agent(config)
        if where == "_is_responsive":
            assert fails.failed.wait(PATIENCE)

        turn = agent.ask(Chat("go", timeout=PATIENCE), block=False)

        assert blocked.wait(PATIENCE)
        assert fails.failed.wait(PATIENCE)
        until(turn.done)
        assert agent.ask(Chat("again", timeout=PATIENCE)).text == "here"
        let_go.set()
    assert any(error.__name__ in line and "hang detection" in line for line in errors)
    assert not any("no words of it" in line for line in errors)


def test_an_error_with_one_agent_does_not_hide_another_that_hangs(
    monkeypatch: pytest.MonkeyPatch, errors: list[str]
) -> None:
    let_go, blocked = threading.Event(), threading.Event()
    is_responsive = AgentActor._is_responsive

    def fail_for_one(actor: AgentActor) -> bool:
        if actor.spec.name == "first":
            raise ValueError
        return is_responsive(actor)

    async def block() -> None:
        blocked.set()
        let_go.wait(PATIENCE)

    monkeypatch.setattr(AgentActor, "_is_responsive", fail_for_one)
    with Supervisor.start(hang_timeout=HANG) as supervisor:
        supervisor.create_agent(SimulatedAgent(), "first")
        script = [reply().calling("block")]
        agent = supervisor.create_agent(SimulatedAgent(script, tools=[block]), "second")
        turn = agent.ask(Chat("go", timeout=PATIENCE), block=False)
        assert blocked.wait(PATIENCE)

        until(turn.done)
        let_go.set()
    # A repeated error is logged once.
    assert len([line for line in errors if "ValueError" in line]) == 1


def test_an_agent_whose_restart_raises_is_given_up_and_not_left_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = AgentChild.begin

    def fail_at_restart(child: AgentChild) -> None:
        if child.begun:
            raise ValueError
        begin(child)

    monkeypatch.setattr(AgentChild, "begin", fail_at_restart)

    def scenario(sim: Simulation) -> None:
        with Supervisor.start(backoff=Backoff(wait=lambda _: 1.0)) as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([crash(), crash()]))
            turn = agent.ask(Chat("go"), block=False)
            death = watch(agent)

            with pytest.raises(AgentDeadError, match="could not be started again"):
                turn.get(timeout=60)
            death.get(timeout=0)
            assert sim.now < 60

    Simulation().run(scenario)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
def test_a_pool_scales_after_any_exception(
    monkeypatch: pytest.MonkeyPatch, errors: list[str], error: type[BaseException]
) -> None:
    decide = pool_logic.decide
    failing = [True]

    def fail_once(state: Any, event: Any) -> Any:
        if isinstance(event, pool_steps.Tick) and failing[0]:
            failing[0] = False
            raise error
        return decide(state, event)

    monkeypatch.setattr(pool_actor, "decide", fail_once)

    def scenario(sim: Simulation) -> None:
        failing[0] = True
        with Supervisor.start() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent([reply(after=30.0)] * 4), 1, max_size=4)
            for _ in range(4):
                pool.ask(Chat("go"), block=False)

            sim.sleep(10.0)

            assert not failing[0]
            assert pool.ask(GetPoolStatistics()).size > 1

    Simulation().run(scenario)
    assert any("scaling" in line and error.__name__ in line for line in errors)


@pytest.mark.parametrize("where", ["ask_to_end", "_kill"])
def test_a_supervisor_ends_although_the_end_of_a_child_raises(
    monkeypatch: pytest.MonkeyPatch, errors: list[str], where: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError

    monkeypatch.setattr(AgentChild if where == "ask_to_end" else AgentActor, where, fail)

    def scenario(_: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agents = [supervisor.create_agent(SimulatedAgent([hang()])) for _ in range(2)]
            agents[0].ask(Chat("go"), block=False)

            supervisor.stop(timeout=60)

            assert not any(agent.is_alive() for agent in agents)

    Simulation().run(scenario)
    if where == "ask_to_end":
        assert any("ValueError" in line for line in errors)


# Background work itself.


def test_work_that_raises_is_started_again_until_it_succeeds() -> None:
    async def main() -> None:
        calls: list[int] = []
        done = asyncio.Event()

        async def work() -> None:
            calls.append(1)
            if len(calls) < 2:
                raise ValueError
            done.set()

        background = Background(logger)
        background.start("some work", work)
        await done.wait()

        assert len(calls) == 2

    asyncio.run(main())


def test_work_that_is_cancelled_is_not_started_again() -> None:
    async def main() -> None:
        begun = asyncio.Event()
        calls: list[int] = []

        async def work() -> None:
            calls.append(1)
            begun.set()
            await asyncio.get_running_loop().create_future()

        background = Background(logger)
        background.start("some work", work)
        await begun.wait()
        background.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert len(asyncio.all_tasks()) == 1
        assert calls == [1]

    asyncio.run(main())
