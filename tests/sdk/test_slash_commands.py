"""Slash commands in prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import AgentBehavior, CapabilitiesConfig
from google.antigravity.types import BuiltinSlashCommandName, SlashCommand

from agy_actors import Chat
from tests.slow import quick

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

PLAN = SlashCommand(name=BuiltinSlashCommandName.PLAN)


@pytest.mark.parametrize("protocol", quick(["openai", "gemini"], 0))
def test_a_slash_command_reaches_the_model_as_the_user_would_type_it(
    model: ScriptedModel, supervisor: SupervisorRef, protocol: str
) -> None:
    configure = model.openai_config if protocol == "openai" else model.gemini_config
    interactive = CapabilitiesConfig(
        enabled_tools=[], enable_subagents=False, agent_behavior=AgentBehavior.INTERACTIVE
    )
    agent = supervisor.create_agent(configure(capabilities=interactive))
    prompts: list[Any] = [[PLAN, "build a boat"], PLAN]

    for prompt in prompts:
        agent.ask(Chat(prompt))

    assert [request.prompt for request in model.requests] == ["/plan build a boat", "/plan"]
