"""MCP servers, over stdio and over HTTP: their tools are the agent's."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import psutil
import pytest
from google.antigravity.hooks import policy, post_tool_call, pre_tool_call_decide
from google.antigravity.types import HookResult, ToolCall, ToolResult

from agy_actors import AvailableTools, Chat, TurnError
from agy_actors.testing import ScriptedModel, call_tool, call_tools, say
from agy_actors.testing import ToolCall as Call
from tests.harnesses import PATIENCE, SOON, has_ended, kill_harness, pid_of, until
from tests.sdk.shops import HttpShop, http_shop, stdio_shop
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import AgentRef, SupervisorRef

ALL = {"greeting", "pid", "price"}


@pytest.fixture(scope="module")
def shop() -> Iterator[HttpShop]:
    with http_shop() as shop:
        yield shop


def mcp_tools(agent: AgentRef) -> set[str]:
    tools = agent.ask(AvailableTools(), timeout=SOON)
    return {tool.name for tool in tools if tool.source == "mcp"}


def ask_pid(agent: AgentRef, model: ScriptedModel) -> psutil.Process:
    """Let an agent's server report its process."""
    model.then(call_tool("mcp_shop_pid"), say("done"))
    agent.ask(Chat("pid"))
    found = re.search(r"pid (\d+)", model.requests[-1].tool_results[-1].output)
    assert found is not None
    return psutil.Process(int(found[1]))


def servers_of(agent: AgentRef) -> list[psutil.Process]:
    return psutil.Process(pid_of(agent)).children()


@pytest.mark.parametrize("protocol", quick(["openai", "gemini"], 0))
def test_a_tool_of_a_server_over_http_answers_and_gets_the_configured_headers(
    model: ScriptedModel, supervisor: SupervisorRef, shop: HttpShop, protocol: str
) -> None:
    configure = model.openai_config if protocol == "openai" else model.gemini_config
    server = shop.server(headers={"x-greeting": f"hello-{protocol}"})
    agent = supervisor.create_agent(configure(mcp_servers=[server]))
    model.then(
        call_tools([Call("mcp_shop_price", {"fruit": "pear"}), Call("mcp_shop_greeting")]),
        say("4 euros"),
    )

    reply = agent.ask(Chat("How much is a pear?"))

    assert reply.text == "4 euros"
    assert [(call.server_name, call.name) for call in reply.tool_calls] == [
        ("shop", "price"),
        ("shop", "greeting"),
    ]
    assert reply.tool_calls[0].args == {"fruit": "pear"}
    price, greeting = model.requests[-1].tool_results
    assert price.output.endswith("pear: 4 euros")
    assert f"hello-{protocol}" in greeting.output


def test_the_model_gets_an_mcp_tools_error_and_the_turn_continues(
    model: ScriptedModel, supervisor: SupervisorRef, shop: HttpShop
) -> None:
    agent = supervisor.create_agent(model.openai_config(mcp_servers=[shop.server()]))
    model.then(
        call_tool("mcp_shop_price", {"fruit": "stone"}),
        call_tool("mcp_shop_price", {"fruit": "fig"}),
        say("A fig is 3 euros."),
    )

    reply = agent.ask(Chat("How much is a stone?"))

    assert reply.text == "A fig is 3 euros."
    failure, price = model.requests[-1].tool_results
    assert "a stone is no fruit" in failure.output
    assert price.output.endswith("fig: 3 euros")


def test_only_a_servers_enabled_tools_are_offered_and_listed(
    model: ScriptedModel, supervisor: SupervisorRef, shop: HttpShop
) -> None:
    servers = [
        shop.server("some", enabled_tools=["price", "pid"]),
        shop.server("others", disabled_tools=["price"]),
    ]
    agent = supervisor.create_agent(model.openai_config(mcp_servers=servers))

    agent.ask(Chat("hi"))

    listed = mcp_tools(agent)
    assert listed == {"some/price", "some/pid", "others/pid", "others/greeting"}
    offered = {name for name in model.requests[-1].tools if name.startswith("mcp_")}
    assert offered == {f"mcp_{name.replace('/', '_')}" for name in listed}


def test_the_tools_of_a_server_are_listed_with_their_schemas_from_the_first_turn_on(
    model: ScriptedModel, supervisor: SupervisorRef, shop: HttpShop
) -> None:
    gate = threading.Event()
    model.then(say("one two", gate=gate))
    agent = supervisor.create_agent(model.openai_config(mcp_servers=[shop.server()]))
    assert mcp_tools(agent) == set()

    turn = agent.ask(Chat("hi"), block=False)
    model.wait_for_requests(1)
    tools = {tool.name: tool for tool in agent.ask(AvailableTools(), timeout=SOON)}

    assert tools.keys() == {f"shop/{name}" for name in ALL}
    price = tools["shop/price"]
    assert (price.source, price.description) == ("mcp", "Tell the price of a fruit.")
    assert price.input_schema is not None
    assert price.input_schema["required"] == ["fruit"]
    assert not turn.done()
    gate.set()
    turn.get(timeout=PATIENCE)


def test_tools_that_are_loaded_when_needed_are_called_by_their_servers_name(
    model: ScriptedModel, supervisor: SupervisorRef, shop: HttpShop
) -> None:
    server = shop.server(force_all_tools_eager=False)
    agent = supervisor.create_agent(model.openai_config(mcp_servers=[server]))
    call = {"ServerName": "shop", "ToolName": "price", "Arguments": {"fruit": "kiwi"}}
    model.then(call_tool("call_mcp_tool", call), say("4 euros"))

    reply = agent.ask(Chat("How much is a kiwi?"))

    assert [(call.server_name, call.name) for call in reply.tool_calls] == [("shop", "price")]
    assert model.requests[-1].tool_results[-1].output.endswith("kiwi: 4 euros")
    assert mcp_tools(agent) == {f"shop/{name}" for name in ALL}


def test_hooks_get_the_calls_of_mcp_tools_with_their_servers(
    model: ScriptedModel, supervisor: SupervisorRef, shop: HttpShop
) -> None:
    seen: list[tuple[str, str | None, str]] = []

    @pre_tool_call_decide  # type: ignore[untyped-decorator] # as the SDK has it
    async def before(call: ToolCall) -> HookResult:
        seen.append(("before", call.server_name, call.name))
        return HookResult(allow=True)

    @post_tool_call  # type: ignore[untyped-decorator] # as the SDK has it
    async def after(result: ToolResult) -> None:
        seen.append(("after", result.server_name, result.name))

    config = model.openai_config(mcp_servers=[shop.server()], hooks=[before, after])
    agent = supervisor.create_agent(config)
    model.then(call_tool("mcp_shop_price", {"fruit": "pear"}), say("4 euros"))

    agent.ask(Chat("How much is a pear?"))

    assert seen == [("before", "shop", "price"), ("after", "shop", "price")]


@pytest.mark.parametrize("rule", ["one is denied", "one is allowed"])
def test_policies_decide_by_server_and_tool(
    model: ScriptedModel, supervisor: SupervisorRef, shop: HttpShop, rule: str
) -> None:
    cheap, dear = shop.server("cheap"), shop.server("dear")
    policies = (
        [policy.allow_all(), *policy.deny(dear, ["price"])]
        if rule == "one is denied"
        else [policy.deny_all(), *policy.allow(cheap, ["price"])]
    )
    config = model.openai_config(mcp_servers=[cheap, dear], policies=policies)
    agent = supervisor.create_agent(config)
    model.then(
        call_tool("mcp_dear_price", {"fruit": "pear"}),
        call_tool("mcp_cheap_price", {"fruit": "pear"}),
        say("done"),
    )

    reply = agent.ask(Chat("How much is a pear?"))

    assert reply.text == "done"
    denied, allowed = model.requests[-1].tool_results
    assert "Denied by policy" in denied.output
    assert allowed.output.endswith("pear: 4 euros")
    assert ("dear", "price") not in [(call.server_name, call.name) for call in reply.tool_calls]


def test_a_server_over_stdio_answers_and_ends_with_its_agent(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    server = stdio_shop(env={"CURRENCY": "francs"})
    agent = supervisor.create_agent(model.openai_config(mcp_servers=[server]))
    model.then(call_tool("mcp_shop_price", {"fruit": "pear"}), say("4 francs"))

    reply = agent.ask(Chat("How much is a pear?"))

    assert reply.tool_calls[0].server_name == "shop"
    assert model.requests[-1].tool_results[-1].output.endswith("pear: 4 francs")
    process = ask_pid(agent, model)
    agent.ask(AvailableTools())
    assert servers_of(agent) == [process]
    supervisor.shutdown_agent(agent)
    until(lambda: has_ended(process))


def test_a_server_over_stdio_ends_with_a_killed_process_and_a_restart_starts_another(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.openai_config(mcp_servers=[stdio_shop()]))
    old = ask_pid(agent, model)

    kill_harness(agent)
    new = ask_pid(agent, model)

    until(lambda: has_ended(old))
    assert new.pid != old.pid
    assert servers_of(agent) == [new]


@pytest.mark.parametrize("end", ["shutdown", "kill"])
def test_a_server_that_does_not_end_by_itself_is_ended_with_its_agents_process(
    model: ScriptedModel, supervisor: SupervisorRef, end: str
) -> None:
    server = stdio_shop(env={"LINGER": "600"})
    agent = supervisor.create_agent(model.openai_config(mcp_servers=[server]))
    process = ask_pid(agent, model)

    if end == "kill":
        kill_harness(agent)
    else:
        supervisor.shutdown_agent(agent)

    until(lambda: has_ended(process))


def test_a_server_that_does_not_start_is_named_in_the_error_and_retried_in_the_next_turn(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path
) -> None:
    program = tmp_path / "server"
    real = stdio_shop()
    server = real.model_copy(update={"command": str(program)})
    agent = supervisor.create_agent(model.openai_config(mcp_servers=[server]))

    with pytest.raises(TurnError, match=r"MCP load failed for shop.* no such file") as caught:
        agent.ask(Chat("How much is a pear?"))

    assert caught.value.tool_calls == ()
    assert model.requests == ()
    program.write_text(f'#!/bin/sh\nexec {real.command} "$@"\n')
    program.chmod(0o755)
    model.then(call_tool("mcp_shop_price", {"fruit": "pear"}), say("4 euros"))
    reply = agent.ask(Chat("How much is a pear?"))
    assert [(call.server_name, call.name) for call in reply.tool_calls] == [("shop", "price")]
