"""Lists the tools that an agent offers to its model, as far as they are known.

Sources (google-antigravity 0.1.22):

*   Custom tools: the configuration, with the declarations that the SDK sends to the model.
*   Builtin tools: the capabilities, with the SDK's documentation of each tool. Only the harness
    knows their input schemas, except that of `finish`, which is the `response_schema`.
*   MCP tools: files in the conversation's folder with the declarations of the tools. The harness
    writes them when it connects to the servers, in the first turn. So this needs no connection of
    its own, and lists no MCP tools before the first turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.antigravity import AgentConfig
    from google.antigravity.types import McpServerConfig

__all__ = ["ToolInfo", "available_tools"]

_APP_DATA = "~/.gemini/antigravity"
"""The SDK's default for `app_data_dir`."""

_OF_SUBAGENTS = {BuiltinTools.INVOKE_SUBAGENT, BuiltinTools.RUN_WORKFLOW}

_DOCUMENTATION = dict(re.findall(r"(?m)^ *([A-Z_]+): (.+)$", inspect.getdoc(BuiltinTools) or ""))
"""The description of each builtin tool. The SDK has them only in this docstring."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToolInfo:
    """A tool that an agent offers to its model."""

    name: str
    """Its name. That of an MCP tool is `"server/tool"`, as in policies."""

    description: str
    """The description for the model. That of a builtin tool is from the SDK's documentation."""

    source: str
    """`"custom"`, `"mcp"` or `"builtin"`."""

    input_schema: dict[str, Any] | None = dataclasses.field(default=None, hash=False)
    """The JSON schema of its arguments; `None` if only the harness knows it."""


def available_tools(config: AgentConfig, conversation_id: str) -> list[ToolInfo]:
    """List an agent's tools: custom tools, then MCP tools, then builtin tools.

    It reads files, so it blocks.

    Args:
        config: the agent's configuration.
        conversation_id: the id of the agent's conversation, for its MCP tools.
    """
    return [
        *_custom(config),
        *_mcp(config, conversation_id),
        *sorted(_builtin(config), key=lambda tool: tool.name),
    ]


def _custom(config: AgentConfig) -> Iterator[ToolInfo]:
    # The agent may use a tool of a subagent, by its name.
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
        for path in sorted(folder.glob("*.json")):  # Also disabled tools.
            with contextlib.suppress(OSError, ValueError):  # It is being written.
                declaration = json.loads(path.read_bytes())
                if _is_enabled(server, declaration["name"]):
                    yield ToolInfo(
                        name=f"{server.name}/{declaration['name']}",
                        description=declaration.get("description", ""),
                        source="mcp",
                        input_schema=declaration.get("parameters"),
                    )


def _is_enabled(server: McpServerConfig, name: str) -> bool:
    # The SDK sends an empty list of enabled tools like a missing one.
    return (not server.enabled_tools or name in server.enabled_tools) and (
        name not in (server.disabled_tools or ())
    )


def _builtin(config: AgentConfig) -> Iterator[ToolInfo]:
    capabilities = config.capabilities
    active = resolve_active_tools(capabilities) - {BuiltinTools.FINISH}
    if not capabilities.enable_subagents:
        active -= _OF_SUBAGENTS
    for tool in active:
        yield ToolInfo(
            name=tool.value, description=_DOCUMENTATION.get(tool.name, ""), source="builtin"
        )
    # Offered if and only if there is a response schema, regardless of the enabled tools.
    schema = config.response_schema or capabilities.finish_tool_schema_json
    if isinstance(schema, str):  # The configuration turns every schema into JSON.
        finish = BuiltinTools.FINISH
        yield ToolInfo(
            name=finish.value,
            description=_DOCUMENTATION.get(finish.name, ""),
            source="builtin",
            input_schema=json.loads(schema),
        )
