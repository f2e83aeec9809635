"""The tools that an agent's model is offered, as far as they can be known.

What is known, and from where:

*   Custom tools: from the configuration, with the declarations that the SDK makes of them
    for the model.
*   Builtin tools: from the capabilities, with what the SDK says of each. Their input
    schemas are the harness's own, which it tells to nobody but the model; but that of
    `finish` is the configuration's `response_schema`.
*   MCP tools: from the harness, which leaves each one's declaration in the conversation's
    folder, for the model to read, when it connects to the servers: in the first turn.
    So no second connection is made to any server, and nothing is guessed before.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.antigravity.connections.connection import resolve_active_tools
from google.antigravity.connections.local.interactions_config_converter import (
    callable_to_function_tool_dict,
)
from google.antigravity.tools.tool_runner import ToolRunner
from google.antigravity.types import BuiltinTools

from agy_actors._agent._replies import ToolInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.antigravity import AgentConfig
    from google.antigravity.types import McpServerConfig

__all__ = ["available_tools"]

_APP_DATA = "~/.gemini/antigravity"
"""The SDK's default for `app_data_dir`."""

_OF_SUBAGENTS = {BuiltinTools.INVOKE_SUBAGENT, BuiltinTools.RUN_WORKFLOW}

_SAID_OF = dict(re.findall(r"(?m)^ *([A-Z_]+): (.+)$", inspect.getdoc(BuiltinTools) or ""))
"""What the SDK says of each of its builtin tools: the only place where it does."""


def available_tools(config: AgentConfig, conversation_id: str) -> list[ToolInfo]:
    """List an agent's tools: custom ones, then those of MCP servers, then builtin ones.

    It reads files, so call it off the loop.

    Args:
        config: the agent's.
        conversation_id: the agent's conversation, where MCP tools are found.
    """
    return [
        *_custom(config),
        *_mcp(config, conversation_id),
        *sorted(_builtin(config), key=lambda tool: tool.name),
    ]


def _custom(config: AgentConfig) -> Iterator[ToolInfo]:
    # A subagent's tool may be the agent's too, by its name.
    everywhere = [*config.tools, *(tool for sub in config.subagents for tool in sub.tools or ())]
    runner = ToolRunner(tools=list(_by_name(everywhere).values()))
    for tool in config.tools:
        name = tool if isinstance(tool, str) else _name(tool)
        function = runner.tools.get(name)
        if function is None:
            yield ToolInfo(name=name, description="", source="custom")
            continue
        declaration = callable_to_function_tool_dict(function, tool_runner=runner)
        yield ToolInfo(
            name=name,
            description=inspect.cleandoc(declaration.get("description") or ""),
            source="custom",
            input_schema=declaration["parameters"],
        )


def _by_name(tools: Iterable[Callable[..., Any] | str]) -> dict[str, Callable[..., Any]]:
    return {_name(tool): tool for tool in tools if not isinstance(tool, str)}


def _name(tool: Callable[..., Any]) -> str:
    return getattr(tool, "__name__", None) or type(tool).__name__


def _mcp(config: AgentConfig, conversation_id: str) -> Iterator[ToolInfo]:
    app_data = Path(config.app_data_dir or _APP_DATA).expanduser()
    for server in config.mcp_servers:
        folder = app_data / "brain" / conversation_id / "mcp" / server.name
        for path in sorted(folder.glob("*.json")):  # All; the harness filters for the model.
            with contextlib.suppress(OSError, ValueError):  # It is just being written.
                declaration = json.loads(path.read_bytes())
                if _is_enabled(server, declaration["name"]):
                    yield ToolInfo(
                        name=f"{server.name}/{declaration['name']}",
                        description=declaration.get("description", ""),
                        source="mcp",
                        input_schema=declaration.get("parameters"),
                    )


def _is_enabled(server: McpServerConfig, name: str) -> bool:
    # An empty list of enabled tools travels to the harness as none given.
    return (not server.enabled_tools or name in server.enabled_tools) and (
        name not in (server.disabled_tools or ())
    )


def _builtin(config: AgentConfig) -> Iterator[ToolInfo]:
    capabilities = config.capabilities
    active = resolve_active_tools(capabilities) - {BuiltinTools.FINISH}
    if not capabilities.enable_subagents:
        active -= _OF_SUBAGENTS
    for tool in active:
        yield ToolInfo(name=tool.value, description=_SAID_OF.get(tool.name, ""), source="builtin")
    # Offered with a schema to answer in, and only then, whatever is enabled.
    schema = config.response_schema or capabilities.finish_tool_schema_json
    if isinstance(schema, str):  # The configuration turns all it takes into JSON.
        finish = BuiltinTools.FINISH
        yield ToolInfo(
            name=finish.value,
            description=_SAID_OF.get(finish.name, ""),
            source="builtin",
            input_schema=json.loads(schema),
        )
