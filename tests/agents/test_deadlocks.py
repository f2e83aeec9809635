"""Tools, hooks and handlers that wait for their own waiters get a `DeadlockError` at once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.hooks import hooks

from agy_actors import Chat, DeadlockError, Routing, WaitForIdle, as_completed
from agy_actors.testing import ToolCall as Call
from agy_actors.testing import call_tool, call_tools, say
from tests.harnesses import PATIENCE, SOON
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors import AgentRef, ChatReply, PoolRef, SupervisorRef
    from agy_actors.testing import ScriptedModel

    Act = Callable[[Any], Any]


class Tool:
    """A tool that calls a test's function, and keeps the result."""

    def __init__(self, act: Act, *, size: int = 1) -> None:
        self.act = act
        self.target: Any = None
        self.results: list[Any] = []
        self._all_here = threading.Barrier(size, timeout=PATIENCE)

    def sync(self) -> Callable[[], str]:
        def act() -> str:
            """Do it."""
            self._all_here.wait()
            try:
                self.results.append(self.act(self.target))
            except BaseException as error:
                self.results.append(type(error))
                raise
            return "done"

        return act

    def on_loop(self) -> Callable[[], Coroutine[Any, Any, str]]:
        async def act() -> str:
            """Do it."""
            await asyncio.to_thread(self._all_here.wait)
            try:
                result = self.act(self.target)
                self.results.append(await result if asyncio.iscoroutine(result) else result)
            except BaseException as error:
                self.results.append(type(error))
                raise
            return "done"

        return act


async def await_turn(target: AgentRef) -> str:
    return (await target.ask(Chat("nested"), block=False)).text


async def gather_turns(target: AgentRef) -> list[str]:
    replies = await asyncio.gather(*(target.ask(f"nested {n}", block=False) for n in range(2)))
    return [reply.text for reply in replies]


async def wait_for_turn(target: AgentRef) -> str:
    return (await asyncio.wait_for(target.ask("nested", block=False), PATIENCE)).text


async def await_on_thread(target: AgentRef) -> str:
    return (await asyncio.to_thread(target.ask, "nested")).text


async def await_stream(target: AgentRef) -> str:
    return "".join([piece async for piece in target.stream("nested")])


async def await_reply_of_stream(target: AgentRef) -> str:
    return (await target.stream("nested")).text


async def await_tool(target: AgentRef) -> str:
    return await target.as_tool("other", "Asks the other.")("nested")


async def await_idle(target: AgentRef) -> None:
    await target.ask(WaitForIdle(), block=False)


async def await_stop(target: AgentRef) -> bool:
    return await target.stop(block=False)


ASYNC: list[Act] = [
    await_turn,
    gather_turns,
    wait_for_turn,
    await_on_thread,
    await_stream,
    await_reply_of_stream,
    await_tool,
]
SYNC: dict[str, Act] = {
    "ask": lambda target: target.ask("nested").text,
    "get": lambda target: target.ask("nested", block=False).get().text,
    "stream": lambda target: "".join(target.stream("nested")),
    "events": lambda target: list(target.stream("nested").events(timeout=600)),
    "result": lambda target: target.stream("nested").result().text,
    "as_completed": lambda target: next(as_completed([target.ask("nested", block=False)])).get(),
    "run": lambda target: asyncio.run(await_turn(target)),
}


@pytest.mark.parametrize("act", quick([*ASYNC, await_idle], 0, 4, 7))
def test_an_async_tool_cannot_await_an_agent_that_waits_for_its_turn(
    model: ScriptedModel, supervisor: SupervisorRef, act: Act
) -> None:
    tool = Tool(act)
    agent = tool.target = supervisor.create_agent(model.openai_config(tools=[tool.on_loop()]))
    model.then(call_tool("act"), say("after"))

    if act is await_tool:  # An agent that is its own tool: the turn ends, too.
        with pytest.raises(DeadlockError):
            agent.ask(Chat("go", timeout=SOON), timeout=PATIENCE)
    else:
        assert agent.ask(Chat("go", timeout=SOON), timeout=PATIENCE).text == "after"
    assert tool.results == [DeadlockError]
    assert agent.ask("next", timeout=PATIENCE).text in ("echo: next", "after")


def test_a_tool_waits_until_its_own_agent_has_stopped(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    tool = Tool(await_stop)
    agent = tool.target = supervisor.create_agent(model.openai_config(tools=[tool.on_loop()]))
    model.then(call_tool("act"), say("after"))

    assert agent.ask(Chat("go", timeout=SOON), timeout=PATIENCE).text == "after"
    assert tool.results == [DeadlockError]
    agent.stop(timeout=PATIENCE)


@pytest.mark.parametrize(
    "act",
    quick([*ASYNC, *SYNC.values()], 0, 4, 7, 9),
    ids=[function.__name__ for function in ASYNC] + [*SYNC],
)
def test_two_agents_wait_for_each_other(
    model: ScriptedModel, supervisor: SupervisorRef, act: Act
) -> None:
    barrier = threading.Barrier(2, timeout=PATIENCE)
    tools = [Tool(act), Tool(act)]
    for tool in tools:
        tool._all_here = barrier
    functions = [tool.on_loop() if act in ASYNC else tool.sync() for tool in tools]
    agents = [supervisor.create_agent(model.openai_config(tools=[tool])) for tool in functions]
    for tool, other in zip(tools, reversed(agents), strict=True):
        tool.target = other
    model.then(call_tool("act"), call_tool("act"))

    replies = [agent.ask(Chat("go"), block=False) for agent in agents]

    for reply in replies:
        try:
            reply.get(timeout=PATIENCE)
        except DeadlockError:
            assert act is await_tool
    results = [tool.results[0] for tool in tools]
    assert results.count(DeadlockError) == 1, results
    for agent in agents:
        assert agent.ask("next", timeout=PATIENCE).text == "echo: next"


OWNER_WAITS: dict[str, Callable[[SupervisorRef], object]] = {
    "stop": lambda owner: owner.stop(),
    "shutdown": lambda owner: owner.shutdown(),
    "shutdown_agent": lambda owner: owner.shutdown_agent("me"),
    "drain": lambda owner: owner.shutdown(drain=True),
    "drain agent": lambda owner: owner.shutdown_agent("me", drain=True),
}
"""The ways to end an agent that its own tool waits for."""


@pytest.mark.parametrize("wait", OWNER_WAITS.values(), ids=OWNER_WAITS)
@pytest.mark.parametrize("nested", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_tool_cannot_block_its_agents_thread_until_the_agent_has_ended(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    wait: Callable[[SupervisorRef], object],
    nested: bool,
) -> None:
    owner = supervisor.create_supervisor("team") if nested else supervisor
    tool = Tool(lambda _: wait(owner))
    agent = owner.create_agent(model.openai_config(tools=[tool.on_loop()]), "me")
    model.then(call_tool("act"), say("after"))

    reply = agent.ask(Chat("go"), block=False)

    wait_until_over(reply)
    assert tool.results == [DeadlockError]


@pytest.mark.parametrize("wait", ["drain", "drain agent"])
def test_a_tool_cannot_wait_for_the_end_of_its_own_turn(
    model: ScriptedModel, supervisor: SupervisorRef, wait: str
) -> None:
    tool = Tool(lambda _: OWNER_WAITS[wait](supervisor))
    agent = supervisor.create_agent(model.openai_config(tools=[tool.sync()]), "me")
    model.then(call_tool("act"), say("after"))

    assert agent.ask(Chat("go"), timeout=SOON).text == "after"
    assert tool.results == [DeadlockError]


@pytest.mark.parametrize("wait", ["stop", "shutdown", "shutdown_agent"])
def test_a_tool_on_its_own_thread_may_wait_for_the_end_of_its_agent(
    model: ScriptedModel, supervisor: SupervisorRef, wait: str
) -> None:
    ended = threading.Event()

    def end(_: object) -> object:
        try:
            return OWNER_WAITS[wait](supervisor)
        finally:
            ended.set()

    tool = Tool(end)
    agent = supervisor.create_agent(model.openai_config(tools=[tool.sync()]), "me")
    model.then(call_tool("act"))

    wait_until_over(agent.ask(Chat("go"), block=False))

    assert ended.wait(PATIENCE)
    assert tool.results != [DeadlockError]
    assert not agent.is_alive()


def wait_until_over(reply: Any) -> None:
    try:
        reply.get(timeout=PATIENCE)
    except TimeoutError:
        raise
    except Exception:  # noqa: BLE001 (the agent may have ended with its turn)
        pass


def test_another_tool_of_the_same_turn_may_wait_for_a_third_agent(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    other = supervisor.create_agent(model.openai_config())
    mine, others = Tool(await_turn), Tool(await_turn)
    first, second = mine.on_loop(), others.on_loop()
    second.__name__ = "other"
    agent = mine.target = supervisor.create_agent(model.openai_config(tools=[first, second]))
    others.target = other
    model.then(call_tools([Call("act"), Call("other")]))

    agent.ask(Chat("go"), timeout=PATIENCE)

    assert (mine.results, others.results) == ([DeadlockError], ["echo: nested"])


def test_a_hook_cannot_await_a_turn_of_its_own_agent(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    tool = Tool(await_turn)
    act = tool.on_loop()

    @hooks.post_turn  # type: ignore[untyped-decorator] # the SDK's
    async def ask_again(_: str) -> None:
        if not tool.results:
            await act()

    agent = tool.target = supervisor.create_agent(model.openai_config(hooks=[ask_again]))

    wait_until_over(agent.ask(Chat("go", timeout=SOON), block=False))

    assert tool.results == [DeadlockError]
    assert agent.ask("next", timeout=PATIENCE).text == "echo: next"


def test_a_task_that_a_tool_leaves_running_may_await_the_next_turn(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    tasks: list[asyncio.Task[str]] = []
    answers: list[str] = []
    answered = threading.Event()

    def keep(task: asyncio.Task[str]) -> None:
        answers.append(task.result())
        answered.set()

    async def leave(target: AgentRef) -> None:
        task = asyncio.create_task(await_turn(target))
        tasks.append(task)
        task.add_done_callback(keep)
        for _ in range(5):
            await asyncio.sleep(0)

    tool = Tool(leave)
    agent = tool.target = supervisor.create_agent(model.openai_config(tools=[tool.on_loop()]))
    model.then(call_tool("act"), say("after"))

    assert agent.ask(Chat("go"), timeout=PATIENCE).text == "after"
    assert answered.wait(PATIENCE)
    assert answers == ["echo: nested"]


# Pools.


def pool_and_tool(
    model: ScriptedModel, supervisor: SupervisorRef, act: Act, size: int, **options: Any
) -> tuple[PoolRef, Tool]:
    tool = Tool(act, size=size)
    functions = tool.on_loop() if asyncio.iscoroutinefunction(act) else tool.sync()
    pool = supervisor.create_pool(model.openai_config(tools=[functions]), size, **options)
    tool.target = pool
    return pool, tool


async def await_of_pool(target: Any) -> str:
    reply: ChatReply = await target.ask("nested", block=False)
    return reply.text


POOL_WAITS: dict[str, Act] = {
    "ask": lambda pool: pool.ask("nested").text,
    "await": await_of_pool,
    "get": lambda pool: pool.ask("nested", block=False).get().text,
    "stream": lambda pool: "".join(pool.stream("nested")),
    "map": lambda pool: next(pool.map(["nested"])).text,
    "as_completed": lambda pool: next(pool.as_completed(["nested"])).get().text,
}


@pytest.mark.parametrize(
    "routing", [Routing.SHORTEST_QUEUE, pytest.param(Routing.ROUND_ROBIN, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("act", quick(POOL_WAITS.values(), 0, 1, 3), ids=POOL_WAITS)
def test_members_of_a_pool_that_all_ask_it_at_once_are_a_deadlock(
    model: ScriptedModel, supervisor: SupervisorRef, act: Act, size: int, routing: Routing
) -> None:
    pool, tool = pool_and_tool(model, supervisor, act, size, routing=routing)
    model.then(*[call_tool("act")] * size)

    replies = [pool.ask(Chat("go"), block=False) for _ in range(size)]

    for reply in replies:
        assert reply.get(timeout=PATIENCE).text == "echo: go"
    assert DeadlockError in tool.results
    assert set(tool.results) <= {DeadlockError, "echo: nested"}
    if routing is Routing.SHORTEST_QUEUE:
        assert tool.results.count(DeadlockError) == 1


def test_a_member_may_ask_its_pool_while_another_member_is_free(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    for act in POOL_WAITS.values():
        tool = Tool(act)
        function = tool.on_loop() if asyncio.iscoroutinefunction(act) else tool.sync()
        pool = supervisor.create_pool(model.openai_config(tools=[function]), 2)
        tool.target = pool
        model.then(call_tool("act"))

        assert pool.ask(Chat("go"), timeout=PATIENCE).text == "echo: go"
        assert tool.results == ["echo: nested"]
        pool.stop()


def test_a_pool_that_can_grow_lets_its_members_ask_it(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    pool, tool = pool_and_tool(model, supervisor, POOL_WAITS["get"], 1, max_size=2)
    model.then(call_tool("act"))

    assert pool.ask(Chat("go"), timeout=PATIENCE).text == "echo: go"
    assert tool.results == ["echo: nested"]


def test_a_broadcast_in_a_turn_of_a_member_is_a_deadlock(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    async def ask_all(target: Any) -> Any:
        return await target.ask("nested", block=False)

    pool, tool = pool_and_tool(model, supervisor, ask_all, 2, routing=Routing.BROADCAST)
    model.then(call_tool("act"), call_tool("act"))

    pool.broadcast(Chat("go", timeout=SOON), timeout=PATIENCE)

    assert DeadlockError in tool.results


def test_an_agent_and_a_pool_that_ask_each_other_at_once_are_a_deadlock(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    barrier = threading.Barrier(2, timeout=PATIENCE)
    in_pool, in_agent = Tool(await_turn), Tool(await_of_pool)
    in_pool._all_here = in_agent._all_here = barrier
    pool = supervisor.create_pool(model.openai_config(tools=[in_pool.on_loop()]), 1)
    agent = supervisor.create_agent(model.openai_config(tools=[in_agent.on_loop()]))
    in_pool.target, in_agent.target = agent, pool
    model.then(call_tool("act"), call_tool("act"))

    replies = [pool.ask("go", block=False), agent.ask("go", block=False)]

    for reply in replies:
        assert reply.get(timeout=PATIENCE).text == "echo: go"
    assert (in_pool.results + in_agent.results).count(DeadlockError) == 1
