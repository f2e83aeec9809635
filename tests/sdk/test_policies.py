"""The SDK's policies in an agent of an actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import (
    AgentBehavior,
    AgentConfig,
    BuiltinTools,
    CapabilitiesConfig,
    LocalAgentConfig,
)
from google.antigravity.hooks import policy
from pydantic import BaseModel

from agy_actors import AgentStartError, Chat
from agy_actors.testing import Reply, ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from google.antigravity.hooks.policy import Policy
    from google.antigravity.types import ToolCall as SdkToolCall

    from agy_actors import SupervisorRef
    from agy_actors.testing import ModelRequest

FILES = CapabilitiesConfig(
    enabled_tools=[
        BuiltinTools.VIEW_FILE,
        BuiltinTools.LIST_DIR,
        BuiltinTools.CREATE_FILE,
        BuiltinTools.RUN_COMMAND,
    ],
    enable_subagents=False,
    agent_behavior=AgentBehavior.MINIMAL,
)


class Ledger:
    """Two tools, and how often each was used."""

    def __init__(self) -> None:
        self.used: list[str] = []

    def pay(self, amount: int) -> str:
        """Pay an amount."""
        self.used.append(f"pay {amount}")
        return "paid"

    def look(self) -> str:
        """Look at the balance."""
        self.used.append("look")
        return "seen"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


class Payment(BaseModel):
    """The arguments of `Ledger.pay`."""

    amount: int


async def agree(call: SdkToolCall) -> bool:
    return call.args == {"amount": 5}


async def is_typed_and_large(payment: Payment) -> bool:
    return payment.amount > 10


CALLS = [
    call_tool("look"),
    call_tool("pay", {"amount": 5}),
    call_tool("pay", {"amount": 50}),
]
"""The model's calls, one after another."""

ALL = policy.allow_all()
"""A tool that no policy names is denied, so most lists need it."""


@pytest.mark.parametrize(
    ("policies", "used"),
    [
        pytest.param([policy.allow("pay")], ["pay 5", "pay 50"], id="unnamed"),
        pytest.param([policy.allow("pay", when=is_typed_and_large)], ["pay 50"], id="when, typed"),
        pytest.param(
            [policy.ask_user("pay", handler=agree), ALL], ["look", "pay 5"], id="ask, both answers"
        ),
        pytest.param(
            [policy.allow("pay"), policy.deny("pay"), ALL], ["look"], id="the denial wins"
        ),
    ],
)
def test_policies_decide_which_calls_are_made(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    ledger: Ledger,
    policies: list[Policy],
    used: list[str],
) -> None:
    model.then(*CALLS, say("done"))
    config = model.openai_config(tools=[ledger.pay, ledger.look], policies=policies)
    agent = supervisor.create_agent(config)

    reply = agent.ask(Chat("go"), timeout=PATIENCE)

    assert reply.text == "done"
    assert ledger.used == used
    outputs = [result.output for result in model.requests[-1].tool_results]
    assert len(outputs) == len(CALLS)
    assert sum("paid" in output or "seen" in output for output in outputs) == len(used)


@pytest.mark.parametrize("hooked", [False, True])
def test_the_model_gets_a_denial_with_its_reason(
    model: ScriptedModel, supervisor: SupervisorRef, ledger: Ledger, *, hooked: bool
) -> None:
    policies = [policy.deny("pay", reason="MARK"), ALL]
    settings = {"hooks": [policy.enforce(policies)]} if hooked else {"policies": policies}
    model.then(
        call_tool("pay", {"amount": 5}), say(lambda request: request.tool_results[-1].output)
    )
    agent = supervisor.create_agent(model.openai_config(tools=[ledger.pay], **settings))

    assert "MARK" in agent.ask(Chat("pay"), timeout=PATIENCE).text
    assert ledger.used == []


def test_a_turn_continues_after_any_number_of_denials(
    model: ScriptedModel, supervisor: SupervisorRef, ledger: Ledger
) -> None:
    model.then(*[call_tool("look")] * 4, say("I give up."))
    agent = supervisor.create_agent(
        model.openai_config(tools=[ledger.look], policies=[policy.deny_all()])
    )

    assert agent.ask(Chat("look"), timeout=PATIENCE).text == "I give up."


def run(command: str, folder: Path) -> Reply:
    """Let the model run a command."""
    args = {"CommandLine": command, "Cwd": str(folder), "WaitMsBeforeAsync": 5000}
    return call_tool("run_command", args)


def write(path: Path) -> Reply:
    """Let the model write a file."""
    args = {"TargetFile": str(path), "Overwrite": True, "CodeContent": "x", "Description": "x"}
    return call_tool("write_to_file", args)


@pytest.mark.parametrize("handled", [False, True])
def test_the_default_denies_commands_or_asks_about_them_and_nothing_else(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path, *, handled: bool
) -> None:
    asked: list[Any] = []

    async def handler(call: SdkToolCall) -> bool:
        asked.append(call.args["CommandLine"])
        return True

    policies = policy.confirm_run_command(handler=handler) if handled else None
    default = LocalAgentConfig.model_fields["policies"].get_default(call_default_factory=True)
    model.then(write(tmp_path / "new"), run("touch made", tmp_path), say("done"))
    agent = supervisor.create_agent(
        model.openai_config(
            capabilities=FILES, workspaces=[str(tmp_path)], policies=policies or default
        )
    )

    agent.ask(Chat("go"), timeout=PATIENCE)

    assert (tmp_path / "new").exists()
    assert (tmp_path / "made").exists() == handled
    assert asked == ["touch made"] * handled


def test_a_default_configuration_reads_files_and_has_no_tool_that_writes(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path
) -> None:
    (tmp_path / "news.txt").write_text("MARK")
    view = call_tool("view_file", {"AbsolutePath": str(tmp_path / "news.txt")})
    model.then(view, write(tmp_path / "new"), say("done"))
    default = AgentConfig.model_fields["capabilities"].get_default(call_default_factory=True)
    agent = supervisor.create_agent(
        model.openai_config(capabilities=default, policies=[], workspaces=[str(tmp_path)])
    )

    agent.ask(Chat("read"), timeout=PATIENCE)

    assert "view_file" in model.requests[0].tools
    assert "write_to_file" not in model.requests[0].tools
    assert "MARK" in model.requests[1].tool_results[0].output
    assert not (tmp_path / "new").exists()


def test_tools_that_write_without_any_policy_are_a_start_error(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    with pytest.raises(AgentStartError, match="safety policy"):
        supervisor.create_agent(model.openai_config(capabilities=FILES, policies=[]))


@pytest.mark.parametrize("answer", [True, False])
def test_an_automatic_policy_asks_about_calls_that_its_model_does_not_approve(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path, *, answer: bool
) -> None:
    reasons: list[str] = []

    async def handler(call: SdkToolCall, reason: str = "") -> bool:
        reasons.append(f"{call.name}: {reason}")
        return answer

    def judges(request: ModelRequest) -> bool:
        return "vet_destruction" in request.tools

    target = tmp_path / "precious.txt"
    target.write_text("MARK")
    vet = {"target": str(target), "action_type": "delete", "category": "filesystem"}
    model.when(judges, call_tool("vet_destruction", vet), say("That is all."))
    model.when("^clean up$", run(f"rm {target}", tmp_path), say("done"))
    auto = policy.auto(handler=handler)
    agent = supervisor.create_agent(
        model.openai_config(capabilities=FILES, workspaces=[str(tmp_path)], policies=[auto, ALL])
    )

    agent.ask(Chat("clean up"), timeout=PATIENCE)

    assert any(judges(request) for request in model.requests)
    assert target.exists() != answer
    assert [reason.partition(":")[0] for reason in reasons] == ["run_command"]
    assert "Security analysis" in reasons[0]
