"""Workflows: scripts that orchestrate agents, which the SDK runs as a tool."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from google.antigravity import CapabilitiesConfig, workflows
from google.antigravity.types import BuiltinTools

from agy_actors import Chat, GetHistory
from agy_actors.testing import ScriptedModel, call_tool, say

if TYPE_CHECKING:
    from pathlib import Path

    from google.antigravity.types import Step

    from agy_actors import AgentRef, SupervisorRef
    from agy_actors.testing import ModelRequest


@workflows.define
async def measure() -> None:
    """Measure two words."""
    workflows.phase("measuring")
    lengths = await workflows.parallel(
        ["fig", "pear"],
        lambda word: workflows.agent(f"measure {word}", schema={"type": "integer"}),
    )
    workflows.log("in all", lengths)


def workflow_step(agent: AgentRef) -> Step:
    return [step for step in agent.ask(GetHistory()) if step.workflow_progress is not None][-1]


def last_message(request: ModelRequest) -> str:
    return request.messages[-1][1]


@pytest.fixture
def agent(model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path) -> AgentRef:
    capabilities = CapabilitiesConfig(enabled_tools=[BuiltinTools.RUN_WORKFLOW])
    config = model.openai_config(capabilities=capabilities, workspaces=[str(tmp_path)])
    return supervisor.create_agent(config, "agent")


@pytest.mark.parametrize("by", ["source", "path"])
def test_a_workflows_agents_work_and_its_output_goes_to_the_model_and_into_the_history(
    model: ScriptedModel, agent: AgentRef, tmp_path: Path, by: str
) -> None:
    path = tmp_path / "measure.py"
    path.write_text(measure.source)
    args = {"Script": measure.source} if by == "source" else {"ScriptPath": str(path)}
    end = threading.Event()

    def wait(_: ModelRequest) -> str:
        end.set()
        return "Wait. "

    for word, length in (("fig", 3), ("pear", 4)):
        finish = call_tool("finish", {"result": length})
        model.when(f"measure {word}", replace(finish, gate=end, gate_after=0))
    model.when(lambda request: "background task" in last_message(request), say(wait))
    model.when(lambda request: "completed" in last_message(request), say("Seven in all."))
    model.when(
        lambda request: request.messages[-1][0] == "user",
        call_tool("run_workflow", {"Description": "words", **args}),
    )

    # As the SDK's own `agent.beta.run_workflow` asks.
    reply = agent.ask(Chat(f"Run the workflow script at `{path}` using the `run_workflow` tool."))

    assert reply.text.startswith("Wait. Seven in all.")
    assert "Finished" not in reply.text  # It comes from its agents, like their texts.
    assert reply.structured_output is None
    assert reply.tool_calls[0].name == BuiltinTools.RUN_WORKFLOW.value
    progress = workflow_step(agent).workflow_progress
    assert progress is not None
    assert "in all [3, 4]" in progress.output
    assert progress.description == "words"
    assert (progress.script_path, progress.script) == (
        ("", measure.source) if by == "source" else (str(path), "")
    )
    assert "in all [3, 4]" in model.requests[-1].messages[-1][1]
    assert {request.prompt.partition("\n")[0] for request in model.requests} >= {
        "measure fig",
        "measure pear",
    }


def test_the_model_gets_the_error_of_a_workflow_and_the_turn_continues(
    model: ScriptedModel, agent: AgentRef
) -> None:
    model.when(lambda request: "division" in last_message(request), say("It broke."))
    model.when(
        lambda request: request.messages[-1][0] == "user",
        call_tool("run_workflow", {"Description": "broken", "Script": "log(1 // 0)"}),
    )

    reply = agent.ask(Chat("Run it"))

    assert reply.text.endswith("It broke.")
    assert "division" in workflow_step(agent).error
    assert agent.ask(Chat("hi")).text
