"""The spans of turns."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from google.antigravity.utils.otel import get_otel_hooks
from loguru import logger
from opentelemetry.trace import StatusCode
from werkzeug.serving import make_server

from agy_actors import Chat, InvalidConfig, ModelError, Supervisor, TurnTimeout
from agy_actors.telemetry import add_trace_ids, instrument
from agy_actors.testing import Usage, call_tool, http_error, say, silence
from tests.harnesses import PATIENCE, kill_harness, until
from tests.telemetry.traces import context_of, outline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from wsgiref.types import WSGIApplication

    from agy_actors import AgentRef, SupervisorRef
    from agy_actors.telemetry import Instrumentation
    from agy_actors.testing import ScriptedModel
    from tests.telemetry.traces import Node, Traces

TOOL_SPANS = ["execute_tool look_up", "  query the database", "execute_tool compute", "  add"]


@pytest.fixture
def instrumented(supervisor: SupervisorRef, traces: Traces) -> Iterator[Instrumentation]:
    with instrument(supervisor, tracer_provider=traces.provider) as instrumentation:
        yield instrumentation


def with_tools(model: ScriptedModel, traces: Traces, **settings: Any) -> Any:
    """Return a configuration with a plain tool and a coroutine, each with a span of its own."""

    def look_up(city: str) -> str:
        """Look up a city."""
        with traces.tracer.start_as_current_span("query the database"):
            return f"{city} is cold"

    async def compute(number: int) -> int:
        """Compute."""
        with traces.tracer.start_as_current_span("add"):
            return number + 1

    return model.openai_config(tools=[look_up, compute], **settings)


def answer_with_tools(model: ScriptedModel) -> None:
    model.then(
        call_tool("look_up", {"city": "Oslo"}),
        call_tool("compute", {"number": 1}),
        say("done", usage=Usage(prompt=70, completion=5)),
    )


def wait_for_spans(traces: Traces, count: int) -> None:
    """Wait for spans whose end is later than the reply."""
    until(lambda: len(traces.spans) >= count)


def tokens_of(turn: Node) -> tuple[object, object]:
    facts = turn.facts
    return facts["gen_ai.usage.input_tokens"], facts["gen_ai.usage.output_tokens"]


def serve(app: WSGIApplication) -> Any:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_web_request_has_one_trace_with_the_crash_and_the_second_attempt(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    traces: Traces,
    instrumented: Instrumentation,
) -> None:
    agent = supervisor.create_agent(with_tools(model, traces), "weather")
    app = Flask(__name__)
    replies: list[Any] = []

    @app.get("/ask")
    def ask() -> str:
        with traces.tracer.start_as_current_span("GET /ask"):
            replies.append(agent.ask(Chat("How cold is it?"), timeout=PATIENCE))
        return str(replies[-1].text)

    model.then(silence())
    server = serve(app)
    url = f"http://127.0.0.1:{server.server_port}/ask"
    texts: list[str] = []
    client = threading.Thread(
        target=lambda: texts.append(urllib.request.urlopen(url).read().decode())
    )
    try:
        client.start()
        until(lambda: bool(model.requests))
        answer_with_tools(model)
        kill_harness(agent)
        client.join(PATIENCE)
    finally:
        server.shutdown()
        server.server_close()

    assert texts == ["done"]
    wait_for_spans(traces, 8)
    tree = traces.only_tree()
    assert outline(tree) == [
        "GET /ask",
        "  invoke_agent weather",
        "    agy_actors.attempt",
        "    agy_actors.attempt",
        *(f"      {line}" for line in TOOL_SPANS),
    ]
    (turn,) = tree.below
    first, second = turn.below
    assert turn.events == [
        "agy_actors.wait",
        "agy_actors.crash",
        "agy_actors.retry",
        "agy_actors.restart",
    ]
    assert turn.span.status.status_code is StatusCode.UNSET
    assert first.facts["error.type"] == "TurnInterrupted"
    assert first.span.status.status_code is StatusCode.ERROR
    assert (
        first.facts["agy_actors.attempt.number"],
        second.facts["agy_actors.attempt.number"],
    ) == (
        1,
        2,
    )
    assert second.span.status.status_code is StatusCode.UNSET
    (reply,) = replies
    assert reply.attempts == 2
    assert tokens_of(turn) == (
        reply.usage.prompt_token_count,
        reply.usage.candidates_token_count + (reply.usage.thoughts_token_count or 0),
    )
    assert turn.facts["gen_ai.conversation.id"] == reply.conversation_id
    assert turn.facts["gen_ai.provider.name"] == "openai"
    assert turn.facts["gen_ai.request.model"] == "scripted"
    assert turn.facts["gen_ai.operation.name"] == "invoke_agent"
    assert turn.facts["gen_ai.response.finish_reasons"] == ("stop",)
    tool = second.below[0]
    assert tool.facts["gen_ai.operation.name"] == "execute_tool"
    assert tool.facts["gen_ai.tool.name"] == "look_up"


def test_a_pool_a_stream_and_a_coroutine_have_the_trace_of_their_asker(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    traces: Traces,
    instrumented: Instrumentation,
) -> None:
    agent = supervisor.create_agent(with_tools(model, traces), "weather")
    pool = supervisor.create_pool(with_tools(model, traces), 1, "helpers")
    users = supervisor.create_sessions(with_tools(model, traces), name="users")

    async def ask() -> None:
        with traces.tracer.start_as_current_span("await"):
            await agent.ask("now", block=False)

    answer_with_tools(model)
    with traces.tracer.start_as_current_span("pool"):
        pool.ask(Chat("now"), timeout=PATIENCE)
    answer_with_tools(model)
    with traces.tracer.start_as_current_span("stream"), agent.stream("now") as stream:
        assert "".join(stream) == "done"
    answer_with_tools(model)
    asyncio.run(ask())
    answer_with_tools(model)
    with traces.tracer.start_as_current_span("session"):
        users["ada"].ask(Chat("now"), timeout=PATIENCE)

    wait_for_spans(traces, 28)
    names = {"pool": "helpers", "stream": "weather", "await": "weather", "session": "users"}
    assert [outline(tree) for tree in traces.trees()] == [
        [
            asker,
            f"  invoke_agent {name}",
            "    agy_actors.attempt",
            *(f"      {line}" for line in TOOL_SPANS),
        ]
        for asker, name in names.items()
    ]
    assert all("ada" not in str(tree.below[0].facts) for tree in traces.trees())


def test_a_durable_request_begins_a_trace_that_links_to_the_code_that_submitted_it(
    model: ScriptedModel, traces: Traces, tmp_path: Path
) -> None:
    with (
        Supervisor.start(state_dir=tmp_path) as supervisor,
        instrument(supervisor, tracer_provider=traces.provider),
    ):
        users = supervisor.create_sessions(model.openai_config(), name="users")
        with traces.tracer.start_as_current_span("POST /jobs"):
            receipt = users.submit("ada", "now")
        assert receipt.result(timeout=PATIENCE).text == "echo: now"
        wait_for_spans(traces, 3)

    job, turn = traces.trees()
    assert outline(turn) == ["invoke_agent users", "  agy_actors.attempt"]
    (link,) = turn.span.links
    assert link.context.span_id == context_of(job.span).span_id
    assert link.context.trace_id == context_of(job.span).trace_id


def test_an_agent_that_is_a_tool_of_another_has_the_same_trace(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    traces: Traces,
    instrumented: Instrumentation,
) -> None:
    expert = supervisor.create_agent(model.openai_config(), "expert")
    tool = expert.as_tool("ask_expert", "Ask an expert.")
    front = supervisor.create_agent(model.openai_config(tools=[tool]), "front")
    model.then(call_tool("ask_expert", {"prompt": "why?"}), say("because"), say("He says: because"))

    with traces.tracer.start_as_current_span("GET /"):
        reply = front.ask(Chat("Why?"), timeout=PATIENCE)

    assert reply.text == "He says: because"
    wait_for_spans(traces, 6)
    assert outline(traces.only_tree()) == [
        "GET /",
        "  invoke_agent front",
        "    agy_actors.attempt",
        "      execute_tool ask_expert",
        "        invoke_agent expert",
        "          agy_actors.attempt",
    ]


def test_an_error_of_a_turn_and_of_a_tool_ends_their_spans_with_its_type(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    traces: Traces,
    instrumented: Instrumentation,
) -> None:
    def fail() -> str:
        """Fail."""
        raise LookupError

    agent = supervisor.create_agent(model.openai_config(tools=[fail]), "weather")
    model.then(call_tool("fail", {}), http_error(400))

    with pytest.raises(ModelError):
        agent.ask(Chat("now"), timeout=PATIENCE)
    model.then(silence())
    with pytest.raises(TurnTimeout):
        agent.ask(Chat("now", timeout=0.2), timeout=PATIENCE)

    wait_for_spans(traces, 5)
    failed, late = traces.trees()
    assert outline(failed)[1:] == ["  agy_actors.attempt", "    execute_tool fail"]
    kinds = [failed, failed.below[0], failed.below[0].below[0], late, late.below[0]]
    assert [node.facts["error.type"] for node in kinds] == [
        "ModelError",
        "ModelError",
        "LookupError",
        "TurnTimeout",
        "TurnTimeout",
    ]
    assert all(node.span.status.status_code is StatusCode.ERROR for node in kinds)


def test_tools_of_the_harness_have_spans(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    traces: Traces,
    instrumented: Instrumentation,
    tmp_path: Any,
) -> None:
    from google.antigravity.types import BuiltinTools, CapabilitiesConfig  # noqa: PLC0415

    (tmp_path / "note.txt").write_text("hello")
    capabilities = CapabilitiesConfig(enabled_tools=[BuiltinTools.LIST_DIR])
    agent = supervisor.create_agent(
        model.openai_config(capabilities=capabilities, workspaces=[str(tmp_path)]), "reader"
    )
    model.then(call_tool("list_dir", {"DirectoryPath": str(tmp_path)}), say("one file"))

    assert agent.ask(Chat("List it"), timeout=PATIENCE).text == "one file"

    wait_for_spans(traces, 3)
    assert outline(traces.only_tree()) == [
        "invoke_agent reader",
        "  agy_actors.attempt",
        "    execute_tool list_directory",
    ]


def test_the_hooks_of_the_sdk_put_steps_below_the_attempt_and_make_no_duplicates(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    traces: Traces,
    instrumented: Instrumentation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("google.antigravity.utils.otel._get_tracer", lambda: traces.tracer)
    config = with_tools(model, traces, hooks=get_otel_hooks("weather"))
    agent = supervisor.create_agent(config, "weather")
    answer_with_tools(model)

    with traces.tracer.start_as_current_span("GET /"):
        agent.ask(Chat("now"), timeout=PATIENCE)
    agent.stop()

    trees = traces.trees()
    assert [tree.name for tree in trees] == ["antigravity.session", "GET /"]
    (turn,) = trees[1].below
    (attempt,) = turn.below
    names = [node.name for node in attempt.below]
    assert [name for name in names if not name.startswith("antigravity.step.")] == [
        "execute_tool look_up",
        "execute_tool compute",
    ]
    assert len(names) > 2
    assert sum(span.name.startswith("invoke_agent") for span in traces.spans) == 1


@pytest.mark.parametrize("wanted", [None, "true"])
def test_texts_are_recorded_only_if_the_environment_asks_for_them(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    traces: Traces,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str | None,
) -> None:
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    monkeypatch.delenv(name, raising=False)
    if wanted is not None:
        monkeypatch.setenv(name, wanted)
    config = model.gemini_config(api_key="sk-secret-1234")
    agent = supervisor.create_agent(config, "weather")
    model.then(say("cold, sk-secret-1234"))

    with instrument(supervisor, tracer_provider=traces.provider):
        agent.ask(Chat("How cold? sk-secret-1234"), timeout=PATIENCE)

    everything = [str(span.to_json()) for span in traces.spans]
    assert any("How cold?" in text for text in everything) is (wanted is not None)
    assert any("cold," in text for text in everything) is (wanted is not None)
    assert not any("sk-secret-1234" in text for text in everything)


def test_the_records_of_the_log_have_the_ids_of_the_span(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    traces: Traces,
    instrumented: Instrumentation,
) -> None:
    def log_it() -> str:
        """Log."""
        logger.patch(add_trace_ids).info("in the tool")
        return "logged"

    agent = supervisor.create_agent(model.openai_config(tools=[log_it]), "weather")
    model.then(call_tool("log_it", {}), say("done"))
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level="DEBUG")
    logger.enable("agy_actors")
    try:
        agent.ask(Chat("now"), timeout=PATIENCE)
        until(lambda: any("Turn ended" in record["message"] for record in records))
    finally:
        logger.disable("agy_actors")
        logger.remove(sink)

    wait_for_spans(traces, 3)
    ids = {span.name: f"{context_of(span).span_id:016x}" for span in traces.spans}
    found = {record["message"]: record["extra"].get("span_id") for record in records}
    assert found["in the tool"] == ids["execute_tool log_it"]
    assert found["Turn ended: well"] == ids["invoke_agent weather"]


class BadProcessor:
    """A span processor with an error."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise ValueError("on_start")

    def on_end(self, span: Any) -> None:
        raise ValueError("on_end")

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def test_an_error_of_telemetry_does_not_affect_the_turn(
    model: ScriptedModel, supervisor: SupervisorRef, traces: Traces
) -> None:
    agent = supervisor.create_agent(with_tools(model, traces), "weather")
    with instrument(supervisor, tracer_provider=traces.provider):
        traces.provider.add_span_processor(BadProcessor())  # type: ignore[arg-type]
        traces.tracer = type(traces)().tracer  # Not for the spans of the tools.
        answer_with_tools(model)
        assert agent.ask(Chat("now"), timeout=PATIENCE).text == "done"


def test_a_supervisor_is_instrumented_once_and_again_after_the_end(
    model: ScriptedModel, supervisor: SupervisorRef, traces: Traces
) -> None:
    agent: AgentRef = supervisor.create_agent(model.openai_config(), "weather")
    with (
        instrument(supervisor, tracer_provider=traces.provider),
        pytest.raises(InvalidConfig, match="close its instrumentation"),
    ):
        instrument(supervisor, tracer_provider=traces.provider)
    agent.ask(Chat("not recorded"), timeout=PATIENCE)
    assert traces.spans == ()

    with instrument(supervisor, tracer_provider=traces.provider):
        agent.ask(Chat("recorded"), timeout=PATIENCE)
    wait_for_spans(traces, 2)


def test_without_a_provider_nothing_is_recorded_and_turns_are_answered(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "weather")
    with instrument(supervisor):
        assert agent.ask(Chat("now"), timeout=PATIENCE).text == "echo: now"
