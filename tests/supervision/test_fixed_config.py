"""Later changes of a configuration do not affect what was created with it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.hooks import policy
from google.antigravity.types import SubagentConfig

from agy_actors import (
    Backoff,
    CreateAgent,
    CreatePool,
    InvalidConfig,
    Restart,
    RetryPolicy,
    Supervisor,
    confirmations,
    questions,
)
from agy_actors._sdk.make_agent import copy_config
from tests.harnesses import PATIENCE, kill_harness

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel


def early() -> str:
    """Is there from the beginning."""
    return "early"


def late() -> str:
    """Comes too late."""
    return "late"


def test_tools_that_are_added_later_reach_neither_an_agent_nor_a_pool(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    config = model.openai_config(tools=[early])
    agent = supervisor.create_agent(config)
    pool = supervisor.create_pool(config, 1)
    message = CreateAgent(config)
    config.tools.append(late)
    config.policies.insert(0, policy.deny_all())

    agent.ask("before", timeout=PATIENCE)
    kill_harness(agent)
    agent.ask("after", timeout=PATIENCE)
    pool.resize(2)
    for member in pool.members():
        member.ask("member", timeout=PATIENCE)
    supervisor.ask(message).ask("message", timeout=PATIENCE)

    for request in model.requests:
        assert "early" in request.tools
        assert "late" not in request.tools


@pytest.mark.parametrize("make", [CreateAgent, CreatePool])
def test_all_that_can_be_changed_is_copied_and_the_users_objects_are_the_same(
    model: ScriptedModel, make: Any
) -> None:
    hook = questions()
    sub = SubagentConfig(name="sub", description="Helps.", tools=[early])
    config: Any = model.gemini_config(tools=[early], hooks=[hook], subagents=[sub], env={"A": "1"})
    kept = make(config).config

    for change in (config.tools, config.hooks, config.subagents, config.workspaces, sub.tools):
        assert change is not None
        change.append(late)
    config.env["A"] = "2"
    config.capabilities.enable_subagents = True
    config.models[0].endpoint.api_key = "another"

    assert kept.tools == [early]
    assert kept.hooks == [hook]
    assert [subagent.tools for subagent in kept.subagents] == [[early]]
    assert kept.workspaces == []
    assert kept.env == {"A": "1"}
    assert not kept.capabilities.enable_subagents
    assert kept.models[0].endpoint.api_key == "test-key"


def test_a_copy_keeps_objects_that_cannot_be_copied(model: ScriptedModel) -> None:
    config = model.openai_config()
    lock = open(__file__)  # noqa: SIM115, PTH123 (what cannot be copied)
    with lock:
        object.__setattr__(config, "__dict__", {**config.__dict__, "own": lock})

        assert copy_config(config).__dict__["own"] is lock


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_the_same_in_either_unicode_form(
    model: ScriptedModel, supervisor: SupervisorRef, form: Any
) -> None:
    name = unicodedata.normalize(form, "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}")
    agent = supervisor.create_agent(model.openai_config(), name)

    assert agent.name == unicodedata.normalize("NFC", name)
    with pytest.raises(InvalidConfig, match="already"):
        supervisor.create_agent(model.openai_config(), unicodedata.normalize("NFD", name))
    supervisor.shutdown_agent(unicodedata.normalize("NFD", name))
    assert supervisor.children() == {}


@pytest.mark.parametrize(
    "options",
    [
        {"state_dir": ""},
        {"state_dir": "  "},
        {"state_dir": "\0"},
        {"state_dir": b"x"},
        {"state_dir": "\ud800"},
        {"state_dir": "~no such user/x"},
        {"name": "\ud800"},
        {"within": 10**400},
        {"within": True},
        {"within": float("nan")},
        {"max_restarts": True},
        {"hang_timeout": "5"},
        {"turn_spacing": float("inf")},
        {"turn_spacing": True},
        {"max_conversations_per_process": True},
    ],
    ids=repr,
)
def test_a_supervisor_refuses_arguments_of_the_wrong_kind(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(options))):
        Supervisor.start(**options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff(reset_after=True),
        lambda: Backoff(reset_after=10**400),
        lambda: RetryPolicy(attempts=True),
        lambda: RetryPolicy(after_tool_calls="no"),  # type: ignore[arg-type]
        lambda: confirmations(timeout=float("nan")),
        lambda: confirmations(default="no"),  # type: ignore[arg-type]
        lambda: confirmations("ask"),  # type: ignore[arg-type]
        lambda: questions(timeout=10**400),
    ],
)
def test_policies_refuse_arguments_of_the_wrong_kind(make: Any) -> None:
    with pytest.raises(InvalidConfig):
        make()


@pytest.mark.parametrize("timeout", ["5", float("nan"), -1, True, 10**400, [1]], ids=repr)
def test_waiting_refuses_an_invalid_time_before_anything_is_sent(
    model: ScriptedModel, supervisor: SupervisorRef, timeout: Any
) -> None:
    agent = supervisor.create_agent(model.openai_config(), restart=Restart.TEMPORARY)
    done = agent.ask("hi", block=False)
    done.get()
    uses: list[Any] = [
        lambda: agent.ask("no", timeout=timeout),
        lambda: agent.stop(timeout=timeout),
        lambda: done.get(timeout=timeout),
    ]

    for use in uses:
        with pytest.raises(ValueError, match="timeout must be a number of seconds"):
            use()

    assert agent.is_alive()
    assert [request.prompt for request in model.requests] == ["hi"]
