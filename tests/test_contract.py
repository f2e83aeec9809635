"""Every part of the SDK that agy_actors rests on, public or private, by its name.

A release that has another shape fails here with the name of the part, and not somewhere
else with a hang. What the parts *do* is shown by all other tests.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import Agent, LocalOpenAIAgentConfig
from google.antigravity.conversation.conversation import Conversation
from google.antigravity.hooks.hook_runner import _HOOK_TYPE_REGISTRY, HookRunner
from google.antigravity.tools.tool_runner import ToolRunner
from google.antigravity.types import Image
from loguru import logger

from agy_actors import Chat, Supervisor
from agy_actors._agents.prompts import (
    HARNESS_TEXT_BYTES,
    MAX_BYTES,
    MAX_TEXT_BYTES,
    WRAPPING_BYTES,
)
from agy_actors._sdk.adapter import Harness
from agy_actors._sdk.hook_calls import KINDS as HOOKS
from agy_actors._sdk.hook_calls import HookCalls
from agy_actors._sdk.runner_patches import no_variables
from agy_actors._sdk.schema_models import remember_models
from agy_actors._sdk.step_watch import watch_steps
from agy_actors._sdk.tool_results import MAX_MEDIA, MAX_RESULT
from agy_actors._sdk.tools import no_observer
from agy_actors.testing import call_tool, say
from tests.harnesses import PATIENCE
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors.testing import ScriptedModel

SDK = "google.antigravity"
LOCAL = f"{SDK}.connections.local.local_connection"

NAMES = [
    # The parts of an agent.
    f"{SDK}:Agent",
    f"{SDK}:AgentConfig",
    f"{SDK}:LocalAgentConfig",
    f"{SDK}:LocalOpenAIAgentConfig",
    f"{SDK}.connections.connection:Connection",
    f"{SDK}.connections.connection:ConnectionStrategy",
    f"{SDK}.connections.connection:resolve_active_tools",
    f"{SDK}.connections.local.interactions_config_converter:callable_to_function_tool_dict",
    f"{SDK}.connections.local.struct_converter:has_proto_extensions",
    f"{SDK}.connections.local.struct_converter:to_struct",
    f"{SDK}.hooks:OnInteractionHook",
    f"{SDK}.hooks.policy:Policy",
    f"{SDK}.hooks.policy:deny_all",
    # The results of a turn.
    *(
        f"{SDK}.types:{name}"
        for name in [
            "AntigravityCancelledError",
            "AskQuestionEntry",
            "Audio",
            "BuiltinTools",
            "Document",
            "Image",
            "QuestionHookResult",
            "QuestionResponse",
            "SandboxStatus",
            "SessionContinuationMode",
            "SlashCommand",
            "Step",
            "StepSource",
            "StepStatus",
            "StepTarget",
            "StepType",
            "StopReason",
            "Text",
            "Thought",
            "ToolCall",
            "UsageMetadata",
            "Video",
        ]
    ),
    *(
        f"{SDK}.types:{name}"
        for name in [
            "StepStatus.ACTIVE",
            "StepStatus.DONE",
            "StepStatus.ERROR",
            "StepStatus.CANCELED",
            "StepType.COMPACTION",
            "StepType.FINISH",
            "StepType.TOOL_CALL",
            "StepSource.MODEL",
            "StepSource.SYSTEM",
            "StepSource.USER",
            "StepTarget.USER",
            "StopReason.UNSPECIFIED",
            "SessionContinuationMode.CREATE_OR_RESUME",
        ]
    ),
    # Starting the process, and its connection.
    f"{LOCAL}:LocalConnection",
    f"{LOCAL}:LocalConnectionStrategy._connect_websocket",
    f"{LOCAL}:LocalConnectionStrategy._spawn_harness_and_connect_ws",
    f"{LOCAL}:_get_sdk_version",
    f"{SDK}.proto.localharness_pb2:ClientInfo",
    f"{SDK}.proto.localharness_pb2:InputConfig",
    f"{SDK}.proto.localharness_pb2:OutputConfig",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_sdk_exists(name: str) -> None:
    module, _, path = name.partition(":")

    attrgetter(path)(importlib.import_module(module))


SIGNATURES: list[tuple[Any, str]] = [
    (Agent.__init__, "self, config"),
    (LocalOpenAIAgentConfig.create_strategy, "self, tool_runner, hook_runner"),
    (Conversation.send, "self, prompt, kwargs"),
    (Conversation.cancel, "self"),
    (HookRunner.dispatch_pre_turn, "self, prompt"),
    (ToolRunner.process_tool_calls, "self, tool_calls"),
    (ToolRunner.execute, "self, tool_name, kwargs"),
    (ToolRunner._execute_fn, "self, fn, kwargs"),
]


@pytest.mark.parametrize(
    ("function", "parameters"),
    SIGNATURES,
    ids=[function.__qualname__ for function, _ in SIGNATURES],
)
def test_a_function_of_the_sdk_takes_our_arguments(function: Any, parameters: str) -> None:
    assert ", ".join(inspect.signature(function).parameters) == parameters


FIELDS = {
    "AgentConfig": (
        "app_data_dir capabilities conversation_id hooks mcp_servers policies response_schema"
        " save_dir session_continuation_mode subagents tools triggers"
    ),
    "types.Step": (
        "content content_delta error is_complete_response source status step_index"
        " structured_output target thinking_delta tool_calls trajectory_id type"
    ),
    "types.ToolCall": "args id name",
    "types.UsageMetadata": "total_token_count",
    "types.HookResult": "allow message",
    "types.AskQuestionEntry": "options question",
    "types.QuestionResponse": "freeform_response selected_option_ids skipped",
}


@pytest.mark.parametrize(
    ("model", "field"),
    [(model, field) for model, fields in FIELDS.items() for field in fields.split()],
)
def test_a_model_of_the_sdk_has_the_field(model: str, field: str) -> None:
    found = attrgetter(model)(importlib.import_module(SDK))

    assert field in found.model_fields or hasattr(found, field)


LIVE = (
    "_config",
    "conversation.connection._processor.step_queue",
    "conversation.connection._reader_task",
    "conversation.connection.receive_steps",
    "conversation.history",
    "conversation.is_idle",
    "conversation.sandbox_status",
    "conversation.total_usage",
    "conversation._last_turn_stop_reason",
)
"""Attributes of an open agent."""


def test_an_open_agent_has_the_attributes(model: ScriptedModel) -> None:
    harness = Harness(
        process_pool=None,
        conversation="",
        key="",
        grace=PATIENCE,
        has_turn=lambda: False,
        on_line=lambda *_: None,
        on_death=lambda: None,
        on_wait=lambda _: None,
        around=no_variables,
        around_tool=no_observer,
        hooks=HookCalls(lambda _: None, lambda _: None),
    )
    missing: list[str] = []

    async def look() -> None:
        agent = Agent(model.openai_config())
        harness.adopt(agent)
        try:
            async with agent:
                assert harness.pid is not None, "the SDK started its process in its own way"
                for path in LIVE:
                    try:
                        attrgetter(path)(agent)
                    except AttributeError as error:
                        missing.append(str(error))
                watch_steps(agent, lambda: None)
        finally:
            harness.dispose()

    asyncio.run(asyncio.wait_for(look(), PATIENCE))
    assert missing == []


def sent(model: ScriptedModel, protocol: str) -> str:
    """Return the last prompt as it was sent, in the harness's tags."""
    body = model.requests[-1].body
    if protocol == "openai":
        return str(body["messages"][-1]["content"])
    return str(body["contents"][-1]["parts"][0]["text"])


@pytest.mark.parametrize("protocol", quick(["openai", "gemini"], 0))
@pytest.mark.parametrize(
    "character",
    [
        pytest.param("a", marks=pytest.mark.slow),
        pytest.param("\xe9", marks=pytest.mark.slow),
        "\N{GRINNING FACE}",
    ],
    ids=["1", "2", "4"],
)
def test_the_harness_cuts_a_prompt_at_the_documented_length(
    model: ScriptedModel,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    character: str,
) -> None:
    monkeypatch.setattr("agy_actors._agents.agent_messages.check_prompt", lambda _: None)
    configure = model.openai_config if protocol == "openai" else model.gemini_config
    size = len(character.encode())
    with Supervisor.start() as supervisor:

        def ask(prompt: str | list[str]) -> str:
            agent = supervisor.create_agent(configure())
            agent.ask(Chat(prompt), timeout=PATIENCE)
            return sent(model, protocol)

        wrapping = len(ask("x").encode()) - 1
        count, rest = divmod(HARNESS_TEXT_BYTES - wrapping, size)
        text = character * count + "b" * rest  # The maximum length, to the byte.
        half = len(text) // 2

        assert wrapping <= WRAPPING_BYTES
        for prompt in (text, [text[:half], text[half:]]):
            assert f"\n{text}\n</USER_REQUEST>" in ask(prompt)
        for prompt in (text + "b", [text[:half], text[half:] + "b"]):
            assert "<truncated" in ask(prompt)


@pytest.mark.parametrize("protocol", quick(["openai", "gemini"], 0))
def test_the_longest_prompt_with_the_largest_media_reaches_the_model(
    model: ScriptedModel, protocol: str
) -> None:
    configure = model.openai_config if protocol == "openai" else model.gemini_config
    text = "\N{GRINNING FACE}" * (MAX_TEXT_BYTES // 4)
    image = Image(data=bytes(MAX_BYTES), mime_type="image/png")
    with Supervisor.start() as supervisor:
        supervisor.create_agent(configure()).ask(Chat([text, image]), timeout=4 * PATIENCE)

    assert model.requests[-1].prompt == text


REWRITTEN = {
    "a\0b": "a b",
    "a\x1bb": "a b",
    "a\x85b": "a b",
    "a\N{REPLACEMENT CHARACTER}b": "a b",
    "a\N{ZERO WIDTH SPACE}b": "ab",
    "a\N{ZERO WIDTH JOINER}b": "ab",
    "\N{BYTE ORDER MARK}ab": "ab",
    "a\N{RIGHT-TO-LEFT OVERRIDE}b": "ab",
    "a\N{SOFT HYPHEN}b": "ab",
    "a\ue000b": "ab",
    " \ta\r\nb\rc\n\n ": " \ta\r\nb\rc\n\n ",
    "cafe\N{COMBINING ACUTE ACCENT}": "cafe\N{COMBINING ACUTE ACCENT}",
    "a\N{LINE SEPARATOR}b\N{NO-BREAK SPACE}c": "a\N{LINE SEPARATOR}b\N{NO-BREAK SPACE}c",
}


@pytest.mark.parametrize("protocol", quick(["openai", "gemini"], 0))
def test_the_harness_rewrites_text_as_the_guide_says(model: ScriptedModel, protocol: str) -> None:
    configure = model.openai_config if protocol == "openai" else model.gemini_config
    with Supervisor.start() as supervisor:
        agent = supervisor.create_agent(configure())
        for prompt in REWRITTEN:
            agent.ask(Chat(prompt), timeout=PATIENCE)

    prompts = [request.prompt for request in model.requests]
    assert prompts == list(REWRITTEN.values())


def test_a_configuration_turns_schemas_into_text_in_the_known_place() -> None:
    assert remember_models()


def test_a_runner_lists_hooks_of_the_known_kinds() -> None:
    assert {kind.where for kind in HOOKS} == {where for _, where in _HOOK_TYPE_REGISTRY}
    assert all(getattr(HookRunner(), kind.where) == [] for kind in HOOKS)


def test_an_agent_starts_without_a_warning_about_the_sdk(model: ScriptedModel) -> None:
    warnings: list[str] = []
    logger.enable("agy_actors")
    sink = logger.add(warnings.append, level="WARNING")
    try:
        with Supervisor.start() as supervisor:
            supervisor.create_agent(model.openai_config())
    finally:
        logger.remove(sink)
        logger.disable("agy_actors")

    assert warnings == []


@pytest.fixture
def sent_result(
    model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], str]]:
    """Return a tool's result as the model gets it if only the harness cuts it."""
    monkeypatch.setattr("agy_actors._sdk.adapter.guard_tools", lambda *_: None)

    def ask(result: str) -> str:
        def tool() -> str:
            """Give much."""
            return result

        model.then(call_tool("tool"), say("done"))
        agent = supervisor.create_agent(model.openai_config(tools=[tool]))
        agent.ask(Chat("go"), timeout=PATIENCE)
        results = model.requests[-1].tool_results
        return results[0].output if results else ""

    with Supervisor.start() as supervisor:
        yield ask


def test_the_harness_cuts_a_tools_result_just_above_our_limit(
    sent_result: Callable[[str], str],
) -> None:
    beside = len('{"result": ""}')

    whole = sent_result("x" * (MAX_RESULT - beside))
    cut = sent_result("x" * (MAX_RESULT + 300))

    assert "truncated" not in whole
    assert "truncated" in cut


def test_the_harness_takes_messages_just_above_our_limit_of_media(
    sent_result: Callable[[str], str],
) -> None:
    assert sent_result("x" * (MAX_MEDIA + 2 * MAX_RESULT))
    assert not sent_result("x" * (MAX_MEDIA + 5_000_000))
