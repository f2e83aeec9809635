"""Skills: given inline, found in folders, inherited by subagents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import CapabilitiesConfig
from google.antigravity.types import (
    BuiltinTools,
    InlineSkill,
    SubagentCapabilities,
    SubagentConfig,
    SubagentInheritSkillsConfig,
    SubagentNoneSkillsConfig,
    SubagentOverrideSkillsConfig,
)

from agy_actors import Chat
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.slow import quick

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import SupervisorRef
    from agy_actors.testing import ModelRequest

COUNTING = InlineSkill(name="counting", description="How to count.", content="One, two, three.")
ADDING = InlineSkill(name="adding", description="How to add.", content="Count on.")


def write_skill(folder: Path, name: str) -> str:
    """Write a skill into a folder of skills, and return the folder."""
    (folder / name).mkdir(parents=True)
    text = f"---\nname: {name}\ndescription: How to do {name}.\n---\nThrow, then catch.\n"
    (folder / name / "SKILL.md").write_text(text)
    return str(folder)


@pytest.mark.parametrize("protocol", quick(["openai", "gemini"], 0))
def test_an_inline_skill_is_announced_to_the_model_which_looks_it_up(
    model: ScriptedModel, supervisor: SupervisorRef, protocol: str
) -> None:
    configure = model.openai_config if protocol == "openai" else model.gemini_config
    agent = supervisor.create_agent(configure(inline_skills=[COUNTING, ADDING]))
    said = {"toolAction": "Looking", "toolSummary": "Skill"}
    model.then(
        call_tool("lookup_skill", {"skill_name": "counting", **said}),
        call_tool("list_skills", said),
        say("Three."),
    )

    reply = agent.ask(Chat("How many are there?"))

    assert reply.text == "Three."
    assert [call.name for call in reply.tool_calls] == ["skill_lookup", "skill_lookup"]
    first = model.requests[0].system
    assert "How to count." in first
    assert "How to add." in first
    assert COUNTING.content not in first
    looked_up, skills = model.requests[-1].tool_results
    assert COUNTING.content in looked_up.output
    assert "adding" in skills.output


def test_a_skill_in_a_folder_is_announced_to_the_model_which_reads_it(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path
) -> None:
    folder = write_skill(tmp_path / "skills", "juggling")
    config = model.openai_config(
        skills_paths=[folder],
        system_instructions=None,  # Custom instructions replace the ones that announce skills.
        capabilities=CapabilitiesConfig(
            enabled_tools=[BuiltinTools.VIEW_FILE], enable_subagents=False
        ),
    )
    agent = supervisor.create_agent(config)
    path = f"{folder}/juggling/SKILL.md"
    model.then(call_tool("view_file", {"AbsolutePath": path}), say("I can juggle."))

    reply = agent.ask(Chat("Can you juggle?"))

    assert reply.text == "I can juggle."
    assert f"juggling ({path}): How to do juggling." in model.requests[0].system
    assert "Throw, then catch." in model.requests[-1].tool_results[-1].output


@pytest.mark.parametrize("skills", ["inherited", "some", "none", "its own"])
def test_a_subagent_has_the_skills_that_its_configuration_says(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path, skills: str
) -> None:
    mine = write_skill(tmp_path / "mine", "juggling")
    write_skill(tmp_path / "mine", "cooking")
    its = write_skill(tmp_path / "its", "singing")
    config: Any
    config, expected = {
        "inherited": (None, {"juggling", "cooking"}),
        "some": (SubagentInheritSkillsConfig(skill_names=["cooking"]), {"cooking"}),
        "none": (SubagentNoneSkillsConfig(), set()),
        "its own": (SubagentOverrideSkillsConfig(skills_paths=[its]), {"singing"}),
    }[skills]
    helper = SubagentConfig(
        name="helper",
        description="Helps.",
        system_instructions="You help.",
        capabilities=SubagentCapabilities(enabled_tools=[]),
        skills_config=config,
    )
    agent = supervisor.create_agent(
        model.openai_config(
            subagents=[helper],
            skills_paths=[mine],
            capabilities=CapabilitiesConfig(enabled_tools=[BuiltinTools.INVOKE_SUBAGENT]),
        )
    )

    def is_helpers(request: ModelRequest) -> bool:
        return "You help." in request.system

    work = [{"TypeName": "helper", "Role": "Helper", "Prompt": "help"}]
    model.when(is_helpers, say("helped"))
    model.when(
        lambda request: request.messages[-1][0] == "user" and "helped" not in str(request.body),
        call_tool("invoke_subagent", {"Subagents": work}),
    )

    agent.ask(Chat("Get help"))

    asked = next(request for request in model.requests if is_helpers(request))
    every = {"juggling", "cooking", "singing"}
    assert {skill for skill in every if f"How to do {skill}." in asked.system} == expected
