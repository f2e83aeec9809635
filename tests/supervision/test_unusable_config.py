"""Errors of a configuration are found before anything starts, and name the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import (
    BuiltinTools,
    CapabilitiesConfig,
    LocalAgentConfig,
    LocalOpenAIAgentConfig,
)
from google.antigravity.hooks import policy
from google.antigravity.types import (
    GeminiAPIEndpoint,
    McpStreamableHttpServer,
    ModelTarget,
)

from agy_actors import (
    AgentStartError,
    Chat,
    InvalidConfig,
    UnusableConfig,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from google.antigravity import AgentConfig

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

SECRET = "a-token-of-this-test-4711"


def same(number: int) -> int:
    """Return a number."""
    return number


def also_same(number: int) -> int:
    """Return a number, too."""
    return number


also_same.__name__ = same.__name__


def unknown(number: Nowhere) -> int:  # type: ignore[name-defined] # noqa: F821 # as a user may
    """Return a number."""
    return int(number)


def schema(part: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"title": "A", "type": "object", "properties": {"x": part}, **others}


BROKEN: dict[str, tuple[Callable[[ScriptedModel, Path], AgentConfig], str]] = {
    "missing key": (lambda *_: LocalAgentConfig(), "A Gemini API key is required"),
    "missing project": (lambda *_: LocalAgentConfig(vertex=True), "For Vertex AI"),
    "duplicate tools": (
        lambda model, _: model.openai_config(tools=[same, also_same]),
        "Duplicate custom tool name 'same'",
    ),
    "tool of an unknown type": (
        lambda model, _: model.openai_config(tools=[unknown]),
        "tool 'unknown': name 'Nowhere' is not defined",
    ),
    "no policy": (
        lambda model, _: model.openai_config(
            policies=[], capabilities=CapabilitiesConfig(enabled_tools=[BuiltinTools.RUN_COMMAND])
        ),
        "without a safety policy",
    ),
    "two automatic policies": (
        lambda model, _: model.openai_config(policies=[policy.auto(), policy.auto()]),
        "Multiple AutoPolicy rules",
    ),
    "no address": (lambda *_: LocalOpenAIAgentConfig(base_url="", model="m"), "base_url"),
    "bad address": (
        lambda *_: LocalOpenAIAgentConfig(base_url="not a url", model="m"),
        "base_url must be the address of a model's service.* got 'not a url'",
    ),
    "address of another protocol": (
        lambda *_: LocalOpenAIAgentConfig(base_url="ftp://x/", model="m"),
        "base_url .* got 'ftp://x/'",
    ),
    "bad port": (
        lambda *_: LocalOpenAIAgentConfig(base_url="http://x:99999/", model="m"),
        "base_url .* got 'http://x:99999/'",
    ),
    "bad address of an endpoint": (
        lambda *_: LocalAgentConfig(
            model=ModelTarget(
                name="m", endpoint=GeminiAPIEndpoint(base_url="localhost:1", api_key=SECRET)
            ),
            api_key=SECRET,
        ),
        r"models\[0\].endpoint.base_url .* got 'localhost:1'",
    ),
    "bad address of a server": (
        lambda model, _: model.openai_config(
            mcp_servers=[McpStreamableHttpServer(name="shop", url="not a url")],
            policies=[policy.allow_all()],
        ),
        "the url of its MCP server 'shop'",
    ),
    "missing skills": (
        lambda model, folder: model.openai_config(skills_paths=[str(folder / "none")]),
        "/none of its skills_paths does not exist",
    ),
    "workspace that is a file": (
        lambda model, folder: model.openai_config(workspaces=[str(folder / "file")]),
        "its workspace .*/file is not a folder",
    ),
    "missing program": (
        lambda model, _: model.openai_config(env={"ANTIGRAVITY_HARNESS_PATH": "/no/such/file"}),
        "/no/such/file does not exist",
    ),
    "program that cannot be run": (
        lambda model, folder: model.openai_config(
            env={"ANTIGRAVITY_HARNESS_PATH": str(folder / "file")}
        ),
        "/file cannot be run",
    ),
    "dangling reference": (
        lambda model, _: model.openai_config(response_schema=schema({"$ref": "#/$defs/Nope"})),
        r"response_schema for agent 'ann': \$.properties.x.\$ref: '#/\$defs/Nope' leads nowhere",
    ),
    "reference to elsewhere": (
        lambda model, _: model.openai_config(response_schema=schema({"$ref": "http://x/y.json"})),
        "'http://x/y.json' leads nowhere",
    ),
    "unknown dialect": (
        lambda model, _: model.openai_config(
            response_schema=schema({}, **{"$schema": "http://x/y"})
        ),
        "'http://x/y' is not a known dialect",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_agent_cannot_start_as_configured(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    for variable in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "file").touch(mode=0o600)
    make, said = BROKEN[kind]

    with pytest.raises(InvalidConfig, match=said) as caught:
        supervisor.create_agent(make(model, tmp_path), "ann")

    assert not caught.value.retryable
    assert "agent 'ann'" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert supervisor.children() == {}


def test_the_sdks_error_about_a_configuration_is_also_a_start_error(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    with pytest.raises(AgentStartError, match="Duplicate") as caught:
        supervisor.create_agent(model.openai_config(tools=[same, also_same]))

    assert isinstance(caught.value, UnusableConfig)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_workspace_that_does_not_exist_is_made(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path
) -> None:
    config = model.openai_config(workspaces=[str(tmp_path / "a" / "b")])

    assert supervisor.create_agent(config).ask(Chat("hi")).text == "echo: hi"
    assert (tmp_path / "a" / "b").is_dir()
