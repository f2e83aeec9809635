"""The model gets every error and result of a custom tool, and the turn continues."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import BuiltinTools, CapabilitiesConfig, ToolContext
from google.antigravity.tools.tool_runner import ToolWithSchema
from google.antigravity.types import (
    CustomSystemInstructions,
    Image,
    SubagentCapabilities,
    SubagentConfig,
)

from agy_actors import Cancel, Chat, TurnCancelled, TurnStalled, TurnTimeout
from agy_actors.testing import ToolCall, call_tool, call_tools, say, silence
from tests.harnesses import PATIENCE
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef, SupervisorRef
    from agy_actors.testing import ScriptedModel

TURN = 30.0
"""Seconds for a turn that must not wait for a tool that has ended. Arbitrary."""


class Odd(BaseException):
    """An exception that `except Exception` does not catch."""


class Unreadable(Exception):
    """An exception whose text cannot be read."""

    def __str__(self) -> str:
        raise SystemExit("no text")


RAISED: list[tuple[Callable[[], BaseException], str]] = [
    (lambda: ValueError("no such user"), "no such user"),
    (ValueError, "ValueError"),
    (lambda: StopIteration("no such user"), "StopIteration: no such user"),
    (StopAsyncIteration, "StopAsyncIteration"),
    (GeneratorExit, "GeneratorExit"),
    (lambda: SystemExit(3), "SystemExit: 3"),
    (KeyboardInterrupt, "KeyboardInterrupt"),
    (asyncio.CancelledError, "CancelledError"),
    (lambda: Odd("odd"), "Odd: odd"),
    (Unreadable, "Unreadable"),
    (lambda: ValueError("caf\ud800e"), "caf\ufffde"),
    (lambda: ValueError("x" * 30_000_000), "of 30000000 characters"),
]


@pytest.fixture(params=RAISED, ids=[told[:20] for _, told in RAISED])
def raised(request: pytest.FixtureRequest) -> tuple[Callable[[], BaseException], str]:
    make, told = request.param
    return make, told


def call(
    model: ScriptedModel, supervisor: SupervisorRef, tool: Callable[..., Any], **args: Any
) -> str:
    """Let the model call a tool, and return the result that it gets."""
    name = getattr(tool, "__name__", None) or type(tool).__name__
    model.then(call_tool(name, args), say("done"))
    agent = supervisor.create_agent(model.openai_config(tools=[tool]))

    assert agent.ask(Chat("go", timeout=TURN)).text == "done"
    assert agent.ask(Chat("hello", timeout=TURN)).text == "echo: hello"
    told = [result.output for request in model.requests for result in request.tool_results]
    return str(told[0])


def test_the_model_gets_every_exception_of_a_tool(
    model: ScriptedModel, supervisor: SupervisorRef, raised: tuple[Callable[[], Any], str]
) -> None:
    make, told = raised

    def tool() -> str:
        """Fail."""
        raise make()

    assert told in call(model, supervisor, tool)


@pytest.mark.parametrize("raised", quick([(one,) for one in RAISED], 0, 3), indirect=True)
def test_the_model_gets_every_exception_of_an_async_tool(
    model: ScriptedModel, supervisor: SupervisorRef, raised: tuple[Callable[[], Any], str]
) -> None:
    make, told = raised

    async def tool() -> str:
        """Fail."""
        await asyncio.sleep(0)
        raise make()

    assert told in call(model, supervisor, tool)


class Users:
    """Tools that are not plain functions."""

    def find(self, name: str) -> str:
        """Find a user."""
        return next(user for user in ["ada"] if user == name)

    async def look_up(self, name: str) -> str:
        """Find a user."""
        raise SystemExit(self.find(name) if name == "ada" else 2)

    def __call__(self, name: str) -> str:
        """Find a user."""
        return self.find(name)


def later(name: str) -> Any:
    """Find a user."""
    return Users().look_up(name)


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        (Users().find, "StopIteration"),
        (Users().look_up, "SystemExit"),
        (ToolWithSchema(Users(), SCHEMA), "StopIteration"),
        (ToolWithSchema(functools.partial(Users().find), SCHEMA), "StopIteration"),
        (later, "SystemExit"),
    ],
    ids=["method", "async-method", "object", "partial", "returns-coroutine"],
)
def test_tools_of_every_kind_may_raise_anything(
    model: ScriptedModel, supervisor: SupervisorRef, tool: Any, told: str
) -> None:
    assert told in call(model, supervisor, tool, name="bob")


def test_a_tool_that_has_its_agents_context_may_raise_anything(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def tool(word: str, context: ToolContext) -> str:
        """Fail."""
        raise SystemExit(f"{word} {type(context).__name__}")

    assert "SystemExit: hello ToolContext" in call(model, supervisor, tool, word="hello")


def test_the_model_learns_of_a_tool_that_cancels_itself(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    async def tool() -> None:
        """Give up."""
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(PATIENCE)

    assert "CancelledError" in call(model, supervisor, tool)


def test_a_subagents_tool_may_raise_anything(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def find() -> str:
        """Find a user."""
        raise StopIteration

    helper = SubagentConfig(
        name="helper",
        description="Helps.",
        system_instructions=CustomSystemInstructions(text="You help."),
        capabilities=SubagentCapabilities(enabled_tools=[]),
        tools=[find],
    )
    invoke = {"Subagents": [{"TypeName": "helper", "Role": "Helper", "Prompt": "find"}]}
    model.when(lambda request: "StopIteration" in str(request.tool_results), say("nobody"))
    model.when(lambda request: "You help." in request.system, call_tool("find"))
    model.when("go", call_tool("invoke_subagent", invoke), times=1)
    agent = supervisor.create_agent(
        model.openai_config(
            subagents=[helper],
            capabilities=CapabilitiesConfig(enabled_tools=[BuiltinTools.INVOKE_SUBAGENT]),
        )
    )

    agent.ask(Chat("go", timeout=TURN))

    told = [result.output for request in model.requests for result in request.tool_results]
    assert any("StopIteration" in output for output in told)


def test_the_model_gets_the_error_of_an_agent_as_a_tool(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def find() -> str:
        """Find a user."""
        raise StopIteration

    poet = supervisor.create_agent(model.openai_config(tools=[find]), name="poet")
    model.then(call_tool("poet", {"prompt": "find"}), call_tool("find"), say("none"), say("done"))
    agent = supervisor.create_agent(model.openai_config(tools=[poet.as_tool("poet", "A poet.")]))

    assert agent.ask(Chat("go", timeout=TURN)).text == "done"
    assert any("none" in result.output for result in model.requests[-1].tool_results)


# Results.


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def numbers() -> Any:
    """Count."""
    yield from (1, 2)


async def async_numbers() -> Any:
    """Count."""
    yield 1


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (object, "<object object"),
        (lambda: b"\xff", "xff"),
        (lambda: float("nan"), '"NaN"'),
        (lambda: {"most": float("inf")}, '"Infinity"'),
        (lambda: "caf\ud800e", "not valid Unicode"),
        (lambda: {"name": ["caf\ud800e"]}, "not valid Unicode"),
        (cycle, "[...]"),
        (lambda: deep(100_000), "cannot be turned into JSON"),
        (itertools.count, "truncated"),
    ],
    ids=["object", "bytes", "nan", "inf", "text", "nested-text", "cycle", "deep", "endless"],
)
def test_the_model_learns_of_a_result_that_json_does_not_support(
    model: ScriptedModel, supervisor: SupervisorRef, make: Callable[[], Any], told: str
) -> None:
    def tool() -> Any:
        """Give."""
        return make()

    assert told in call(model, supervisor, tool)


@pytest.mark.parametrize("tool", [numbers, async_numbers])
def test_the_model_learns_that_a_tool_is_a_generator(
    model: ScriptedModel, supervisor: SupervisorRef, tool: Callable[..., Any]
) -> None:
    assert "generator; it must return the values" in call(model, supervisor, tool)


@pytest.mark.parametrize(
    "make",
    [lambda: "0123456789" * 3_000_000, lambda: {"lines": ["0123456789"] * 300_000}],
    ids=["text", "lines"],
)
def test_a_tools_result_is_too_long(
    model: ScriptedModel, supervisor: SupervisorRef, make: Callable[[], Any]
) -> None:
    def tool() -> Any:
        """Give much."""
        return make()

    told = call(model, supervisor, tool)

    assert "0123456789" in told
    assert "truncated: 4" in told
    assert len(told) > 45_000
    assert "go" in [text for _, text in model.requests[1].messages]


def test_media_that_do_not_fit_are_left_out_and_the_model_is_told_so(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def tool() -> Any:
        """Draw."""
        return ["a picture", Image(data=b"\x89PNG" + bytes(30_000_000), mime_type="image/png")]

    told = call(model, supervisor, tool)

    assert "a picture" in told
    assert "media left out" in told


# Turns.


def _wait_for(agent: AgentRef, called: threading.Event) -> Any:
    future = agent.ask(Chat("go"), block=False)
    assert called.wait(PATIENCE)
    return future


def test_the_end_of_its_agent_cancels_an_async_tool(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    called, cancelled = threading.Event(), threading.Event()

    async def tool() -> None:
        """Wait."""
        called.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    model.then(call_tool("tool"))
    agent = supervisor.create_agent(model.openai_config(tools=[tool]))
    future = _wait_for(agent, called)

    agent.ask(Cancel())
    with pytest.raises(TurnCancelled):
        future.get(timeout=PATIENCE)
    supervisor.shutdown_agent(agent)

    assert cancelled.wait(PATIENCE)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_timeout_names_no_tool_of_an_earlier_turn(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    called, release = threading.Event(), threading.Event()

    def block() -> str:
        """Wait."""
        called.set()
        return str(release.wait(PATIENCE))

    async def block_async() -> str:
        """Wait."""
        called.set()
        return str(await asyncio.to_thread(release.wait, PATIENCE))

    tool = block if kind == "sync" else block_async
    tool.__name__ = "block"
    model.then(call_tool("block"), silence())
    agent = supervisor.create_agent(model.openai_config(tools=[tool]))
    future = _wait_for(agent, called)
    agent.ask(Cancel())
    with pytest.raises(TurnCancelled):
        future.get(timeout=PATIENCE)

    with pytest.raises(TurnTimeout) as caught:
        agent.ask(Chat("again", timeout=0.5))
    release.set()

    assert "block" not in str(caught.value)


def test_a_tool_that_has_ended_is_no_longer_waited_for(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def count() -> int:
        """Count."""
        return 1

    both = call_tools([ToolCall("count"), ToolCall("count")])
    model.then(call_tool("count"), both, call_tool("count"), silence())
    agent = supervisor.create_agent(model.openai_config(tools=[count]))

    with pytest.raises(TurnStalled) as caught:
        agent.ask(Chat("go", timeout=PATIENCE, stall_timeout=0.5))

    assert "count" not in str(caught.value)


def test_each_kind_of_running_tool_is_named(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    release = threading.Event()

    def quick() -> str:
        """Be done."""
        return "done"

    def slow() -> str:
        """Wait."""
        return str(release.wait(PATIENCE))

    both = call_tools([ToolCall("quick"), ToolCall("slow")])
    model.then(call_tool("quick"), both)
    agent = supervisor.create_agent(model.openai_config(tools=[quick, slow]))

    with pytest.raises(TurnTimeout) as caught:
        agent.ask(Chat("go", timeout=1))
    release.set()

    assert "waited for slow" in str(caught.value)
    assert "quick" not in str(caught.value)
