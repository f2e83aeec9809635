"""The SDK's hooks in an agent of an actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.antigravity import AgentBehavior, BuiltinTools, CapabilitiesConfig
from google.antigravity.hooks import hooks
from google.antigravity.types import (
    HookResult,
    QuestionHookResult,
    QuestionResponse,
    StopDecision,
    StopHookResult,
    ToolExecutionError,
)

from agy_actors import Chat
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from google.antigravity.types import (
        AskQuestionInteractionSpec,
        StopArgs,
        ToolResult,
    )
    from google.antigravity.types import ToolCall as SdkToolCall

    from agy_actors import SupervisorRef

SAY_OUTPUT = say(lambda request: request.tool_results[-1].output)
"""Let the model repeat the last tool's result."""


def double(number: int) -> int:
    """Double a number."""
    return 2 * number


def fail(why: str) -> str:
    """Do what cannot be done."""
    raise RuntimeError(why)


def test_a_hook_decides_on_the_arguments_that_the_one_before_it_has_changed(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    given: list[int] = []

    def keep(number: int) -> str:
        """Keep a number."""
        given.append(number)
        return f"kept {number}"

    @hooks.pre_tool_call_decide  # type: ignore[untyped-decorator] # the SDK's
    async def add_one(call: SdkToolCall) -> HookResult:
        return HookResult(modified_args={"number": call.args["number"] + 1})

    class OnlySmall(hooks.PreToolCallDecideHook):
        async def run(self, context: hooks.HookContext, data: SdkToolCall) -> HookResult:
            return HookResult(allow=data.args["number"] < 10, message="MARK: too big")

    model.then(call_tool("keep", {"number": 4}), call_tool("keep", {"number": 9}), say("done"))
    agent = supervisor.create_agent(model.openai_config(tools=[keep], hooks=[add_one, OnlySmall()]))

    agent.ask(Chat("go"), timeout=PATIENCE)

    allowed, denied = [result.output for result in model.requests[-1].tool_results]
    assert given == [5]
    assert "kept 5" in allowed
    assert "MARK: too big" in denied


def test_a_hook_for_tools_errors_may_leave_some_unchanged(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    failures: list[ToolExecutionError] = []
    results: list[ToolResult] = []

    @hooks.on_tool_error  # type: ignore[untyped-decorator] # the SDK's
    async def explain(error: Exception) -> str | None:
        assert isinstance(error, ToolExecutionError)
        failures.append(error)
        return "MARK: use another" if "one" in str(error) else None

    @hooks.post_tool_call  # type: ignore[untyped-decorator] # the SDK's
    async def used(result: ToolResult) -> None:
        results.append(result)

    model.then(call_tool("fail", {"why": "one"}), call_tool("fail", {"why": "two"}), say("done"))
    agent = supervisor.create_agent(model.openai_config(tools=[fail], hooks=[explain, used]))

    agent.ask(Chat("go"), timeout=PATIENCE)

    explained, plain = [result.output for result in model.requests[-1].tool_results]
    assert "MARK: use another" in explained
    assert "two" in plain
    assert [(error.tool_name, str(error)) for error in failures] == [
        ("fail", "one"),
        ("fail", "two"),
    ]
    assert results == []  # A failed tool has no result.


def test_a_stop_hook_decides_how_often_a_turn_continues(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    seen: list[tuple[str, int]] = []

    @hooks.stop  # type: ignore[untyped-decorator] # the SDK's
    async def insist(args: StopArgs) -> StopHookResult:
        seen.append((args.response_text, args.continuation_count))
        if args.response_text in {"one ", "two "}:
            return StopHookResult(decision=StopDecision.CONTINUE, reason="MARK: say more")
        return StopHookResult()

    model.then(say("one "), say("two "), say("three"))
    agent = supervisor.create_agent(model.openai_config(hooks=[insist]))

    reply = agent.ask(Chat("count"), timeout=PATIENCE)
    next_reply = agent.ask(Chat("hello"), timeout=PATIENCE)

    assert (reply.text, next_reply.text) == ("one two three", "echo: hello")
    assert seen == [("one ", 0), ("two ", 1), ("three", 2), ("echo: hello", 0)]
    assert "MARK: say more" in model.requests[2].messages[-1][1]


def test_hooks_share_the_values_in_the_session_and_in_the_turn(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    seen: list[tuple[Any, Any]] = []

    @hooks.on_session_start  # type: ignore[untyped-decorator] # the SDK's
    async def started(context: hooks.HookContext) -> None:
        context.set_state("session", "S")

    @hooks.pre_turn  # type: ignore[untyped-decorator] # the SDK's
    async def before(context: hooks.HookContext, prompt: Any) -> HookResult:
        if prompt == "first":
            context.set_state("turn", "T")
        return HookResult()

    @hooks.post_tool_call  # type: ignore[untyped-decorator] # the SDK's
    async def used(result: ToolResult, context: hooks.HookContext) -> None:
        seen.append((context.get_state("session"), context.get_state("turn")))

    config = model.openai_config(tools=[double], hooks=[started, before, used])
    agent = supervisor.create_agent(config)

    for prompt in ("first", "second"):
        model.then(call_tool("double", {"number": 1}), say("done"))
        agent.ask(Chat(prompt), timeout=PATIENCE)

    assert seen == [("S", "T"), ("S", None)]


def test_a_hook_answers_the_models_questions(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    @hooks.on_interaction  # type: ignore[untyped-decorator] # the SDK's
    async def answer(spec: AskQuestionInteractionSpec) -> QuestionHookResult:
        assert [option.text for option in spec.questions[0].options] == ["red", "blue"]
        return QuestionHookResult(responses=[QuestionResponse(freeform_response="MARK")])

    question = {"question": "Which?", "options": ["red", "blue"]}
    call = {"questions": [question], "toolSummary": "Ask", "toolAction": "Asking"}
    model.then(call_tool("ask_question", call), SAY_OUTPUT)
    capabilities = CapabilitiesConfig(
        agent_behavior=AgentBehavior.INTERACTIVE, enabled_tools=[BuiltinTools.ASK_QUESTION]
    )
    agent = supervisor.create_agent(model.openai_config(capabilities=capabilities, hooks=[answer]))

    assert "MARK" in agent.ask(Chat("ask me"), timeout=PATIENCE).text


def test_a_hook_that_raises_breaks_neither_the_turn_nor_the_agent(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    @hooks.post_tool_call  # type: ignore[untyped-decorator] # the SDK's
    async def broken(result: ToolResult) -> None:
        raise RuntimeError("MARK")

    @hooks.pre_tool_call_decide  # type: ignore[untyped-decorator] # the SDK's
    async def careless(call: SdkToolCall) -> HookResult:
        if call.args["number"] == 2:
            raise RuntimeError("MARK")
        return HookResult()

    model.then(call_tool("double", {"number": 1}), call_tool("double", {"number": 2}), say("done"))
    agent = supervisor.create_agent(model.openai_config(tools=[double], hooks=[broken, careless]))

    reply = agent.ask(Chat("go"), timeout=PATIENCE)

    used, denied = [result.output for result in model.requests[-1].tool_results]
    assert reply.text == "done"
    assert '"result": 2' in used
    assert "MARK" in denied  # A hook that cannot decide denies.
    assert agent.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"
