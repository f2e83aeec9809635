"""Errors name the cause, and not the model's service, on shared and on separate processes."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import (
    LocalOpenAIAgentConfig,
)
from google.antigravity.hooks import policy
from google.antigravity.tools.tool_runner import ToolWithSchema
from google.antigravity.types import (
    McpStdioServer,
    McpStreamableHttpServer,
)

from agy_actors import (
    AgentStartError,
    Chat,
    GetStatistics,
    InvalidConfig,
    ModelError,
    SetupError,
    TurnError,
    TurnStalled,
    TurnTimeout,
)
from tests.harnesses import FAILS, HANGS, PATIENCE, fake_harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

SECRET = "a-token-of-this-test-4711"
CONVERSATION = "c" * 32

pytestmark = pytest.mark.usefixtures("sharing")


@pytest.fixture(params=["shared", pytest.param("own", marks=pytest.mark.slow)])
def sharing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each agent its own process, or let several share one."""
    if request.param == "own":
        monkeypatch.setenv("AGY_ACTORS_CONVERSATIONS_PER_PROCESS", "1")


# MCP servers.


def shell(script: str) -> McpStdioServer:
    """Configure an MCP server that is a shell script."""
    return McpStdioServer(
        name="shop", command="/bin/sh", args=["-c", script], env={"TOKEN": SECRET}
    )


def remote(url: str) -> McpStreamableHttpServer:
    return McpStreamableHttpServer(
        name="shop", url=url, headers={"Authorization": f"Bearer {SECRET}"}
    )


SERVERS: dict[str, tuple[Callable[[ScriptedModel], Any], bool]] = {
    "no such command": (
        lambda _: McpStdioServer(name="shop", command="/no/such/command", args=[]),
        False,
    ),
    "no such command in the path": (
        lambda _: McpStdioServer(name="shop", command="no-such-command", args=[]),
        False,
    ),
    "ends at once": (lambda _: shell("exit 3"), False),
    "ends with a secret": (lambda _: shell("echo bad $TOKEN >&2; exit 3"), False),
    "speaks another protocol": (lambda _: shell("while read x; do echo hello; done"), False),
    "refuses": (lambda _: remote("http://127.0.0.1:9/mcp"), True),
    "is another service": (lambda model: remote(f"{model.base_url}/mcp"), False),
    "is silent": (
        lambda _: shell("exec sleep 600").model_copy(update={"timeout_seconds": 1}),
        True,
    ),
}
"""MCP servers that do not start, and whether they may do so later."""


@pytest.mark.parametrize("kind", SERVERS)
def test_an_mcp_server_does_not_start(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    make, later = SERVERS[kind]
    agent = supervisor.create_agent(
        model.openai_config(mcp_servers=[make(model)], policies=[policy.allow_all()]), "ann"
    )

    with pytest.raises(SetupError) as caught:
        agent.ask(Chat("hi", timeout=PATIENCE))

    error = caught.value
    assert isinstance(error, TurnError)
    assert error.culprit == "MCP server 'shop'"
    assert "MCP server 'shop' of agent 'ann' did not start" in str(error)
    assert "model's service" not in str(error)
    assert SECRET not in str(error)
    assert error.retryable == later
    assert model.requests == ()


def test_an_agent_outlives_a_server_that_does_not_start_in_many_turns(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    config = model.openai_config(mcp_servers=[shell("exit 3")], policies=[policy.allow_all()])
    agent = supervisor.create_agent(config)

    for _ in range(7):
        with pytest.raises(SetupError):
            agent.ask(Chat("hi", timeout=PATIENCE))


@pytest.mark.parametrize(
    ("kind", "limits"),
    [(TurnTimeout, {"timeout": 1.0}), (TurnStalled, {"timeout": 60.0, "stall_timeout": 1.0})],
)
def test_a_turn_that_a_silent_mcp_server_holds_up_names_the_server(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    kind: type[Exception],
    limits: dict[str, Any],
) -> None:
    config = model.openai_config(
        mcp_servers=[shell("exec sleep 600")], policies=[policy.allow_all()]
    )
    agent = supervisor.create_agent(config)

    with pytest.raises(kind, match="while it waited for MCP server 'shop'"):
        agent.ask(Chat("hi", **limits))


# Databases.


def not_a_database(path: Path) -> None:
    path.write_text("this is not a database " * 100)


def folder(path: Path) -> None:
    path.mkdir()


def damaged(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)


@pytest.mark.new_processes
@pytest.mark.parametrize("spoil", [not_a_database, folder, damaged])
def test_a_conversations_file_is_not_a_database(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / f"{CONVERSATION}.db"
    spoil(path)
    config = model.openai_config(save_dir=str(tmp_path), conversation_id=CONVERSATION)

    with pytest.raises(AgentStartError) as caught:
        supervisor.create_agent(config, "ann")

    assert str(path) in str(caught.value)
    assert "Stderr" not in str(caught.value)
    assert not caught.value.retryable
    assert supervisor.children() == {}


# Errors that the harness finds when it opens a conversation.


class Named:
    """A tool with a name that functions cannot have."""

    __name__ = "a b"

    def __call__(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workspaces": ["/proc/none/at-all"]}, "/proc/none/at-all"),
        ({"tools": [ToolWithSchema(Named(), {"type": "object"})]}, 'invalid tool name "a b"'),
        ({"model": ""}, "model name must be set"),
    ],
    ids=["workspace", "tool", "model"],
)
def test_the_creator_gets_the_harnesss_reason_for_a_failed_start(
    model: ScriptedModel, supervisor: SupervisorRef, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(AgentStartError) as caught:
        supervisor.create_agent(model.openai_config(**settings), "ann")

    words = "agent 'ann' did not start: localharness did not open its conversation: "
    assert str(caught.value).startswith(words)
    assert said in str(caught.value)
    assert not caught.value.retryable


def test_each_of_many_failed_starts_has_its_own_reason(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def start(number: int) -> str:
        workspace = f"/proc/none/{number}/end"
        with pytest.raises(AgentStartError) as caught:
            supervisor.create_agent(model.openai_config(workspaces=[workspace]))
        return str(caught.value)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        told = list(pool.map(start, range(8)))

    assert all(f"/proc/none/{number}/end" in words for number, words in enumerate(told))


# Errors that the harness finds when a turn begins.


def same(number: int) -> int:
    """Return a number."""
    return number


PATTERN = {"type": "string", "pattern": "(?=x)"}
"""It has a part that Python's regular expressions support and the harness's do not."""


@pytest.mark.parametrize(
    ("settings", "culprit", "said"),
    [
        (
            {"response_schema": {"type": "object", "properties": {"x": PATTERN}}},
            "the response_schema",
            "/properties/x/pattern",
        ),
        (
            {"tools": [ToolWithSchema(same, [])]},  # type: ignore[arg-type] # a user's mistake
            "the schema of tool 'same'",
            "cannot unmarshal array",
        ),
    ],
    ids=["response_schema", "tool"],
)
def test_a_schema_that_the_harness_refuses_is_named(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    settings: dict[str, Any],
    culprit: str,
    said: str,
) -> None:
    agent = supervisor.create_agent(model.openai_config(**settings), "ann")

    with pytest.raises(SetupError) as caught:
        agent.ask(Chat("hi", timeout=PATIENCE))

    assert str(caught.value).startswith(f"{culprit} of agent 'ann' cannot be used")
    assert said in str(caught.value)
    assert not caught.value.retryable
    assert agent.ask(GetStatistics()).name == "ann"


def test_an_address_without_a_model_is_named(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    address = f"{model.base_url}/no/model/here"
    agent = supervisor.create_agent(LocalOpenAIAgentConfig(base_url=address, model="m"))

    with pytest.raises(ModelError, match=f"the model's service at {address} answered 404"):
        agent.ask(Chat("hi", timeout=PATIENCE))


# Whether another start may succeed.


@pytest.mark.parametrize(
    "start",
    [
        (FAILS, "no such luck"),
        ("exit 3", "no output"),
        (HANGS, "the start did not end in 1 s"),
    ],
    ids=["dies", "dies silently", "hangs"],
)
def test_a_start_that_may_succeed_later_is_retryable(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: tuple[str, str],
) -> None:
    script, said = start
    monkeypatch.setenv("AGY_ACTORS_START_TIMEOUT", "1")

    with pytest.raises(AgentStartError) as caught:
        supervisor.create_agent(model.openai_config(env=fake_harness(tmp_path, script)))

    assert caught.value.retryable
    assert not isinstance(caught.value, InvalidConfig)
    assert said in str(caught.value)
