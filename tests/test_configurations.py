"""Configurations that the testing kit does not create reach the SDK unchanged."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import (
    AgentBehavior,
    Audio,
    BuiltinTools,
    CapabilitiesConfig,
    CompactionConfig,
    CustomSystemInstructions,
    Document,
    GeminiAPIEndpoint,
    GeminiModelOptions,
    Image,
    LiteRTAgentConfig,
    LiteRTBackend,
    LocalAgentConfig,
    ModelOutputRetryConfig,
    ModelTarget,
    ModelType,
    RetryConfig,
    ServiceTier,
    SystemInstructionSection,
    TemplatedSystemInstructions,
    ThinkingLevel,
    ToolContext,
    ToolExecutionError,
    ToolOutputTruncationConfig,
    VertexEndpoint,
    Video,
    from_bytes,
    from_file,
)
from google.antigravity.hooks import hooks, policy
from google.antigravity.types import (
    BudgetConfig,
    RunCommandConfig,
    Step,
    StepType,
    StopReason,
)

from agy_actors import (
    AgentStartError,
    Chat,
    GetCompactionIndices,
    GetConversationId,
    GetHistory,
    GetStatistics,
    ModelError,
)
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import SupervisorRef


@contextmanager
def vertex(paths: list[str]) -> Iterator[str]:
    """Serve answers of Vertex AI, and record the requested paths."""

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

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # its name there
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
def test_a_vertex_endpoint_is_asked_in_both_modes(
    supervisor: SupervisorRef, settings: dict[str, Any], path: str
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


def test_a_missing_litert_model_is_a_start_error_that_names_it(
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


def has_a_line(file: Path) -> bool:
    return file.exists() and file.read_text().endswith("\n")


def test_commands_run_in_the_sandbox_if_it_is_configured(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    filters = {}

    for sandboxed in (True, False):
        told = tmp_path / f"{sandboxed}.txt"
        line = f"grep Seccomp_filters /proc/self/status > {told}"
        model.then(call_tool("run_command", {"CommandLine": line, "Cwd": str(tmp_path)}))
        run_command = RunCommandConfig(enable_sandbox=sandboxed)
        config = model.openai_config(
            capabilities=CapabilitiesConfig(run_command_config=run_command),
            policies=[policy.allow_all()],
            workspaces=[str(tmp_path)],
        )
        agent = supervisor.create_agent(config)
        status = agent.ask(GetStatistics()).sandbox
        assert status is not None
        assert status.available
        agent.ask(Chat("How safe are we?"))
        # A long command continues after its turn.
        until(partial(has_a_line, told))
        filters[sandboxed] = int(told.read_text().removeprefix("Seccomp_filters:"))

    assert filters[True] > filters[False]


@pytest.mark.parametrize(
    ("instructions", "said", "whole"),
    [
        ("Be brief.", ["Be brief."], False),
        (CustomSystemInstructions(text="Be brief."), ["Be brief."], True),
        (
            TemplatedSystemInstructions(
                identity="You are Ann.",
                sections=[SystemInstructionSection(title="style", content="Be brief.")],
            ),
            ["<identity>\nYou are Ann.\n</identity>", "<style>\nBe brief.\n</style>"],
            False,
        ),
    ],
)
def test_system_instructions_of_every_kind_reach_the_model(
    supervisor: SupervisorRef,
    model: ScriptedModel,
    instructions: Any,
    said: list[str],
    whole: bool,
) -> None:
    agent = supervisor.create_agent(model.openai_config(system_instructions=instructions))

    agent.ask(Chat("hi"))

    system = model.requests[0].system
    assert all(words in system for words in said)
    assert (system == said[0]) is whole


def test_the_settings_of_a_model_and_its_endpoint_are_sent(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    options = GeminiModelOptions(
        thinking_level=ThinkingLevel.LOW, service_tier=ServiceTier.FLEX, max_output_tokens=77
    )
    endpoint = GeminiAPIEndpoint(
        base_url=model.base_url,
        api_key="a-key",
        http_headers={"x-team": "poets"},
        options=options,
    )
    model.then(call_tool("generate_image", {"Prompt": "a dot", "ImageName": "dot"}))
    config = LocalAgentConfig(
        models=[
            ModelTarget(name="poet", types=[ModelType.TEXT], endpoint=endpoint),
            ModelTarget(name="painter", types=[ModelType.IMAGE], endpoint=endpoint),
        ],
        policies=[policy.allow_all()],
    )

    supervisor.create_agent(config).ask(Chat("Paint a dot"))

    text, image, _ = model.requests
    assert (text.model, image.model, image.prompt) == ("poet", "painter", "a dot")
    assert text.headers["x-team"] == "poets"
    assert text.body["serviceTier"] == "flex"
    assert text.body["generationConfig"]["maxOutputTokens"] == 77
    assert text.body["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "low"


def test_media_of_every_kind_reach_the_model(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"a picture")
    media = [
        from_file(picture),
        from_bytes(b"a plan", "application/pdf"),
        Image(data=b"a photo", mime_type="image/jpeg"),
        Document(data=b"a letter", mime_type="text/plain"),
        Audio(data=b"a song", mime_type="audio/wav"),
        Video(data=b"a film", mime_type="video/mp4"),
    ]
    agent = supervisor.create_agent(model.gemini_config())

    agent.ask(Chat(["What is this?", *media]))

    parts = [part for content in model.requests[0].body["contents"] for part in content["parts"]]
    sent = [part["inlineData"] for part in parts if "inlineData" in part]
    kinds = {(part["mimeType"], base64.b64decode(part["data"])) for part in sent}
    assert kinds == {(medium.mime_type, medium.data) for medium in media}
    assert model.requests[0].prompt == "What is this?"


def test_an_openai_compatible_service_gets_text_images_and_audio_only(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    media = [
        Image(data=b"a photo", mime_type="image/jpeg"),
        Audio(data=b"a song", mime_type="audio/wav"),
        Video(data=b"a film", mime_type="video/mp4"),
        Document(data=b"a letter", mime_type="text/plain"),
    ]
    agent = supervisor.create_agent(model.openai_config())

    agent.ask(Chat(["What is this?", *media]))

    kinds = [part["type"] for part in model.requests[0].body["messages"][-1]["content"]]
    assert sorted(kinds) == ["image_url", "input_audio", "text"]


def test_a_tool_has_a_context_and_its_output_is_cut_as_configured(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    def count(context: ToolContext) -> str:
        """Counts its calls, at length."""
        calls = context.get_state("calls", 0) + 1
        context.set_state("calls", calls)
        return f"{context.conversation_id} call {calls} {'and so on ' * 1000}the end"

    model.then(call_tool("count"), call_tool("count"), say("counted"))
    capabilities = CapabilitiesConfig(
        enabled_tools=[],
        agent_behavior=AgentBehavior.MINIMAL,
        tool_output_truncation_config=ToolOutputTruncationConfig(max_tokens=50),
    )
    agent = supervisor.create_agent(model.openai_config(tools=[count], capabilities=capabilities))

    agent.ask(Chat("count twice"))

    last = model.requests[-1]
    assert last.tools == ("count",)
    assert last.body["tools"][0]["function"]["parameters"].get("properties", {}) == {}
    for number, result in enumerate(last.tool_results, start=1):
        assert f"{agent.ask(GetConversationId())} call {number}" in result.output
        assert "OUTPUT TRUNCATED" in result.output
        assert "the end" not in result.output


def test_files_are_visible_in_workspaces_only_and_a_hook_words_the_refusal(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    errors: list[Exception] = []

    @hooks.on_tool_error
    def reword(error: Exception) -> str:
        errors.append(error)
        return "look elsewhere"

    (tmp_path / "inside.txt").write_text("found me")
    paths = [str(tmp_path / "inside.txt"), str(tmp_path / "missing.txt"), "/etc/hostname"]
    looks = [call_tool("view_file", {"AbsolutePath": path}, text="Hm. ") for path in paths]
    model.then(*looks, say("seen"))
    config = model.openai_config(
        capabilities=CapabilitiesConfig(enabled_tools=[BuiltinTools.VIEW_FILE]),
        policies=[*policy.workspace_only([tmp_path]), policy.allow_all()],
        workspaces=[str(tmp_path)],
        hooks=[reword],
    )

    supervisor.create_agent(config).ask(Chat("look around"))

    inside, missing, outside = [result.output for result in model.requests[-1].tool_results]
    assert "found me" in inside
    assert "look elsewhere" in missing
    assert "outside the allowed workspace" in outside
    assert isinstance(errors[0], ToolExecutionError)
    assert errors[0].tool_name == "view_file"


def test_a_turn_beyond_its_budget_has_a_stop_reason(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    def work() -> str:
        """Works."""
        return "worked"

    model.then(call_tool("work"), say("never asked for"))
    config = model.openai_config(tools=[work], budget_config=BudgetConfig(max_model_calls=1))

    reply = supervisor.create_agent(config).ask(Chat("work"))

    assert reply.stop_reason is StopReason.MAX_MODEL_CALLS_EXCEEDED
    assert reply.text == ""
    assert len(model.requests) == 1


def test_a_long_conversation_is_compacted_and_continues(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    seen: list[Step] = []

    @hooks.on_compaction
    def note(step: Step) -> None:
        seen.append(step)

    model.when("long", say("word " * 1500, chunks=5000))
    config = model.openai_config(
        compaction_config=CompactionConfig(token_threshold=5000), hooks=[note]
    )
    agent = supervisor.create_agent(config)

    for number in range(3):
        agent.ask(Chat(f"long {number}: {'more ' * 500}"))
    reply = agent.ask(Chat("and on"))

    assert reply.text == "echo: and on"
    (place,) = agent.ask(GetCompactionIndices())
    assert agent.ask(GetHistory())[place].type is StepType.COMPACTION
    assert [step.type for step in seen] == [StepType.COMPACTION]
    spoken = len([1 for role, _ in model.requests[-1].messages if role == "assistant"])
    assert spoken < 3  # The answers of the earlier turns, not a summary.


def test_unusable_answers_are_requested_again_as_often_as_configured(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    for retries in (0, 1):
        retry = RetryConfig(model_output_retry=ModelOutputRetryConfig(max_retries=retries))
        agent = supervisor.create_agent(model.openai_config(retry_config=retry))
        model.reset()
        model.when("call it", call_tool("no_such_tool"))

        with pytest.raises(ModelError, match="no_such_tool"):
            agent.ask(Chat("call it"))

        assert len(model.requests) == 1 + retries
