"""The SDK's custom tools in an agent of an actor."""

from __future__ import annotations

import asyncio
import threading
from datetime import date
from typing import TYPE_CHECKING, Any

from google.antigravity import ToolContext, ToolOutputTruncationConfig
from google.antigravity.tools.tool_runner import ToolWithSchema
from pydantic import BaseModel

from agy_actors import Chat, CreateAgent, GetConversationId, GetHistory, GetStatistics, IsIdle
from agy_actors.testing import ScriptedModel, ToolCall, call_tool, call_tools, say
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import SupervisorRef
    from agy_actors.testing import ModelRequest

SAY_OUTPUT = say(lambda request: request.tool_results[-1].output)
"""Let the model repeat the last tool's result."""


ADD_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer", "description": "the first"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}


class Line(BaseModel):
    """A line of an order."""

    article: str
    count: int


class Adder:
    """A tool that is an object."""

    def __call__(self, a: int, b: int) -> int:
        """Add two numbers."""
        return a + b


def parameters(request: ModelRequest, tool: str) -> dict[str, Any]:
    """Return the arguments of a tool that the model sees, with their types."""
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

    model.then(
        call_tool("in_a_thread", {"word": "one"}),
        call_tool("on_the_loop", {"word": "two"}),
        call_tool("Adder", {"a": 3, "b": 4}),
        say("done"),
    )
    tools = [in_a_thread, on_the_loop, ToolWithSchema(Adder(), ADD_SCHEMA)]
    agent = supervisor.create_agent(model.openai_config(tools=tools))

    reply = agent.ask(Chat("go"), timeout=PATIENCE)

    assert reply.text == "done"
    assert [call.name for call in reply.tool_calls] == ["in_a_thread", "on_the_loop", "Adder"]
    last = model.requests[-1]
    outputs = [result.output for result in last.tool_results]
    expected = ["sync one", "async two", "7"]
    assert [word in output for word, output in zip(expected, outputs, strict=True)] == [True] * 3
    assert parameters(last, "Adder")["a"]["description"] == "the first"
    assert threads["sync"] is not threads["async"]
    assert threading.current_thread() not in threads.values()


def test_a_tool_that_blocks_delays_no_query(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    called, release = threading.Event(), threading.Event()

    def block() -> str:
        """Wait."""
        called.set()
        return str(release.wait(PATIENCE))

    model.then(call_tool("block"), SAY_OUTPUT)
    agent = supervisor.create_agent(model.openai_config(tools=[block]))
    future = agent.ask(Chat("go"), block=False)
    assert called.wait(PATIENCE)

    idle = agent.ask(IsIdle(), timeout=PATIENCE)
    release.set()

    assert not idle
    assert "True" in future.get(timeout=PATIENCE).text


def test_tools_that_are_called_at_once_each_answer_their_own_call(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def meet(who: str) -> str:
        """Meet somebody."""
        return f"{who} was there"

    names = ["Ann", "Bob", "Eve"]
    calls = [ToolCall("meet", {"who": name}, id=f"call_{name}") for name in names]
    model.then(call_tools(calls), say("done"))
    agent = supervisor.create_agent(model.openai_config(tools=[meet]))

    reply = agent.ask(Chat("go"), timeout=PATIENCE)

    assert [call.args["who"] for call in reply.tool_calls] == names
    results = {result.id: result.output for result in model.requests[-1].tool_results}
    assert ["was there" in results[f"call_{name}"] for name in names] == [True] * 3
    assert [name in results[f"call_{name}"] for name in names] == [True] * 3
    assert len(model.requests) == 2  # One answer for all of them.


def test_a_tools_context_belongs_to_the_conversation_and_is_not_an_argument_for_the_model(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def remember(word: str, ctx: ToolContext) -> str:
        """Remember a word."""
        ctx.set_state("word", word)
        return ctx.conversation_id

    async def recall(ctx: ToolContext) -> str:
        """Say the word again."""
        return f"it was {ctx.get_state('word')}"

    config = model.openai_config(tools=[remember, recall])
    first, second = supervisor.create_agent(config), supervisor.create_agent(config)

    model.then(call_tool("remember", {"word": "rain"}), SAY_OUTPUT)
    told = first.ask(Chat("remember"), timeout=PATIENCE).text
    model.then(call_tool("recall"), SAY_OUTPUT)
    recalled = first.ask(Chat("recall"), timeout=PATIENCE).text
    model.then(call_tool("recall"), SAY_OUTPUT)
    others = second.ask(Chat("recall"), timeout=PATIENCE).text

    assert first.ask(GetConversationId()) in told
    assert "it was rain" in recalled
    assert "it was None" in others
    asked = parameters(model.requests[0], "remember")
    assert "word" in asked
    assert "ctx" not in asked


def test_arguments_come_as_the_types_that_the_tool_names(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    orders: list[tuple[list[Line], date]] = []

    def order(lines: list[Line], day: date) -> str:
        """Order something."""
        orders.append((lines, day))
        return f"{sum(line.count for line in lines)} articles"

    line = {"article": "pen", "count": 3}
    model.then(
        call_tool("order", {"lines": [line, line], "day": "2024-02-29"}),
        SAY_OUTPUT,
    )
    agent = supervisor.create_agent(model.openai_config(tools=[order]))

    reply = agent.ask(Chat("order"), timeout=PATIENCE)

    assert "6 articles" in reply.text
    assert orders == [([Line(article="pen", count=3)] * 2, date(2024, 2, 29))]


def test_the_model_gets_the_error_of_a_tool_and_the_turn_continues(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def divide(by: int) -> float:
        """Divide one."""
        return 1 / by

    async def divide_later(by: int) -> float:
        """Divide one, too."""
        return 1 / by

    model.then(
        call_tool("divide", {"by": 0}),
        call_tool("divide_later", {"by": 0}),
        call_tool("divide", {"by": 4}),
        SAY_OUTPUT,
    )
    agent = supervisor.create_agent(model.openai_config(tools=[divide, divide_later]))

    reply = agent.ask(Chat("divide"), timeout=PATIENCE)

    sync, coroutine, last = [result.output for result in model.requests[-1].tool_results]
    assert ["division by zero" in output for output in (sync, coroutine)] == [True, True]
    assert "0.25" in last
    assert reply.text == last
    seen = [call.name for step in agent.ask(GetHistory()) for call in step.tool_calls]
    assert sorted(seen) == ["divide", "divide", "divide_later"]
    assert agent.ask(GetStatistics()).restarts == 0


def test_agents_that_work_at_the_same_time_have_their_own_tools(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    names = ("north", "east", "south")
    together = threading.Barrier(len(names), timeout=PATIENCE)

    def make_tool(name: str) -> Callable[[], str]:
        def tool() -> str:
            """Say where you are."""
            together.wait()  # No call ends before all have begun.
            return f"in the {name}"

        tool.__name__ = name
        return tool

    creations = {
        name: supervisor.ask(CreateAgent(model.openai_config(tools=[make_tool(name)])), block=False)
        for name in names
    }
    model.when(_has_result, SAY_OUTPUT)
    for name in names:
        model.when(name, call_tool(name))

    replies = {
        name: creation.get(timeout=PATIENCE).ask(Chat(f"go {name}"), block=False)
        for name, creation in creations.items()
    }

    for name, reply in replies.items():
        assert f"in the {name}" in reply.get(timeout=PATIENCE).text
    assert {request.tools for request in model.requests} == {(name,) for name in names}


def test_a_tools_result_is_cut_at_the_configured_length(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def recite() -> str:
        """Recite a long poem."""
        return "first " + "and so on " * 200 + "last"

    capabilities = model.openai_config().capabilities.model_copy(
        update={"tool_output_truncation_config": ToolOutputTruncationConfig(max_tokens=100)}
    )
    model.then(call_tool("recite"), say("done"), call_tool("recite"), say("done"))
    short = supervisor.create_agent(model.openai_config(tools=[recite], capabilities=capabilities))
    whole = supervisor.create_agent(model.openai_config(tools=[recite]))

    short.ask(Chat("recite"), timeout=PATIENCE)
    whole.ask(Chat("recite"), timeout=PATIENCE)

    _, cut, _, uncut = model.requests
    assert "first" in cut.tool_results[-1].output
    assert "truncated" in cut.tool_results[-1].output
    assert len(cut.tool_results[-1].output) < 1000
    assert "last" in uncut.tool_results[-1].output


def _has_result(request: ModelRequest) -> bool:
    return request.messages[-1][0] == "tool"
