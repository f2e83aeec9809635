"""The SDK's custom tools, as an actor's agent runs them."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import CapabilitiesConfig, ToolContext, ToolOutputTruncationConfig
from google.antigravity.tools.tool_runner import ToolWithSchema
from pydantic import BaseModel

from agy_actors import Chat, CreateAgent, GetConversationId, GetHistory, GetTurnCount, IsIdle
from agy_actors.testing import ScriptedModel, ToolCall, call_tool, call_tools, say
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ModelRequest

SAY_OUTPUT = say(lambda request: request.tool_results[-1].output)
"""The model repeats what it was told that the last tool gave."""


class Line(BaseModel):
    """A line of an order."""

    article: str
    count: int


class Adder:
    """A tool that is an object."""

    __name__ = "add"

    def __call__(self, a: int, b: int) -> int:
        """Add two numbers."""
        return a + b


def parameters(request: ModelRequest, tool: str) -> dict[str, Any]:
    """Return the arguments that the model may give to a tool, and what they are."""
    [found] = [
        entry["function"]["parameters"]["properties"]
        for entry in request.body["tools"]
        if entry["function"]["name"] == tool
    ]
    return dict(found)


def test_tools_may_be_functions_coroutine_functions_and_objects(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    threads: dict[str, threading.Thread] = {}

    def in_a_thread(word: str) -> str:
        """Say a word."""
        threads["sync"] = threading.current_thread()
        return f"sync {word}"

    async def on_the_loop(word: str) -> str:
        """Say a word."""
        await asyncio.sleep(0)
        threads["async"] = threading.current_thread()
        return f"async {word}"

    async def on_start() -> str:
        """Say nothing."""
        return threading.current_thread().name

    model.then(
        call_tool("in_a_thread", {"word": "one"}),
        call_tool("on_the_loop", {"word": "two"}),
        call_tool("add", {"a": 3, "b": 4}),
        call_tool("on_start"),
        SAY_OUTPUT,
    )
    agent = supervisor.create_agent(
        model.openai_config(tools=[in_a_thread, on_the_loop, Adder(), on_start])
    )

    reply = agent.ask(Chat("go"), timeout=PATIENCE)

    outputs = [result.output for result in model.requests[-1].tool_results]
    assert ["sync one" in outputs[0], "async two" in outputs[1], "7" in outputs[2]] == [True] * 3
    assert [call.name for call in reply.tool_calls] == [
        "in_a_thread",
        "on_the_loop",
        "add",
        "on_start",
    ]
    assert threads["sync"] is not threads["async"]
    assert threads["async"].name in reply.text  # All coroutine functions: the agent's thread.
    assert threading.main_thread() not in threads.values()
