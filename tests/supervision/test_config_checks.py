"""Configurations that cannot be used are refused before a process is started."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import types as sdk
from google.antigravity.hooks import policy
from google.antigravity.tools.tool_runner import ToolWithSchema
from pydantic import BaseModel, Field

from agy_actors import AgentEvent, Chat, InvalidConfig, Supervisor
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import Event, SupervisorRef
    from agy_actors.testing import ScriptedModel

LONE = "caf\ud800e"


def tool(name: str = "tool", description: str = "Does something.") -> Any:
    def function(text: str) -> str:
        return text

    function.__name__, function.__doc__ = name, description
    return function


class Answer(BaseModel):
    text: str = Field(description=LONE)


PLAIN = {"type": "object", "properties": {"text": {"type": "string"}}}
DESCRIBED = {"type": "object", "properties": {"text": {"type": "string", "description": LONE}}}

TEXTS: dict[str, tuple[dict[str, Any], str]] = {
    "instructions": ({"system_instructions": LONE}, "system_instructions"),
    "custom instructions": (
        {"system_instructions": sdk.CustomSystemInstructions(text=LONE)},
        r"system_instructions\.text",
    ),
    "a section": (
        {
            "system_instructions": sdk.TemplatedSystemInstructions(
                sections=[sdk.SystemInstructionSection(content=LONE)]
            )
        },
        r"system_instructions\.sections\[0\]\.content",
    ),
    "a tool's name": ({"tools": [tool(name="a\ud800bc")]}, "the name of a tool in tools"),
    "a tool that is a name": ({"tools": [LONE]}, "the name of a tool in tools"),
    "a tool's description": ({"tools": [tool(description=LONE)]}, "description of tool 'tool'"),
    "a tool's argument": (
        {"tools": [tool(description=f"Does.\n\nArgs:\n    text: {LONE}")]},
        "description of tool 'tool'",
    ),
    "a tool's schema": (
        {"tools": [ToolWithSchema(tool(), DESCRIBED)]},
        r"schema of tool 'tool' in tools\['properties'\]\['text'\]\['description'\]",
    ),
    "a schema's description": ({"response_schema": DESCRIBED}, "response_schema"),
    "a schema's key": (
        {"response_schema": {**PLAIN, "properties": {LONE: {}}}},
        r"a key of response_schema\['properties'\]",
    ),
    "a schema as text": (
        {"response_schema": json.dumps(DESCRIBED, ensure_ascii=False)},
        "response_schema",
    ),
    "an escape in a schema": ({"response_schema": json.dumps(DESCRIBED)}, "response_schema"),
    "a model": ({"response_schema": Answer}, "response_schema"),
    "a variable": ({"env": {"A": LONE}}, r"env\['A'\]"),
    "a variable's name": ({"env": {LONE: "a"}}, "a key of env"),
    "a skill": (
        {"inline_skills": [sdk.InlineSkill(name="a", description=LONE, content="b")]},
        r"inline_skills\[0\]\.description",
    ),
    "a subagent": (
        {"subagents": [sdk.SubagentConfig(name="a", description=LONE)]},
        r"subagents\[0\]\.description",
    ),
    "a subagent's tool": (
        {
            "subagents": [
                sdk.SubagentConfig(name="a", description="b", tools=[tool(description=LONE)])
            ]
        },
        r"description of tool 'tool' in subagents\[0\]\.tools",
    ),
    "a server's command": (
        {"mcp_servers": [sdk.McpStdioServer(name="a", command=LONE)]},
        r"mcp_servers\[0\]\.command",
    ),
    "a server's variable": (
        {"mcp_servers": [sdk.McpStdioServer(name="a", command="b", env={"A": LONE})]},
        r"mcp_servers\[0\]\.env\['A'\]",
    ),
    "a server's header": (
        {"mcp_servers": [sdk.McpStreamableHttpServer(name="a", url="b", headers={"A": LONE})]},
        r"mcp_servers\[0\]\.headers\['A'\]",
    ),
    "a policy": ({"policies": [policy.deny(LONE)]}, r"policies\[0\]\.tool"),
    "a model's name": ({"model": LONE}, r"model"),
    "an address": ({"base_url": f"http://127.0.0.1:1/{LONE}"}, "base_url"),
    "a folder": ({"save_dir": f"/tmp/{LONE}"}, "save_dir"),
    "transcripts": ({"app_data_dir": f"/tmp/{LONE}"}, "app_data_dir"),
    "skills": ({"skills_paths": [f"/tmp/{LONE}"]}, r"skills_paths\[0\]"),
    "workspaces": ({"workspaces": ["/tmp", f"/tmp/{LONE}"]}, r"workspaces\[1\]"),
}


def assert_refused(supervisor: SupervisorRef, config: Any, complaint: str) -> str:
    """Assert that neither an agent nor a pool accepts a configuration, and return the error's
    text."""
    events: list[Event] = []
    supervisor.subscribe(
        lambda event: events.append(event) if isinstance(event, AgentEvent) else None
    )
    with pytest.raises(InvalidConfig, match=complaint) as caught:
        supervisor.create_agent(config, "poet", timeout=PATIENCE)
    with pytest.raises(InvalidConfig, match=complaint):
        supervisor.create_pool(config, timeout=PATIENCE)
    assert not supervisor.children()
    assert not supervisor.pools()
    assert not events
    assert "caf" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("place", TEXTS)
def test_a_lone_surrogate_in_a_configuration_is_refused_and_its_place_is_named(
    model: ScriptedModel, supervisor: SupervisorRef, place: str
) -> None:
    changes, complaint = TEXTS[place]
    # A copy is not validated by the SDK.
    config = model.gemini_config().model_copy(update=changes)

    said = assert_refused(supervisor, config, complaint)

    assert "agent 'poet' contains a lone surrogate ('\\ud800' at position" in said


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
@pytest.mark.parametrize("place", ["instructions", "a tool's description", "a model", "a variable"])
def test_a_lone_surrogate_is_refused_in_a_configuration_of_the_sdks(
    model: ScriptedModel, supervisor: SupervisorRef, place: str, protocol: str
) -> None:
    changes, complaint = TEXTS[place]
    configure: Any = model.openai_config if protocol == "openai" else model.gemini_config

    assert_refused(supervisor, configure(**changes), complaint)


def test_an_api_key_that_cannot_be_encoded_is_refused_and_not_quoted(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    config = model.gemini_config(api_key="secret\ud800key")

    said = assert_refused(supervisor, config, r"api_key .*at position 6")

    assert "secret" not in said


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"save_dir": ""}, "save_dir .* must be the path of a folder"),
        ({"save_dir": " "}, "save_dir .* must be the path of a folder"),
        ({"save_dir": "/tmp/a\0b"}, "save_dir .* without NUL"),
        ({"save_dir": __file__}, "save_dir .* is not a folder"),
        ({"save_dir": f"{__file__}/below"}, "save_dir .* cannot be used"),
        ({"save_dir": "/tmp/" + "x" * 5000}, "save_dir .* cannot be used"),
        ({"save_dir": 5}, "save_dir .* must be the path of a folder"),
        ({"app_data_dir": ""}, "app_data_dir .* must be the path of a folder"),
        ({"app_data_dir": "/tmp/a\0b"}, "app_data_dir .* without NUL"),
        ({"app_data_dir": __file__}, "app_data_dir .* is not a folder"),
        ({"workspaces": ["/tmp", " "]}, r"workspaces\[1\] .* must be the path of a folder"),
        ({"workspaces": ["/tmp/a\0b"]}, r"workspaces\[0\] .* without NUL"),
        ({"skills_paths": [""]}, r"skills_paths\[0\] .* must be the path of a folder"),
        ({"skills_paths": ["/tmp/a\0b"]}, r"skills_paths\[0\] .* without NUL"),
        ({"env": {"A": "caf\0"}}, "env .* has a NUL in the value of A"),
        ({"env": {"A\0": "b"}}, "env .* has a name that no environment variable can have"),
        ({"env": {"A=B": "b"}}, "env .* has a name that no environment variable can have"),
        ({"env": {"": "b"}}, "env .* has a name that no environment variable can have"),
        (
            {"mcp_servers": [sdk.McpStdioServer(name="a", command="b", env={"A": "caf\0"})]},
            r"mcp_servers\[0\]\.env .* has a NUL in the value of A",
        ),
    ],
    ids=repr,
)
def test_invalid_paths_and_variables_are_refused(
    model: ScriptedModel, supervisor: SupervisorRef, changes: dict[str, Any], complaint: str
) -> None:
    config = model.openai_config().model_copy(update=changes)

    assert_refused(supervisor, config, complaint)


@pytest.mark.parametrize("target", ["a", "b", "nowhere"])
def test_a_folder_that_is_a_link_to_nothing_is_refused(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path, target: str
) -> None:
    (tmp_path / "a").symlink_to(tmp_path / target)
    (tmp_path / "b").symlink_to(tmp_path / "a")

    for path in (tmp_path / "a", tmp_path / "a" / "below"):
        config = model.openai_config(save_dir=str(path))
        assert_refused(supervisor, config, "save_dir .* cannot be used")


def test_a_state_dir_that_is_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "a")

    with pytest.raises(InvalidConfig, match=r"state_dir .* cannot be used"):
        Supervisor.start(state_dir=tmp_path / "a")


def test_text_in_any_script_reaches_the_model(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path
) -> None:
    text = "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve \N{CLOUD WITH RAIN}"
    nested: dict[str, Any] = {"type": "object"}
    for _ in range(50):
        nested = {"type": "object", "properties": {text: nested}}
    config = model.openai_config(
        system_instructions=text,
        tools=[tool(description=text), ToolWithSchema(tool("other"), nested)],
        env={"A": text},
        save_dir=str(tmp_path / text),
    )

    agent = supervisor.create_agent(config)

    assert agent.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    assert text in model.requests[0].system
