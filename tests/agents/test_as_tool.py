"""Agents as tools of other agents."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    Chat,
    DeadlockError,
    InvalidConfig,
    IsIdle,
    Routing,
    TurnTimeout,
)
from agy_actors.testing import ScriptedModel, call_tool, http_error, say, silence
from tests.harnesses import PATIENCE, SOON

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef, SupervisorRef
    from agy_actors.testing import ModelRequest


def relay(model: ScriptedModel, names: str) -> None:
    """Let each agent, named by its system instructions, ask the next one by its tool."""
    for name, tool in zip(names, [*names[1:], names[0]], strict=True):
        model.when(_first_of(name, tool), call_tool(tool, {"prompt": f"for {tool}"}))
    model.when(_has_result, say(_pass_on))


def _first_of(name: str, tool: str) -> Callable[[ModelRequest], bool]:
    def applies(request: ModelRequest) -> bool:
        mine = f"You are agent {name}." in request.system and tool in request.tools
        return mine and request.prompt.startswith(("go", "for")) and not _has_result(request)

    return applies


def _has_result(request: ModelRequest) -> bool:
    return request.messages[-1][0] == "tool"


def _pass_on(request: ModelRequest) -> str:
    return f"I heard: {request.tool_results[-1].output}"


def test_a_chain_of_five_agents_answers(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    relay(model, "abcde")
    ref: AgentRef | None = None
    for name in "edcba":
        tools = [] if ref is None else [ref.as_tool(ref.name, "Ask the next.")]
        config = model.openai_config(tools=tools, system_instructions=f"You are agent {name}.")
        ref = supervisor.create_agent(config, name)
    assert ref is not None

    reply = ref.ask(Chat("go"), timeout=PATIENCE)

    assert reply.text.count("I heard: ") == 4
    assert "echo: for e" in reply.text
    assert [call.name for call in reply.tool_calls] == ["b"]


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_agents_that_are_tools_in_a_circle_end_with_an_error_that_names_it(
    model: ScriptedModel, supervisor: SupervisorRef, names: str
) -> None:
    relay(model, names)
    refs: dict[str, AgentRef] = {}

    def next_of(name: str) -> Callable[[str], Any]:
        async def ask(prompt: str) -> str:
            """Ask the next."""
            return await refs[name].as_tool(name, "Ask the next.")(prompt)

        ask.__name__ = name
        return ask

    for name, tool in zip(names, [*names[1:], names[0]], strict=True):
        config = model.openai_config(
            tools=[next_of(tool)], system_instructions=f"You are agent {name}."
        )
        refs[name] = supervisor.create_agent(config, name)
    circle = " -> ".join([*names, names[0]])

    started = time.monotonic()
    with pytest.raises(DeadlockError, match=rf"\({circle}\)"):
        refs["a"].ask(Chat("go"), timeout=PATIENCE)

    assert time.monotonic() - started < SOON
    for ref in refs.values():
        assert ref.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"


def test_the_model_gets_the_error_of_the_agent_behind_a_tool(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    expert = supervisor.create_agent(model.openai_config(), "expert")
    tool = expert.as_tool("expert", "Knows everything.")
    agent = supervisor.create_agent(model.openai_config(tools=[tool]), "agent")
    model.when("go", call_tool("expert", {"prompt": "for the expert"}), times=1)
    model.when("for the expert", http_error(400, "no such luck"))
    model.when(_has_result, say(_pass_on))

    reply = agent.ask(Chat("go"), timeout=PATIENCE)

    assert "the model's service answered 400 in a turn of agent 'expert'" in reply.text


def test_the_turn_behind_a_tool_ends_with_the_turn_that_called_it(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    expert = supervisor.create_agent(model.openai_config(), "expert")
    tool = expert.as_tool("expert", "Knows everything.")
    agent = supervisor.create_agent(model.openai_config(tools=[tool]), "agent")
    model.when("go", call_tool("expert", {"prompt": "for the expert"}), times=1)
    model.when("for the expert", silence("half "))

    with pytest.raises(TurnTimeout, match="while it waited for expert"):
        agent.ask(Chat("go", timeout=1.5), timeout=PATIENCE)

    assert model.wait_for_disconnect(SOON).prompt == "for the expert"
    assert expert.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"


def test_the_agent_behind_a_tool_may_send_queries_to_its_caller(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    refs: dict[str, AgentRef] = {}

    def look() -> str:
        """Look whether the caller is idle."""
        return f"idle: {refs['agent'].ask(IsIdle(), timeout=PATIENCE)}"

    expert = supervisor.create_agent(model.openai_config(tools=[look]), "expert")
    tool = expert.as_tool("expert", "Knows everything.")
    refs["agent"] = supervisor.create_agent(model.openai_config(tools=[tool]), "agent")
    model.when("go", call_tool("expert", {"prompt": "for the expert"}), times=1)
    model.when("for the expert", call_tool("look"), times=1)
    model.when(_has_result, say(_pass_on))

    assert "idle: False" in refs["agent"].ask(Chat("go"), timeout=PATIENCE).text


def test_a_pool_can_be_a_tool(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2, name="experts")
    tool = pool.as_tool("experts", "Know everything.")
    agent = supervisor.create_agent(model.openai_config(tools=[tool]), "agent")
    model.when("go", call_tool("experts", {"prompt": "hello"}), times=1)
    model.when(_has_result, say(_pass_on))

    assert "echo: hello" in agent.ask(Chat("go"), timeout=PATIENCE).text


def test_a_pool_that_broadcasts_cannot_be_a_tool(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 1, routing=Routing.BROADCAST)

    with pytest.raises(InvalidConfig, match="broadcast"):
        pool.as_tool("pool", "Knows everything.")


@pytest.mark.parametrize(
    ("name", "description", "timeout"),
    [("", "good", None), ("2nd", "good", None), ("a b", "good", None), ("ok", " ", None)],
)
def test_a_tool_needs_a_name_and_a_description_that_a_model_can_use(
    agent: AgentRef, name: str, description: str, timeout: float | None
) -> None:
    with pytest.raises(InvalidConfig, match="name" if name != "ok" else "description"):
        agent.as_tool(name, description, timeout=timeout)
