"""Configurations that the testing kit does not make: each reaches the SDK as it is."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import (
    AgentConfig,
    CapabilitiesConfig,
    LiteRTAgentConfig,
    LiteRTBackend,
    LocalAgentConfig,
    ModelTarget,
    VertexEndpoint,
)
from google.antigravity.connections.connection import Connection, ConnectionStrategy
from google.antigravity.hooks import policy
from google.antigravity.types import (
    RunCommandConfig,
    Step,
    StepSource,
    StepStatus,
    StepTarget,
    StepType,
)

from agy_actors import AgentStartError, Chat, GetHistory, GetStatistics, IsIdle
from agy_actors.testing import ScriptedModel, call_tool, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from agy_actors import SupervisorRef


class Parrot(Connection):
    """A connection to no process: it says what it is told."""

    def __init__(self) -> None:
        self._said: list[str] = []

    @property
    def is_idle(self) -> bool:
        return not self._said

    @property
    def conversation_id(self) -> str:
        return "parrot"

    async def send(self, prompt: Any, **_: Any) -> None:
        self._said.append(str(prompt))

    async def receive_steps(self) -> AsyncIterator[Step]:
        while self._said:
            text = self._said.pop(0)
            yield Step(
                id="1",
                type=StepType.TEXT_RESPONSE,
                source=StepSource.MODEL,
                target=StepTarget.USER,
                status=StepStatus.DONE,
                content=text,
                content_delta=text,
                is_complete_response=True,
            )

    async def send_trigger_notification(self, content: str) -> None:
        self._said.append(content)


class ParrotStrategy(ConnectionStrategy):
    def connect(self) -> Connection:
        return Parrot()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        pass


class ParrotConfig(AgentConfig):
    def create_strategy(self, *, tool_runner: Any, hook_runner: Any) -> ConnectionStrategy:
        return ParrotStrategy()


def test_an_agent_on_a_connection_of_your_own_is_one_like_others(
    supervisor: SupervisorRef,
) -> None:
    parrot = supervisor.create_agent(ParrotConfig(), "parrot")

    texts = [parrot.ask(Chat(text)).text for text in ("hello", "pretty boy")]

    assert texts == ["hello", "pretty boy"]
    assert "".join(parrot.stream("and again")) == "and again"
    assert [step.content for step in parrot.ask(GetHistory())] == [*texts, "and again"]
    assert parrot.ask(IsIdle())
    assert parrot.ask(GetStatistics()).harness_pid is None


@contextmanager
def vertex(paths: list[str]) -> Iterator[str]:
    """Serve what Vertex AI answers, and note which paths it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            paths.append(self.path.partition("?")[0])
            content = {"role": "model", "parts": [{"text": "from Vertex"}]}
            answer = {"candidates": [{"content": content, "finishReason": "STOP"}]}
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(f"data: {json.dumps(answer)}\n\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"api_key": "a-key"}, "publishers/google"),
        ({"project": "poems", "location": "europe-west4"}, "projects/poems/locations/europe-west4"),
    ],
)
def test_a_vertex_endpoint_is_asked_in_either_mode(
    supervisor: SupervisorRef, settings: dict[str, str], path: str
) -> None:
    paths: list[str] = []
    with vertex(paths) as address:
        target = ModelTarget(name="gemini-x", endpoint=VertexEndpoint(base_url=address, **settings))
        config = LocalAgentConfig(models=[target], vertex=True, **settings)
        agent = supervisor.create_agent(config)

        reply = agent.ask(Chat("Who are you?"))

    assert reply.text == "from Vertex"
    assert all(path in asked and "gemini-x" in asked for asked in paths)
    assert paths


def test_a_litert_model_that_is_not_there_is_a_start_error_that_names_it(
    supervisor: SupervisorRef, tmp_path: Path
) -> None:
    config = LiteRTAgentConfig(
        model_path=str(tmp_path / "gemma.litertlm"), backend=LiteRTBackend.CPU
    ).lightweight()

    with pytest.raises(
        AgentStartError, match=r"LiteRT model path does not exist: .*gemma\.litertlm"
    ):
        supervisor.create_agent(config)

    assert supervisor.children() == {}


def test_commands_run_in_the_sandbox_where_it_is_asked_for(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    command = {"CommandLine": "grep Seccomp_filters /proc/self/status", "Cwd": str(tmp_path)}
    command["WaitMsBeforeAsync"] = 10_000  # Else a slow one goes on in the background.
    filters = {}

    for sandboxed in (True, False):
        model.then(call_tool("run_command", command), say("done"))
        run_command = RunCommandConfig(enable_sandbox=sandboxed)
        config = model.openai_config(
            capabilities=CapabilitiesConfig(run_command_config=run_command),
            policies=[policy.allow_all()],
            workspaces=[str(tmp_path)],
        )
        supervisor.create_agent(config).ask(Chat("How safe are we?"))
        printed = model.requests[-1].tool_results[-1].output
        filters[sandboxed] = int(printed.rpartition("Seccomp_filters:")[2])

    assert filters[True] > filters[False]
