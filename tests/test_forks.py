"""Forked children of programs with agents."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgentRef,
    Chat,
    GetStatistics,
    PoolRef,
    Supervisor,
    SupervisorRef,
)
from agy_actors.testing import call_tool, say
from agy_actors.testing.scripted_model.configs import openai_config
from tests.forked import in_child, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors import ChatStream, ReplyFuture
    from agy_actors.testing import ScriptedModel

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


class World:
    """Objects that a parent has when it forks."""

    def __init__(self, model: ScriptedModel, supervisor: SupervisorRef) -> None:
        self.gate = threading.Event()
        model.when("wait", say("at last", gate=self.gate))
        self.config = openai_config(model.base_url, {})
        self.supervisor = supervisor
        self.agent: AgentRef = supervisor.create_agent(self.config)
        self.pool: PoolRef = supervisor.create_pool(self.config, 2)
        self.tool = self.agent.as_tool("friend", "A friend.")
        self.pool_tool = self.pool.as_tool("friends", "Friends.")
        self.subscription = supervisor.subscribe(lambda _: None)
        self.done: ReplyFuture[Any] = self.agent.ask(Chat("hi"), block=False)
        self.done.get()
        self.finished: ChatStream = self.agent.stream("hello")
        self.finished.result()
        self.pending = self.agent.ask(Chat("wait"), block=False)
        self.stream = self.pool.stream("wait")
        self.reader = iter(self.stream)
        self.map = self.pool.map(["wait", "wait"], in_flight=1)
        self.completed = self.pool.as_completed(["wait", "wait"], in_flight=1)


@pytest.fixture
def world(model: ScriptedModel, supervisor: SupervisorRef) -> Iterator[World]:
    world = World(model, supervisor)
    yield world
    world.gate.set()


async def _next(stream: ChatStream) -> str:
    return await anext(aiter(stream))


async def _enter(world: World) -> None:
    async with world.supervisor:
        pass


USES: dict[str, Callable[[World], Any]] = {
    "ask": lambda w: w.agent.ask(Chat("hi")),
    "ask without waiting": lambda w: w.agent.ask(Chat("hi"), block=False),
    "a query": lambda w: w.agent.ask(GetStatistics()),
    "tell": lambda w: w.agent.tell(Chat("hi")),
    "stream": lambda w: w.agent.stream("hi"),
    "is_alive": lambda w: w.agent.is_alive(),
    "stop": lambda w: w.agent.stop(),
    "as_tool": lambda w: w.agent.as_tool("name", "description"),
    "the agent's tool": lambda w: asyncio.run(w.tool("hi")),
    "the pool's tool": lambda w: asyncio.run(w.pool_tool("hi")),
    "ask of a pool": lambda w: w.pool.ask(Chat("hi")),
    "tell of a pool": lambda w: w.pool.tell(Chat("hi")),
    "stream of a pool": lambda w: w.pool.stream("hi"),
    "map": lambda w: w.pool.map(["hi"]),
    "as_completed": lambda w: w.pool.as_completed(["hi"]),
    "broadcast": lambda w: w.pool.broadcast(Chat("hi")),
    "statistics": lambda w: w.pool.statistics(),
    "members": lambda w: w.pool.members(),
    "resize": lambda w: w.pool.resize(2),
    "create_agent": lambda w: w.supervisor.create_agent(w.config),
    "create_pool": lambda w: w.supervisor.create_pool(w.config),
    "create_supervisor": lambda w: w.supervisor.create_supervisor(),
    "children": lambda w: w.supervisor.children(),
    "pace": lambda w: w.supervisor.pace(),
    "subscribe": lambda w: w.supervisor.subscribe(print),
    "shutdown": lambda w: w.supervisor.shutdown(),
    "drain": lambda w: w.supervisor.shutdown(drain=True),
    "shutdown_agent": lambda w: w.supervisor.shutdown_agent(w.agent),
    "cancel a subscription": lambda w: w.subscription.cancel(),
    "dropped of a subscription": lambda w: w.subscription.dropped,
    "get": lambda w: w.pending.get(),
    "cancel": lambda w: w.pending.cancel(),
    "read a stream": lambda w: next(w.reader),
    "read a stream anew": lambda w: next(iter(w.stream)),
    "read a stream in a loop": lambda w: asyncio.run(_next(w.stream)),
    "result of a stream": lambda w: w.stream.result(),
    "done of a stream": lambda w: w.stream.done(),
    "cancel a stream": lambda w: w.stream.cancel(),
    "events of a stream": lambda w: w.stream.events(),
    "read a finished stream": lambda w: next(iter(w.finished)),
    "next of map": lambda w: next(w.map),
    "next of as_completed": lambda w: next(w.completed),
}


def test_every_use_of_the_parents_agents_raises_and_names_the_parent(world: World) -> None:
    seen = in_child(lambda: {name: outcome(partial(use, world)) for name, use in USES.items()})

    assert seen == dict.fromkeys(USES, f"ForkedProcessError {os.getpid()}")
    world.gate.set()
    assert world.pending.get().text == "at last"
    assert world.stream.result().text == "at last"


def test_replies_from_before_the_fork_stay_readable(world: World) -> None:
    seen = in_child(lambda: [world.done.get().text, world.finished.result().text])

    assert seen == ["echo: hi", "echo: hello"]


def test_a_child_leaves_its_parents_blocks_without_output(world: World) -> None:
    next(thrown_away := world.pool.map(["hi", "wait", "wait"], in_flight=2))

    def leave() -> list[str]:
        nonlocal thrown_away
        with world.supervisor, world.pool, world.stream, world.reader:
            pass
        asyncio.run(_enter(world))
        said = [repr(thing) for thing in (world.supervisor, world.pool, world.agent)]
        world.__dict__.clear()
        thrown_away = iter(())
        gc.collect()
        return said

    said = in_child(leave)

    assert all("of the parent process" in text for text in said)
    world.gate.set()
    assert world.pending.get().text == "at last"
    assert world.stream.result().text == "at last"


def test_a_child_can_start_its_own_supervisor(world: World) -> None:
    def use() -> list[str]:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(world.config)
            pool = supervisor.create_pool(world.config, 2)
            texts = [agent.ask(Chat("child")).text, pool.ask(Chat("pool")).text]

            def grandchild() -> list[str]:
                with Supervisor.start() as mine:
                    answer = mine.create_agent(world.config).ask(Chat("grandchild")).text
                return [answer, outcome(lambda: agent.ask(Chat("no")))]

            answer, refused = in_child(grandchild)
            assert refused == f"ForkedProcessError {os.getpid()}"
            return [*texts, answer, agent.ask(Chat("again")).text]

    assert in_child(use) == ["echo: child", "echo: pool", "echo: grandchild", "echo: again"]
    assert world.supervisor.create_agent(world.config).ask(Chat("parent")).text == "echo: parent"


def test_a_tool_may_fork(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    def work() -> str:
        """Work in a forked child, with its own agent."""

        def use() -> str:
            with Supervisor.start() as mine:
                config = openai_config(model.base_url, {})
                return mine.create_agent(config).ask(Chat("from the child")).text

        return str(in_child(use))

    model.when("^use", call_tool("work"), say("done"))
    agent = supervisor.create_agent(openai_config(model.base_url, {"tools": [work]}))

    assert agent.ask(Chat("use it"), timeout=30).text == "done"
    assert "echo: from the child" in model.requests[-1].tool_results[0].output
    assert copy.copy(agent.ask(GetStatistics())).restarts == 0
