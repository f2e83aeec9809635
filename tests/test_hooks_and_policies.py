"""Hooks and policies work in an agent's actor as they do in the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import BuiltinTools, CapabilitiesConfig
from google.antigravity.hooks import HookContext, hooks, policy
from google.antigravity.types import (
    Content,
    HookResult,
    StopArgs,
    StopDecision,
    StopHookResult,
    ToolCall,
    ToolResult,
)

from agy_actors import Chat, GetStatistics, TurnDenied
from agy_actors.testing import call_tool, say
from tests.harnesses import kill_harness

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import SupervisorRef
    from agy_actors.testing import ModelRequest, ScriptedModel


def double(number: int) -> int:
    """Doubles a number."""
    return 2 * number


def divide(by: int) -> int:
    """Divides a hundred."""
    return 100 // by


class Diary:
    """One hook of each kind, in the order of a turn."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def hooks(self) -> list[hooks.Hook]:
        write = self.lines.append

        @hooks.on_session_start
        def start(context: HookContext) -> None:
            context.set_state("turns", 0)
            write("session starts")

        @hooks.pre_turn
        def before(context: HookContext, prompt: Content) -> HookResult:
            context.set_state("prompt", prompt)
            write(f"asked {prompt}")
            return HookResult(allow=prompt != "forbidden", message="that is forbidden")

        @hooks.pre_tool_call_decide
        async def decide(context: HookContext, call: ToolCall) -> HookResult:
            write(f"{context.get_state('prompt')}: {call.name} {call.args}")
            if call.name == "double":
                return HookResult(allow=True, modified_args={"number": 21})
            return HookResult(allow=call.args["by"] != 13, message="not by thirteen")

        @hooks.post_tool_call
        def after(result: ToolResult) -> None:
            write(f"{result.name} gave {result.result}")

        @hooks.on_tool_error
        def fail(error: Exception) -> str:
            write(f"failed: {error}")
            return "try another number"

        @hooks.post_turn
        def done(response: str) -> None:
            write(f"answered {response}")

        @hooks.on_session_end
        def end() -> None:
            write("session ends")

        return [start, before, decide, after, fail, done, end]


def test_hooks_of_every_kind_are_called_and_obeyed(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    diary = Diary()
    config = model.openai_config(tools=[double, divide], hooks=diary.hooks())
    agent = supervisor.create_agent(config)
    model.then(
        call_tool("double", {"number": 1}),
        call_tool("divide", {"by": 0}),
        call_tool("divide", {"by": 13}),
        say("done"),
    )

    agent.ask(Chat("count"))
    supervisor.shutdown_agent(agent)

    doubled, failed, denied = [result.output for result in model.requests[-1].tool_results]
    assert "42" in doubled
    assert "try another number" in failed
    assert "not by thirteen" in denied
    assert len(model.requests) == 4
    told = "\n".join(diary.lines)
    assert "session starts" in told  # Its place in the order is not fixed.
    steps = ["asked count", "count: double", "double gave", "count: divide"]
    steps += ["failed: ", "count: divide", "answered done", "session ends"]
    place = -1
    for step in steps:
        place = told.find(step, place + 1)
        assert place >= 0, f"{step!r} is not where it should be in:\n{told}"


def test_a_prompt_that_a_hook_denies_is_an_error_and_never_sent(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(hooks=Diary().hooks()))

    with pytest.raises(TurnDenied, match="that is forbidden"):
        agent.ask(Chat("forbidden"))

    assert agent.ask(Chat("allowed")).text == "echo: allowed"
    assert [request.prompt for request in model.requests] == ["allowed"]
    assert agent.ask(GetStatistics()).restarts == 0


def test_hooks_work_after_a_crash(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    diary = Diary()
    config = model.openai_config(tools=[double], hooks=diary.hooks())
    agent = supervisor.create_agent(config)
    agent.ask(Chat("before"))

    kill_harness(agent)

    model.then(call_tool("double", {"number": 1}), say("done"))
    agent.ask(Chat("after"))
    assert "42" in model.requests[-1].tool_results[-1].output
    assert [line for line in diary.lines if line.startswith("asked")] == [
        "asked before",
        "asked after",
    ]
    assert diary.lines.count("session starts") == 2


def test_a_stop_hook_continues_the_turn(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    ends: list[str] = []

    @hooks.stop
    def once_more(end: StopArgs) -> StopHookResult:
        ends.append(end.response_text)
        if len(ends) == 1:
            return StopHookResult(decision=StopDecision.CONTINUE, reason="Say it in rhyme.")
        return StopHookResult(decision=StopDecision.ALLOW_STOP)

    model.then(say("first"), say("second"))
    agent = supervisor.create_agent(model.openai_config(hooks=[once_more]))

    reply = agent.ask(Chat("Go"))

    assert ends == ["first", "second"]
    assert "second" in reply.text
    assert "Say it in rhyme." in model.requests[-1].messages[-1][1]


@pytest.mark.parametrize(
    ("policies", "allowed"),
    [
        ([policy.allow_all()], {"double", "divide"}),
        ([policy.deny_all()], set()),
        ([policy.deny("divide"), policy.allow_all()], {"double"}),
        ([policy.allow("divide"), policy.deny_all()], {"divide"}),
        (
            [policy.deny("double", when=lambda args: args["number"] > 5), policy.allow_all()],
            {"divide"},
        ),
        (policy.safe_defaults(lambda call: call.name == "double"), {"double"}),
    ],
)
def test_policies_decide_about_each_tool(
    supervisor: SupervisorRef, model: ScriptedModel, policies: list[Any], allowed: set[str]
) -> None:
    called = set()

    @hooks.post_tool_call
    def note(result: ToolResult) -> None:
        if result.error is None:
            called.add(result.name)

    model.then(
        call_tool("double", {"number": 7}, text="One. "),
        call_tool("divide", {"by": 7}, text="Two. "),
        say("done"),
    )
    config = model.openai_config(tools=[double, divide], policies=policies, hooks=[note])

    reply = supervisor.create_agent(config).ask(Chat("count"))

    assert called == allowed
    assert reply.text.endswith("done")
    outputs = [result.output for result in model.requests[-1].tool_results]
    assert ["denied" not in output for output in outputs] == [
        name in allowed for name in ("double", "divide")
    ]


def test_commands_are_denied_without_a_policy(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    model.then(call_tool("run_command", {"CommandLine": "echo hi", "Cwd": "/"}), say("done"))
    config = model.openai_config(
        capabilities=CapabilitiesConfig(enabled_tools=[BuiltinTools.RUN_COMMAND]),
        policies=policy.confirm_run_command(),  # The SDK's default.
    )

    supervisor.create_agent(config).ask(Chat("run"))

    assert "denied" in model.requests[-1].tool_results[-1].output


def test_an_automatic_policy_has_a_model_vet_commands_first(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    precious = tmp_path / "precious.txt"
    precious.touch()
    command = {"CommandLine": f"rm -f {precious}", "Cwd": str(tmp_path)}
    vetting = call_tool("vet_destruction", {"action_type": "delete"})
    model.when(_is_vetting, vetting, say("That is hard to tell."))
    model.when("clean up", call_tool("run_command", command), say("I may not."))
    config = model.openai_config(
        capabilities=CapabilitiesConfig(enabled_tools=[BuiltinTools.RUN_COMMAND]),
        policies=[policy.auto(), policy.allow_all()],
        workspaces=[str(tmp_path)],
    )

    reply = supervisor.create_agent(config).ask(Chat("clean up"))

    assert reply.text == "I may not."
    vetted = [request for request in model.requests if _is_vetting(request)]
    assert str(precious) in str(vetted[0].messages)
    assert "denied" in model.requests[-1].tool_results[-1].output
    assert precious.exists()


def _is_vetting(request: ModelRequest) -> bool:
    return "Runtime Policy Guardian" in request.system
