"""A call that blocks an event loop warns with the line of the user's code."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AskTimeout,
    AsyncioActor,
    BlockingCallWarning,
    ReplyFuture,
    Supervisor,
    as_completed,
)
from agy_actors.testing import SimulatedAgent, Simulation, call_tool, reply
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors import AgentRef, AsyncioActorRef, PoolRef, SupervisorRef
    from agy_actors.testing import ScriptedModel


class Echo(AsyncioActor):
    """Calls a callable message and replies with the result; echoes other messages."""

    def on_receive(self, message: Any) -> Any:
        return message() if callable(message) else message


@pytest.fixture
def echo() -> Iterator[AsyncioActorRef]:
    ref = Echo.start()
    yield ref
    ref.stop()


@pytest.fixture
def agent(supervisor: SupervisorRef) -> AgentRef:
    return supervisor.create_agent(SimulatedAgent(lambda _: reply("hi", after=0.02)), "poet")


@pytest.fixture
def pool(supervisor: SupervisorRef) -> PoolRef:
    return supervisor.create_pool(SimulatedAgent(lambda _: reply("hi", after=0.02)), 2, "pool")


def recorded(call: Callable[[], object], *, action: Any = "always") -> list[Any]:
    """Return the warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        call()
    return caught


def on_a_loop(function: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls a plain function in a coroutine."""

    async def main() -> None:
        function()

    return lambda: asyncio.run(main())


CALLS: dict[str, Callable[[SupervisorRef, AgentRef, PoolRef], object]] = {
    "ask": lambda _, agent, __: agent.ask("go"),
    "ask with a timeout": lambda _, agent, __: agent.ask("go", timeout=PATIENCE),
    "ask of a pool": lambda _, __, pool: pool.ask("go"),
    "get": lambda _, agent, __: agent.ask("go", block=False).get(),
    "stream": lambda _, agent, __: "".join(agent.stream("go")),
    "events": lambda _, agent, __: list(agent.stream("go").events()),
    "result": lambda _, agent, __: agent.stream("go").result(),
    "map": lambda _, __, pool: list(pool.map(["go"])),
    "as_completed of a pool": lambda _, __, pool: list(pool.as_completed(["go"])),
    "as_completed": lambda _, agent, __: list(as_completed([agent.ask("go", block=False)])),
    "map of a future": lambda _, agent, __: agent.ask("go", block=False).map(str).get(),
    "create_agent": lambda supervisor, _, __: supervisor.create_agent(SimulatedAgent()),
    "get_or_create_agent": lambda supervisor, _, __: supervisor.get_or_create_agent(
        SimulatedAgent(), "new"
    ),
    "create_pool": lambda supervisor, _, __: supervisor.create_pool(SimulatedAgent(), 1),
    "create_supervisor": lambda supervisor, _, __: supervisor.create_supervisor(),
    "children": lambda supervisor, _, __: supervisor.children(),
    "statistics": lambda supervisor, _, __: supervisor.statistics(),
    "subscribe": lambda supervisor, _, __: supervisor.subscribe(lambda _: None),
    "resize": lambda _, __, pool: pool.resize(3),
    "shutdown_agent": lambda supervisor, agent, _: supervisor.shutdown_agent(agent),
    "shutdown": lambda _, __, pool: pool.shutdown(),
    "shutdown with drain": lambda _, __, pool: pool.shutdown(drain=True),
    "stop": lambda _, agent, __: agent.stop(),
    "stop now": lambda _, agent, __: agent.stop(now=True),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_blocks_an_event_loop_warns_with_its_line(
    supervisor: SupervisorRef,
    agent: AgentRef,
    pool: PoolRef,
    call: Callable[[SupervisorRef, AgentRef, PoolRef], object],
) -> None:
    caught = recorded(on_a_loop(lambda: call(supervisor, agent, pool)))

    assert {warning.category for warning in caught} == {BlockingCallWarning}
    lines, first = inspect.getsourcelines(call)
    for warning in caught:
        assert warning.filename == __file__
        assert warning.lineno in range(first, first + len(lines))
        assert "block=False" in str(warning.message)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_call_warns_without_a_running_loop(
    supervisor: SupervisorRef,
    agent: AgentRef,
    pool: PoolRef,
    call: Callable[[SupervisorRef, AgentRef, PoolRef], object],
) -> None:
    assert recorded(lambda: call(supervisor, agent, pool)) == []


def test_a_call_blocks_an_event_loop(agent: AgentRef) -> None:
    def ask() -> None:
        agent.ask("go")

    assert len(recorded(on_a_loop(ask))) == 1


def test_by_default_each_line_warns_once(agent: AgentRef) -> None:
    def ask() -> None:
        for _ in range(3):
            agent.ask("go")
            agent.ask("go")

    caught = recorded(on_a_loop(ask), action="default")

    first = ask.__code__.co_firstlineno
    assert [warning.lineno for warning in caught] == [first + 2, first + 3]


def test_leaving_a_with_block_in_a_coroutine_warns() -> None:
    async def main() -> None:
        with Supervisor.start():
            pass
        with contextlib.ExitStack() as stack:
            stack.enter_context(Supervisor.start())

    caught = recorded(lambda: asyncio.run(main()))

    first = main.__code__.co_firstlineno
    assert [warning.lineno for warning in caught] == [first + 1, first + 3]


def test_a_callback_of_a_loop_that_blocks_warns(agent: AgentRef) -> None:
    def ask() -> None:
        agent.ask("go")

    async def main() -> None:
        asyncio.get_running_loop().call_soon(ask)
        await asyncio.sleep(0)

    caught = recorded(lambda: asyncio.run(main()))

    assert [warning.lineno for warning in caught] == [ask.__code__.co_firstlineno + 1]


def test_calls_that_do_not_block_do_not_warn(
    supervisor: SupervisorRef, agent: AgentRef, pool: PoolRef
) -> None:
    async def main() -> None:
        future = agent.ask("go", block=False)
        await future
        future.get()  # The reply has arrived.
        agent.tell("go")
        async for _ in agent.stream("go"):
            pass
        await asyncio.to_thread(agent.ask, "go")
        await supervisor.create_agent(SimulatedAgent(), block=False)
        await pool.resize(1, block=False)
        await supervisor.shutdown(block=False)
        async with Supervisor.start():
            pass
        pending: ReplyFuture[None] = ReplyFuture()
        with pytest.raises(AskTimeout):
            pending.get(timeout=0)
        pending.cancel()

    assert recorded(lambda: asyncio.run(main())) == []


def test_if_the_warning_is_an_error_nothing_is_sent(
    supervisor: SupervisorRef, agent: AgentRef
) -> None:
    config = SimulatedAgent()

    def ask() -> None:
        with pytest.raises(BlockingCallWarning):
            agent.ask("go")
        with pytest.raises(BlockingCallWarning):
            supervisor.create_agent(config, "new")

    on_a_loop(ask)()  # As in all tests, warnings are errors.

    assert supervisor.children() == {"poet": agent}
    assert agent.ask("next").text == "hi"
    assert supervisor.statistics().turns == {"answered": 1}


def test_if_the_warning_is_an_error_a_stop_still_stops() -> None:
    supervisor = Supervisor.start()

    def leave() -> None:
        with pytest.raises(BlockingCallWarning), supervisor:
            pass

    on_a_loop(leave)()

    until(lambda: not supervisor.is_alive())


def test_if_the_warning_is_an_error_a_stream_is_closed(agent: AgentRef) -> None:
    streams = []

    def read() -> None:
        streams.append(agent.stream("go"))
        with pytest.raises(BlockingCallWarning):
            next(iter(streams[0]))

    on_a_loop(read)()

    assert streams[0].future.cancelled()


# Actors' own loops.


def test_a_plain_function_that_handles_a_message_may_block(echo: AsyncioActorRef) -> None:
    other = Echo.start()
    try:
        # A warning on the other actor's thread would be an error, and raised here.
        assert echo.ask(lambda: other.ask("hi")) == "hi"
        assert echo.ask(lambda: other.ask("hi", block=False).get()) == "hi"
    finally:
        other.stop()


def test_a_plain_on_start_or_on_stop_may_block() -> None:
    other = Echo.start()

    class Asker(Echo):
        def on_start(self) -> None:
            other.ask("start")

        def on_stop(self) -> None:
            seen.append(other.ask("stop"))

    seen: list[str] = []
    ref = Asker.start()
    assert ref.ask("hi") == "hi"
    ref.stop()
    other.stop()
    assert seen == ["stop"]


def test_a_coroutine_that_handles_a_message_and_blocks_warns(echo: AsyncioActorRef) -> None:
    other = Echo.start()

    async def ask() -> object:
        return other.ask("hi")

    try:
        with pytest.raises(BlockingCallWarning):
            echo.ask(ask)
    finally:
        other.stop()


def test_an_async_tool_that_blocks_its_agents_loop_warns(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    expert = supervisor.create_agent(SimulatedAgent(), "expert")

    async def consult() -> str:
        """Ask an expert."""
        return expert.ask("what?").text

    def look_up() -> str:
        """Ask an expert, on a thread."""
        return expert.ask("what?").text

    model.when("async", call_tool("consult"), times=1)
    model.when("plain", call_tool("look_up"), times=1)
    agent = supervisor.create_agent(model.openai_config(tools=[consult, look_up]), "asker")

    with pytest.warns(BlockingCallWarning) as caught:
        agent.ask("async", timeout=PATIENCE)
    agent.ask("plain", timeout=PATIENCE)

    assert [warning.lineno for warning in caught] == [consult.__code__.co_firstlineno + 2]


def test_a_simulated_client_may_block_as_on_a_thread() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent())
            assert sim.client(agent.ask, "hi").future.get().text == "hi"

    assert recorded(lambda: Simulation().run(scenario)) == []


def test_a_simulated_coroutine_that_blocks_warns() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent())

            async def ask() -> None:
                agent.ask("hi")

            sim.client(ask).future.get()

    assert [warning.category for warning in recorded(lambda: Simulation().run(scenario))] == [
        BlockingCallWarning
    ]


# Notebooks.


def test_a_notebook_cell_may_block(agent: AgentRef) -> None:
    """A notebook runs cells in a coroutine of its event loop, as module code."""
    plain = compile("def ask():\n    agent.ask('go')\nask()\nagent.ask('go')", "<cell>", "exec")

    async def run_cell() -> None:
        exec(plain, {"__name__": "__main__", "agent": agent})

    assert recorded(lambda: asyncio.run(run_cell())) == []


def test_a_notebook_cell_that_awaits_and_blocks_warns(agent: AgentRef) -> None:
    source = "import asyncio\nawait asyncio.sleep(0)\nagent.ask('go')"
    awaits = compile(source, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def run_cell() -> None:
        await eval(awaits, {"__name__": "__main__", "agent": agent})

    caught = recorded(lambda: asyncio.run(run_cell()))

    assert [(warning.filename, warning.lineno) for warning in caught] == [("<cell>", 3)]


def test_a_program_that_runs_a_loop_and_blocks_it_warns(agent: AgentRef) -> None:
    source = (
        "import asyncio\n"
        "async def main():\n"
        "    asyncio.get_running_loop().call_soon(lambda: agent.ask('go'))\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
    )

    caught = recorded(lambda: exec(source, {"__name__": "__main__", "agent": agent}))

    assert [warning.lineno for warning in caught] == [3]


def test_a_loop_in_another_thread_does_not_warn(agent: AgentRef) -> None:
    ready, done = threading.Event(), threading.Event()

    async def wait() -> None:
        ready.set()
        await asyncio.to_thread(done.wait, PATIENCE)

    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        assert recorded(lambda: agent.ask("go")) == []
    finally:
        done.set()
        thread.join()
