"""The secrets of a configuration, and the values that stay readable in errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity.hooks import policy
from google.antigravity.types import (
    GeminiAPIEndpoint,
    McpStdioServer,
    McpStreamableHttpServer,
    ModelTarget,
)

from agy_actors import Chat, SetupError
from agy_actors._agents.config_secrets import api_keys, secrets_in, service_of

if TYPE_CHECKING:
    from google.antigravity.types import McpServerConfig

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

ADDRESS = "http://127.0.0.1:1"


def config(*servers: McpServerConfig, **settings: Any) -> LocalOpenAIAgentConfig:
    return LocalOpenAIAgentConfig(
        base_url=settings.pop("base_url", ADDRESS),
        model="m",
        mcp_servers=list(servers),
        policies=[policy.allow_all()],
        **settings,
    )


def stdio(*args: str, **env: str) -> McpStdioServer:
    return McpStdioServer(name="shop", command="shop", args=list(args), env=env)


def http(url: str, **headers: str) -> McpStreamableHttpServer:
    return McpStreamableHttpServer(name="shop", url=url, headers=headers)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("server", "secrets"),
    [
        (stdio(TOKEN="abcdef"), {"abcdef"}),
        (stdio(SHOP_PASSWORD="/with/slashes"), {"/with/slashes"}),
        (stdio(ANYTHING="x8Hq-11ab"), {"x8Hq-11ab"}),
        (stdio(DATABASE="postgres://ada:pa%24sword@db/shop"), {"pa%24sword", "pa$sword"}),
        (stdio("--api-key", "abcdef1"), {"abcdef1"}),
        (stdio("--token=abcdef1"), {"abcdef1"}),
        (stdio("https://ada:password@shop"), {"password"}),
        (http(f"{ADDRESS}/mcp?key=Abc123"), {"Abc123"}),
        (http(ADDRESS, Authorization="Bearer Abc123"), {"Bearer Abc123", "Abc123"}),
        (http(ADDRESS, **{"X-Api-Key": 'Abc"123'}), {'Abc"123', 'Abc\\"123'}),
    ],
    ids=lambda value: "" if isinstance(value, set) else None,
)
def test_the_settings_of_an_mcp_server_may_be_secret(
    server: McpServerConfig, secrets: set[str]
) -> None:
    assert secrets_in(config(server)) == secrets


@pytest.mark.parametrize(
    "server",
    [
        stdio("-m", "shop.server", "--port", "8000", "/srv/shop/server.py"),
        stdio(PYTHONPATH="/srv/shop", MODE="production", DEBUG="true", PORT="8000", HOME="~/x"),
        stdio(SHOP="http://localhost:8000/shop"),
        stdio(TOKEN="short"),
        http(f"{ADDRESS}/mcp?page=3&mode=all", Accept="application/json"),
    ],
)
def test_values_that_are_clearly_not_secret_stay_readable(server: McpServerConfig) -> None:
    assert secrets_in(config(server)) == set()


def test_keys_of_models_are_secret_in_every_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "from-the-environment-1")
    endpoint = GeminiAPIEndpoint(api_key="key-of-endpoint", http_headers={"X": "header-1"})
    found = secrets_in(
        config(
            base_url="http://ada:password@127.0.0.1:1/?token=Abc123",
            env={"OTHER_KEY": "variable-1"},
        ).model_copy(update={"models": [ModelTarget(name="m", endpoint=endpoint)]})
    )

    assert found == {
        "from-the-environment-1",
        "key-of-endpoint",
        "header-1",
        "password",
        "Abc123",
        "variable-1",
    }


def test_agents_with_one_key_share_its_quota_for_any_settings_of_their_servers() -> None:
    assert api_keys(config(stdio(TOKEN="abcdef"))) == api_keys(config()) == set()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (ADDRESS, ADDRESS),
        ("http://ada:password@host:8000/v1?key=abc", "http://host:8000/v1"),
        ("http://[", ""),
    ],
)
def test_the_address_of_a_service_is_shown_without_secrets(address: str, shown: str) -> None:
    assert service_of(config(base_url=address)) == shown


@pytest.mark.parametrize(
    "server",
    [
        McpStdioServer(
            name="shop",
            command="/bin/sh",
            args=["-c", "echo $SHOP $0 >&2; exit 3", "--key=argument-42"],
            env={"SHOP": "variable-42"},
        ),
        http("http://ada:password-42@127.0.0.1:9/?key=query-42", Authorization="Bearer header-42"),
    ],
    ids=["stdio", "http"],
)
def test_no_secret_of_a_server_is_in_the_error_of_its_start(
    model: ScriptedModel, supervisor: SupervisorRef, server: McpServerConfig
) -> None:
    settings = model.openai_config(mcp_servers=[server], policies=[policy.allow_all()])
    agent = supervisor.create_agent(settings)

    with pytest.raises(SetupError) as caught:
        agent.ask(Chat("hi"))

    told = str(caught.getrepr(style="native", chain=True))
    # The source of this test is in the traceback.
    words = "\n".join(line for line in told.splitlines() if not line.startswith("    "))
    assert "shop" in words
    assert "-42" not in words
