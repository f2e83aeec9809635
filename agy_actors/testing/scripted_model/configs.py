"""Configurations of agents that use a scripted model."""

from __future__ import annotations

from typing import Any

from google.antigravity import LocalAgentConfig, LocalOpenAIAgentConfig
from google.antigravity import types as sdk
from google.antigravity.hooks import policy

__all__ = ["gemini_config", "openai_config"]


def openai_config(base_url: str, overrides: dict[str, Any]) -> LocalOpenAIAgentConfig:
    """Return a configuration for the OpenAI protocol."""
    settings = {"model": "scripted", "base_url": base_url, **_light(), **overrides}
    return LocalOpenAIAgentConfig(**settings)


def gemini_config(base_url: str, overrides: dict[str, Any]) -> LocalAgentConfig:
    """Return a configuration for the Gemini protocol."""
    settings = {"model": "gemini-scripted", "api_key": "test-key", **_light(), **overrides}
    model = settings["model"]
    if isinstance(model, str):
        model = sdk.ModelTarget(name=model)
    if model is not None and model.endpoint is None:
        # The configuration has no other field for the address, and without an address the agent
        # would call the real service.
        endpoint = sdk.GeminiAPIEndpoint(base_url=base_url, api_key=settings["api_key"])
        model = model.model_copy(update={"endpoint": endpoint})
    settings["model"] = model
    return LocalAgentConfig(**settings)


def _light() -> dict[str, Any]:
    """Return settings for an agent that starts fast and has no builtin tools."""
    return {
        "system_instructions": sdk.CustomSystemInstructions(text="You are a test agent."),
        "capabilities": sdk.CapabilitiesConfig(
            enabled_tools=[],
            enable_subagents=False,
            agent_behavior=sdk.AgentBehavior.MINIMAL,
        ),
        "policies": [policy.allow_all()],
        "workspaces": [],
    }
