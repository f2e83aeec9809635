"""Turns that wait for other turns, or for people, progress if the number of turns is limited."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.hooks import policy, pre_turn
from google.antigravity.types import HookResult

from agy_actors import (
    Chat,
    ConfirmationAsked,
    confirmations,
)
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.agents.held_turns import Held, agents, has_result
from tests.agents.test_as_tool import relay
from tests.harnesses import PATIENCE, until
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef, SupervisorRef


def in_a_thread_of_its_own(work: Callable[[], str]) -> str:
    """Run something in a context from which its waiting turn is unknown."""
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def make_tools(expert: Any) -> dict[str, Callable[..., Any]]:
    """Return tools that ask an agent or a pool, each in a different way."""

    def blocking() -> str:
        """Ask the expert."""
        return str(expert.ask(Chat("nested"), timeout=PATIENCE).text)

    def thread() -> str:
        """Ask the expert."""
        return in_a_thread_of_its_own(blocking)

    async def awaited() -> str:
        """Ask the expert."""
        return str((await expert.ask(Chat("nested"), block=False)).text)

    def streamed() -> str:
        """Ask the expert."""
        return "".join(expert.stream(Chat("nested")))

    def many() -> str:
        """Ask the expert."""
        turns = [expert.ask(Chat("nested"), block=False) for _ in range(5)]
        return str({turn.get(timeout=PATIENCE).text for turn in turns}.pop())

    async def held_up() -> str:
        """Ask the expert, and hold the agent's own thread up."""
        return blocking()

    return {tool.__name__: tool for tool in (blocking, thread, awaited, streamed, many, held_up)}


@pytest.mark.filterwarnings("ignore::agy_actors.BlockingCallWarning")  # Of the tool `held_up`.
@pytest.mark.parametrize("kind", ["agent", pytest.param("pool", marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", quick(make_tools(None), 0, 2, 4, 5))
def test_a_turn_whose_tool_asks_another_agent_continues(
    one: SupervisorRef, model: ScriptedModel, way: str, kind: str
) -> None:
    expert: Any = (
        one.create_agent(model.openai_config(), "expert")
        if kind == "agent"
        else one.create_pool(model.openai_config(), 2, "expert")
    )
    tool = make_tools(expert)[way]
    model.when(lambda r: r.prompt == "go" and not has_result(r), call_tool(way))
    model.when(has_result, say(lambda request: f"I heard: {request.tool_results[-1].output}"))
    askers = [
        one.create_agent(model.openai_config(tools=[tool]), f"asker-{number}")
        for number in range(3)
    ]

    turns = [asker.ask(Chat("go", timeout=PATIENCE), block=False) for asker in askers]

    for turn in turns:
        assert "echo: nested" in turn.get(timeout=PATIENCE).text
    until(lambda: one.load().running == 0)


def test_a_chain_of_agents_that_are_tools_continues(
    one: SupervisorRef, model: ScriptedModel
) -> None:
    relay(model, "abcd")
    ref: AgentRef | None = None
    for name in "dcba":
        tools = [] if ref is None else [ref.as_tool(ref.name, "Ask the next.")]
        config = model.openai_config(tools=tools, system_instructions=f"You are agent {name}.")
        ref = one.create_agent(config, name)
    assert ref is not None

    reply = ref.ask(Chat("go"), timeout=PATIENCE)

    assert reply.text.count("I heard: ") == 3


def test_a_turn_whose_hook_asks_another_agent_continues(
    one: SupervisorRef, model: ScriptedModel
) -> None:
    judge = one.create_agent(model.openai_config(), "judge")
    asked: list[str] = []

    async def ask_the_judge(_: Any) -> HookResult:
        asked.append(await asyncio.to_thread(in_a_thread_of_its_own, lambda: verdict(judge)))
        return HookResult(allow=True)

    hook = pre_turn(ask_the_judge)
    agent = one.create_agent(model.openai_config(hooks=[hook]), "agent")

    assert agent.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"
    assert asked == ["echo: may it?"]


def verdict(judge: AgentRef) -> str:
    return judge.ask(Chat("may it?"), timeout=PATIENCE).text


def test_a_turn_that_waits_for_a_person_does_not_prevent_others_from_running(
    one: SupervisorRef, model: ScriptedModel
) -> None:
    asked: queue.Queue[Any] = queue.Queue()
    one.subscribe(lambda e: asked.put(e) if isinstance(e, ConfirmationAsked) else None)

    def pay() -> str:
        """Pay."""
        return "paid"

    model.when("^go", call_tool("pay"), times=1)
    model.when(has_result, say("done"))
    rule = policy.ask_user("pay", handler=confirmations(timeout=PATIENCE))
    agent = one.create_agent(model.openai_config(tools=[pay], policies=[rule]), "agent")
    other = one.create_agent(model.openai_config(), "other")
    waits = agent.ask(Chat("go", timeout=60.0), block=False)
    event = asked.get(timeout=PATIENCE)

    assert other.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"

    assert not waits.done()
    event.reply.set(True)
    assert waits.get(timeout=PATIENCE).text == "done"


def test_a_turn_that_lends_its_slot_gets_it_again(
    one: SupervisorRef, model: ScriptedModel, held_turns: Held
) -> None:
    release = threading.Event()

    def wait() -> str:
        """Wait."""
        release.wait(PATIENCE)
        return "waited"

    model.when("^go", call_tool("wait"), times=1)
    model.when(has_result, say("hold", gate=held_turns.gate))
    agent = one.create_agent(model.openai_config(tools=[wait]), "agent")
    other, third = agents(one, model, 2)
    turn = agent.ask(Chat("go"), block=False)
    assert other.ask(Chat("meanwhile"), timeout=PATIENCE).text == "echo: meanwhile"

    release.set()
    until(lambda: any(has_result(request) for request in model.requests))
    waiting = third.ask(Chat("afterwards"), block=False)

    until(lambda: one.load().waiting == 1)
    held_turns.let_go()
    assert turn.get(timeout=PATIENCE).text == "hold"
    assert waiting.get(timeout=PATIENCE).text == "echo: afterwards"
