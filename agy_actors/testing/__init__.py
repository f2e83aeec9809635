"""The testing kit: what agy_actors itself is tested with, for its users too."""

from agy_actors.testing._model import ScriptedModel
from agy_actors.testing._model_reply import (
    Reply,
    ToolCall,
    Usage,
    call_tool,
    call_tools,
    drop,
    http_error,
    malformed,
    quota_error,
    say,
    silence,
)
from agy_actors.testing._model_request import ModelRequest, ToolResult

__all__ = [
    "ModelRequest",
    "Reply",
    "ScriptedModel",
    "ToolCall",
    "ToolResult",
    "Usage",
    "call_tool",
    "call_tools",
    "drop",
    "http_error",
    "malformed",
    "quota_error",
    "say",
    "silence",
]
