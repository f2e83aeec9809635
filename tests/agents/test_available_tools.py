"""The tools that an agent lists; `tests/sdk/test_mcp.py` tests those of MCP servers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import CapabilitiesConfig, ToolContext
from google.antigravity.tools.tool_runner import ToolWithSchema
from google.antigravity.types import BuiltinTools, SubagentConfig

from agy_actors import AvailableTools, Chat, ToolInfo
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE, SOON

if TYPE_CHECKING:
    from agy_actors import AgentRef, SupervisorRef

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"x": {"type": "integer"}}}


def listed(agent: AgentRef, source: str) -> dict[str, ToolInfo]:
    tools = agent.ask(AvailableTools(), timeout=SOON)
    return {tool.name: tool for tool in tools if tool.source == source}


def declarations(model: ScriptedModel) -> dict[str, dict[str, Any]]:
    """Return the declarations that the model received."""
    functions = [tool["function"] for tool in model.requests[-1].body.get("tools", ())]
    return {function["name"]: function for function in functions}


class Oracle:
    """Tells the future."""

    def __call__(self, days: int) -> str:
        return f"in {days} days"

    # The SDK does not read annotations of objects that are strings, as all are here.
    __call__.__annotations__.update({"days": int, "return": str})


async def weather(city: str, context: ToolContext, days: int = 1) -> str:
    """Tell the weather.

    Of any city.
    """
    return f"{city} {days}"


def test_custom_tools_are_listed_with_the_declarations_that_the_model_gets(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    add = ToolWithSchema(lambda **numbers: numbers["x"] + 1, SCHEMA)
    add.__name__, add.__doc__ = "add", "Add one."
    agent = supervisor.create_agent(model.openai_config(tools=[weather, Oracle(), add]))

    agent.ask(Chat("hi"))

    tools = listed(agent, "custom")
    assert tools.keys() == {"weather", "Oracle", "add"}
    told = declarations(model)
    for name, tool in tools.items():
        assert tool.description == told[name]["description"].strip()
        assert tool.input_schema == told[name]["parameters"]
    schema = tools["weather"].input_schema
    assert schema is not None
    # The context is not an argument for the model.
    assert schema["properties"].keys() == {"city", "days"}
    assert tools["add"].input_schema == SCHEMA


def test_a_subagents_tool_is_listed_only_if_the_agent_names_it(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    helper = SubagentConfig(name="helper", description="Helps.", tools=[weather, Oracle()])
    agent = supervisor.create_agent(model.openai_config(tools=["weather"], subagents=[helper]))

    tools = listed(agent, "custom")

    assert tools.keys() == {"weather"}
    assert tools["weather"].description.startswith("Tell the weather.")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (CapabilitiesConfig(enabled_tools=[]), set[BuiltinTools]()),
        (
            CapabilitiesConfig(enabled_tools=[BuiltinTools.VIEW_FILE, BuiltinTools.FINISH]),
            {BuiltinTools.VIEW_FILE},
        ),
        (
            CapabilitiesConfig(),
            {*BuiltinTools.default()} - {BuiltinTools.FINISH},
        ),
        (
            CapabilitiesConfig(disabled_tools=[BuiltinTools.SCHEDULE], enable_subagents=False),
            {*BuiltinTools.default()}
            - {BuiltinTools.FINISH, BuiltinTools.SCHEDULE}
            - {BuiltinTools.INVOKE_SUBAGENT, BuiltinTools.RUN_WORKFLOW},
        ),
    ],
)
def test_builtin_tools_are_those_of_the_capabilities_with_the_sdks_descriptions(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    capabilities: CapabilitiesConfig,
    expected: set[BuiltinTools],
) -> None:
    agent = supervisor.create_agent(model.openai_config(capabilities=capabilities))

    tools = listed(agent, "builtin")

    assert tools.keys() == {tool.value for tool in expected}
    assert all(tool.description and tool.input_schema is None for tool in tools.values())
    agent.ask(Chat("hi"))
    told = declarations(model)
    for name in ("view_file", "run_workflow", "invoke_subagent", "schedule", "finish"):
        assert (name in told) == (name in tools)  # The tools that the model knows by this name.


def test_the_finish_tool_is_listed_with_the_schema_of_the_answer(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.openai_config(response_schema=SCHEMA))
    model.then(call_tool("finish", {"x": 1}))

    agent.ask(Chat("hi"))

    assert listed(agent, "builtin")["finish"].input_schema == SCHEMA
    assert declarations(model)["finish"]["parameters"]["properties"] == SCHEMA["properties"]


def test_tools_are_listed_during_a_turn_and_each_asker_gets_its_own_list(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    gate = threading.Event()
    model.then(say("one two", gate=gate))
    agent = supervisor.create_agent(model.openai_config(tools=[weather]))
    turn = agent.ask(Chat("hi"), block=False)
    model.wait_for_requests(1)

    before = listed(agent, "custom")["weather"]
    assert before.input_schema is not None
    before.input_schema.clear()
    after = listed(agent, "custom")["weather"]

    assert after.input_schema
    assert hash(after) == hash(before)
    assert not turn.done()
    gate.set()
    turn.get(timeout=PATIENCE)
