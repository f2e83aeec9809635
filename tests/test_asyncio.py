"""Applications on asyncio whose event loop is never blocked."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.hooks import PreToolCallDecideHook
from google.antigravity.types import HookResult

from agy_actors import AgentDeadError, Chat, CreateAgent, CreatePool, IsIdle, Send, Supervisor
from agy_actors.testing import ScriptedModel, call_tool, say, silence
from tests.harnesses import PATIENCE, SOON, children, kill_harness

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from google.antigravity.hooks.hooks import HookContext
    from google.antigravity.types import ToolCall

    from agy_actors import AgentRef, SupervisorRef
    from agy_actors.testing import ModelRequest


@pytest.fixture
def supervisor(model: ScriptedModel) -> Iterator[SupervisorRef]:
    with Supervisor.start() as supervisor:
        yield supervisor


@pytest.fixture
def agent(supervisor: SupervisorRef, model: ScriptedModel) -> AgentRef:
    return supervisor.create_agent(model.openai_config())


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, PATIENCE))


@pytest.mark.new_processes
def test_an_application_in_one_event_loop_never_blocks_it(model: ScriptedModel) -> None:
    gate = threading.Event()
    model.when("slow", say("slowly", gate=gate, gate_after=0))

    async def main() -> None:
        async with Supervisor.start() as supervisor:
            agent = await supervisor.ask(CreateAgent(model.openai_config(), "one"), block=False)
            pool = await supervisor.ask(CreatePool(model.openai_config(), 2), block=False)
            slow = agent.ask(Chat("slow"), block=False)
            # All of this happens on the same thread while the slow turn runs.
            quick = await asyncio.gather(
                *(pool.ask(Chat(f"q{number}"), block=False) for number in range(4))
            )
            idle = await agent.ask(IsIdle(), block=False)
            gate.set()
            answer = await slow
        assert [reply.text for reply in quick] == [f"echo: q{number}" for number in range(4)]
        assert (idle, answer.text) == (False, "slowly")
        with pytest.raises(AgentDeadError):
            await agent.ask(Chat("late"), block=False)

    run(main())
    assert not children()


def test_a_cancelled_task_abandons_its_turn(model: ScriptedModel, agent: AgentRef) -> None:
    model.when("slow", silence("half "))

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await agent.ask(Chat("slow"), block=False)
        assert (await agent.ask(Chat("next"), block=False)).text == "echo: next"

    run(main())
    assert model.wait_for_disconnect(SOON).prompt == "slow"


def test_an_error_in_a_task_group_abandons_the_turns_of_the_others(
    model: ScriptedModel, agent: AgentRef
) -> None:
    model.when("slow", silence("half "))

    async def wait() -> None:
        await agent.ask(Chat("slow"), block=False)

    async def fail() -> None:
        await asyncio.to_thread(model.wait_for_requests, 1)
        raise OSError("something else")

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail())

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            await both()

    run(main())
    assert model.wait_for_disconnect(SOON).prompt == "slow"


def test_loops_in_several_threads_share_an_agent(agent: AgentRef) -> None:
    texts: list[str] = []

    async def main(number: int) -> None:
        texts.append((await agent.ask(Chat(f"from {number}"), block=False)).text)

    threads = [threading.Thread(target=lambda n=n: run(main(n))) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert sorted(texts) == [f"echo: from {number}" for number in range(3)]


# Context variables.

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


class Witness:
    """Records the asking user in tools and hooks."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def sync_tool(self) -> str:
        """Record the asking user."""
        self.seen.append(("sync tool", user.get()))
        return "noted"

    async def async_tool(self) -> str:
        """Record the asking user."""
        self.seen.append(("async tool", user.get()))
        return "noted"

    def hooks(self) -> list[Any]:
        seen = self.seen

        class Decide(PreToolCallDecideHook):
            async def run(self, context: HookContext, data: ToolCall) -> HookResult:
                del context, data
                seen.append(("hook", user.get()))
                return HookResult(allow=True)

        return [Decide()]

    def of(self, where: str) -> list[str]:
        return [who for place, who in self.seen if place == where]


@pytest.fixture
def witness(model: ScriptedModel) -> Witness:
    def wants(tool: str) -> Callable[[ModelRequest], bool]:
        return lambda request: request.prompt == tool and request.messages[-1][0] != "tool"

    for tool in ("sync_tool", "async_tool"):
        model.when(wants(tool), call_tool(tool))
    return Witness()


@pytest.fixture
def watched(supervisor: SupervisorRef, model: ScriptedModel, witness: Witness) -> AgentRef:
    tools = [witness.sync_tool, witness.async_tool]
    return supervisor.create_agent(model.openai_config(tools=tools, hooks=witness.hooks()))


def as_user(name: str, ask: Callable[[], Any]) -> Any:
    """Ask as a user, in a separate context."""

    def call() -> Any:
        user.set(name)
        return ask()

    return contextvars.copy_context().run(call)


@pytest.mark.parametrize("where", ["sync_tool", "async_tool"])
def test_the_askers_context_variables_reach_tools_and_hooks_of_the_turn(
    watched: AgentRef, witness: Witness, where: str
) -> None:
    as_user("ann", lambda: watched.ask(Chat(where), timeout=PATIENCE))
    as_user("bob", lambda: watched.stream(Chat(where)).result(PATIENCE))
    watched.ask(Chat(where), timeout=PATIENCE)
    as_user("cyd", lambda: watched.ask(Send(where), timeout=PATIENCE))
    watched.ask(Chat("at the end"), timeout=PATIENCE)

    assert witness.of(where.replace("_", " ")) == ["ann", "bob", "nobody", "cyd"]
    assert witness.of("hook") == ["ann", "bob", "nobody", "cyd"]


def test_the_askers_context_variables_reach_the_members_of_a_pool(
    supervisor: SupervisorRef, model: ScriptedModel, witness: Witness
) -> None:
    pool = supervisor.create_pool(model.openai_config(tools=[witness.sync_tool]), 2)

    as_user("ann", lambda: pool.ask(Chat("sync_tool"), timeout=PATIENCE))
    as_user("bob", lambda: pool.ask(Chat("sync_tool"), timeout=PATIENCE))

    assert witness.of("sync tool") == ["ann", "bob"]


def test_the_askers_context_variables_reach_a_turn_retried_after_a_crash(
    model: ScriptedModel, watched: AgentRef, witness: Witness
) -> None:
    model.then(silence(""))
    future = as_user("ann", lambda: watched.ask(Chat("sync_tool"), block=False))
    model.wait_for_requests(1)

    kill_harness(watched)

    assert future.get(timeout=PATIENCE).attempts == 2
    assert witness.of("sync tool") == ["ann"]
