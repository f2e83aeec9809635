"""Agents that delegate: to subagents of the SDK, and to agents of the same supervisor."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from google.antigravity import CapabilitiesConfig
from google.antigravity.types import (
    BuiltinTools,
    CustomSystemInstructions,
    Step,
    StepSource,
    StepStatus,
    StepTarget,
    StepType,
    SubagentCapabilities,
    SubagentConfig,
)

from agy_actors import (
    Chat,
    CreateAgent,
    GetHistory,
    GetLastResponse,
    GetTotalUsage,
    IsIdle,
    ShutdownAgent,
    Supervisor,
)
from agy_actors._agents.turn import Turn
from agy_actors.testing import ScriptedModel, Usage, call_tool, say
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import SupervisorRef
    from agy_actors.testing import ModelRequest

DELEGATES = CapabilitiesConfig(enabled_tools=[BuiltinTools.INVOKE_SUBAGENT])
ASK_TRANSLATOR = call_tool(
    "invoke_subagent",
    {"Subagents": [{"TypeName": "translator", "Role": "Translator", "Prompt": "hello in French"}]},
)


def translator() -> SubagentConfig:
    return SubagentConfig(
        name="translator",
        description="Knows French.",
        system_instructions=CustomSystemInstructions(text="You translate."),
        capabilities=SubagentCapabilities(enabled_tools=[]),
        tools=[dictionary],
        model="small",
    )


def dictionary(word: str) -> str:
    """Look a word up."""
    return f"{word}: bonjour"


def is_subagents(request: ModelRequest) -> bool:
    return "You translate." in request.system


def last_output(model: ScriptedModel) -> str:
    return model.requests[-1].tool_results[-1].output


def wait_for(subagent: threading.Event) -> Callable[[ModelRequest], str]:
    """Let the subagent end from now on, so that it ends after its agent's text."""

    def wait(_: ModelRequest) -> str:
        subagent.set()
        return "Wait. "

    return wait


def heard(text: str) -> Callable[[ModelRequest], bool]:
    """Recognise a request of the agent after its subagent's report."""
    return lambda request: not is_subagents(request) and text in request.messages[-1][1]


@pytest.mark.parametrize("protocol", quick(["openai", "gemini"], 0))
def test_a_subagent_does_its_part_of_a_turn_and_the_agent_continues_with_its_answer(
    model: ScriptedModel, supervisor: SupervisorRef, protocol: str
) -> None:
    configure = model.openai_config if protocol == "openai" else model.gemini_config
    agent = supervisor.create_agent(configure(subagents=[translator()], capabilities=DELEGATES))
    end = threading.Event()
    its, own = Usage(prompt=100, completion=10), Usage(prompt=1000, completion=1)
    model.when(
        is_subagents,
        replace(call_tool("dictionary", {"word": "hello"}), usage=its),
        say("It is bonjour.", usage=its, gate=end, gate_after=0),
    )
    model.when(heard("Created the following subagents"), say(wait_for(end), usage=own))
    model.when(heard("It is bonjour."), say("The word is bonjour.", usage=own))
    model.when("hello", replace(ASK_TRANSLATOR, usage=own))

    reply = agent.ask(Chat("What is hello in French?"))

    assert reply.text.startswith("Wait. The word is bonjour.")
    assert "It is bonjour." not in reply.text
    assert [call.name for call in reply.tool_calls] == ["invoke_subagent", "dictionary"]
    asked, told = [request for request in model.requests if is_subagents(request)]
    assert "hello in French" in asked.messages[-1][1]
    assert "hello: bonjour" in told.tool_results[-1].output
    assert {request.model for request in (asked, told)} == {"small"}
    assert "dictionary" in asked.tools
    assert "dictionary" not in model.requests[0].tools
    assert reply.usage == agent.ask(GetTotalUsage())
    assert reply.usage is not None
    requests = len(model.requests)
    assert reply.usage.total_token_count == (requests - 2) * 1001 + 2 * 110  # Including its part.
    assert agent.ask(IsIdle()) is True


def test_the_history_distinguishes_a_subagents_steps_from_the_agents(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    config = model.openai_config(subagents=[translator()], capabilities=DELEGATES)
    agent = supervisor.create_agent(config)
    end = threading.Event()
    model.when(is_subagents, say("It is bonjour.", gate=end, gate_after=0))
    model.when(heard("Created the following subagents"), say(wait_for(end)))
    model.when(heard("It is bonjour."), say("done"))
    model.when("hello", ASK_TRANSLATOR)

    agent.ask(Chat("What is hello in French?"))

    responses = [step for step in agent.ask(GetHistory()) if step.is_complete_response]
    assert {step.content for step in responses if step.parent_trajectory_id} == {"It is bonjour."}
    assert {s.content for s in responses if not s.parent_trajectory_id} == {"Wait. ", "done"}
    assert agent.ask(GetLastResponse()) == "done"


def test_a_subagents_words_are_a_sign_of_life_in_its_agents_turn_and_nothing_else() -> None:
    turn = Turn()
    for word in ("It ", "is ", "bonjour."):
        step = Step(
            type=StepType.TEXT_RESPONSE,
            source=StepSource.MODEL,
            target=StepTarget.USER,
            status=StepStatus.ACTIVE,
            content_delta=word,
            parent_trajectory_id="its agent's",
        )
        assert list(turn.observe(step)) == []

    assert (turn.text, turn.thoughts, turn.empty_steps) == ("", "", 0)


def test_an_agent_may_invoke_only_the_subagents_that_it_is_allowed(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    other = SubagentConfig(name="other", description="Another.")
    allowed = CapabilitiesConfig(
        enabled_tools=[BuiltinTools.INVOKE_SUBAGENT], allowed_subagents=["other"]
    )
    config = model.openai_config(subagents=[translator(), other], capabilities=allowed)
    agent = supervisor.create_agent(config)
    model.then(ASK_TRANSLATOR, say("I may not."))

    assert agent.ask(Chat("What is hello in French?")).text == "I may not."

    assert 'subagent "translator" not found or not allowed' in last_output(model)
    assert not any(is_subagents(request) for request in model.requests)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_agents_tool_asks_an_agent_that_it_creates_under_the_same_supervisor_and_ends_it(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    def delegate(task: str) -> str:
        """Have somebody else do a task."""
        child = supervisor.create_agent(model.openai_config(), "child")
        try:
            return child.ask(Chat(task)).text
        finally:
            supervisor.shutdown_agent(child)

    async def delegate_async(task: str) -> str:
        """Have somebody else do a task."""
        child = await supervisor.ask(CreateAgent(model.openai_config(), "child"), block=False)
        try:
            return (await child.ask(Chat(task), block=False)).text
        finally:
            await supervisor.ask(ShutdownAgent(child), block=False)

    tool = delegate if kind == "sync" else delegate_async
    boss = supervisor.create_agent(model.openai_config(tools=[tool]), "boss")
    model.then(call_tool(tool.__name__, {"task": "dig a hole"}), say("dug"), say("It is done."))

    reply = boss.ask(Chat("I need a hole"))

    assert reply.text == "It is done."
    assert model.requests[1].prompt == "dig a hole"
    assert '"dug"' in last_output(model)
    assert supervisor.children() == {"boss": boss}


def test_the_agents_that_an_agents_tool_leaves_behind_end_with_their_supervisor(
    model: ScriptedModel,
) -> None:
    with Supervisor.start() as supervisor:

        def hire(name: str) -> str:
            """Hire somebody for good."""
            return supervisor.create_agent(model.openai_config(), name).name

        boss = supervisor.create_agent(model.openai_config(tools=[hire]), "boss")
        model.then(call_tool("hire", {"name": "ann"}), say("hired"))
        boss.ask(Chat("Hire ann"))
        ann = supervisor.children()["ann"]
        assert ann.ask(Chat("hi")).text == "echo: hi"
        supervisor.shutdown_agent(boss)
        assert ann.ask(Chat("again")).text == "echo: again"

    assert not ann.is_alive()
