"""Hooks, policies and handlers that fail outside ordinary turns: people, sessions, triggers."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import AgentBehavior, BuiltinTools, CapabilitiesConfig
from google.antigravity.hooks import hooks, policy
from google.antigravity.types import CompactionConfig, HookResult

from agy_actors import (
    AgentStartError,
    Chat,
    ConfirmationAsked,
    GetStatistics,
    HookError,
    QuestionAsked,
    confirmations,
    questions,
)
from agy_actors.testing import call_tool, say
from tests.harnesses import PATIENCE, SOON, until
from tests.sdk.failing_hooks import (
    KINDS,
    QUESTION,
    RAISED,
    TURN,
    Check,
    assert_goes_on,
    double,
    logged,
    subscribed,
)
from tests.slow import quick

if TYPE_CHECKING:
    from agy_actors import Event, SupervisorRef
    from agy_actors.testing import ScriptedModel


# People.


@pytest.mark.parametrize("answer", ["no", HookResult(allow=False)])
def test_a_person_confirms_nothing_with_text_or_a_hooks_result(
    model: ScriptedModel, supervisor: SupervisorRef, answer: Any
) -> None:
    def reply(event: Event) -> None:
        if isinstance(event, ConfirmationAsked):
            event.reply.set(answer)

    rule = policy.ask_user("double", handler=confirmations(), name="rule")
    config = model.openai_config(tools=[double], policies=[rule, policy.allow_all()])
    model.then(call_tool("double", {"number": 1}), say("never asked for"))
    with subscribed(supervisor, reply):
        agent = supervisor.create_agent(config)

        with pytest.raises(HookError, match="it must return True or False") as caught:
            agent.ask(Chat("go", timeout=TURN))

    assert caught.value.hook == "ask_user handler 'confirmations' of policy 'rule'"
    assert len(model.requests) == 1


@pytest.mark.parametrize("error", [ValueError("MARK"), SystemExit("MARK")])
def test_a_person_whose_answer_is_an_error_confirms_nothing(
    model: ScriptedModel, supervisor: SupervisorRef, error: BaseException
) -> None:
    def answer(event: Event) -> None:
        if isinstance(event, ConfirmationAsked):
            event.reply.set_exception((type(error), error, None))

    with subscribed(supervisor, answer):
        rule = policy.ask_user("double", handler=confirmations(), name="rule")
        config = model.openai_config(tools=[double], policies=[rule, policy.allow_all()])
        model.then(call_tool("double", {"number": 1}), say("done"))
        agent = supervisor.create_agent(config)
        name = "ask_user handler 'confirmations' of policy 'rule'"

        if isinstance(error, Exception):
            assert agent.ask(Chat("go", timeout=TURN)).text == "done"
            assert "denied" in model.requests[-1].tool_results[-1].output
        else:
            with pytest.raises(HookError, match="MARK") as caught:
                agent.ask(Chat("go", timeout=TURN))
            assert caught.value.hook == name
    assert not any("result" in str(request.tool_results) for request in model.requests[2:])


@pytest.mark.parametrize("error", [ValueError("MARK"), SystemExit("MARK")])
def test_a_person_whose_answers_are_an_error_ends_the_turn(
    model: ScriptedModel, supervisor: SupervisorRef, error: BaseException
) -> None:
    def answer(event: Event) -> None:
        if isinstance(event, QuestionAsked):
            event.reply.set_exception((type(error), error, None))

    model.when("go", call_tool("ask_question", QUESTION), say("done"))
    capabilities = CapabilitiesConfig(
        agent_behavior=AgentBehavior.INTERACTIVE, enabled_tools=[BuiltinTools.ASK_QUESTION]
    )
    config = model.openai_config(capabilities=capabilities, hooks=[questions()])
    with subscribed(supervisor, answer):
        agent = supervisor.create_agent(config)
        agent.ask(Chat("before", timeout=TURN))

        with pytest.raises(HookError) as caught:
            agent.ask(Chat("go", timeout=TURN))

    assert caught.value.hook == "on_interaction hook 'questions'"
    assert_goes_on(agent)


# Sessions.


def starting(error: BaseException) -> Any:
    @hooks.on_session_start  # type: ignore[untyped-decorator] # the SDK's
    async def warm_up() -> None:
        raise error

    return warm_up


@pytest.mark.parametrize(
    "error", quick([ValueError("MARK"), *(make() for make in RAISED.values())], 0, 1)
)
def test_an_agent_whose_hook_fails_at_the_sessions_start_does_not_start(
    model: ScriptedModel, supervisor: SupervisorRef, error: BaseException
) -> None:
    with pytest.raises(AgentStartError) as caught:
        supervisor.create_agent(model.openai_config(hooks=[starting(error)]))

    assert "on_session_start hook 'warm_up' raised" in str(caught.value)
    assert "MARK" in str(caught.value)
    assert supervisor.create_agent(model.openai_config()).ask(Chat("hi")).text == "echo: hi"


def test_an_agent_whose_hook_never_ends_at_the_sessions_start_does_not_start(
    model: ScriptedModel, supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGY_ACTORS_START_TIMEOUT", "1")

    @hooks.on_session_start  # type: ignore[untyped-decorator] # the SDK's
    async def warm_up() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(AgentStartError, match="on_session_start hook 'warm_up' did not end"):
        supervisor.create_agent(model.openai_config(hooks=[warm_up]))


def test_the_hooks_at_a_sessions_start_are_done_before_the_agent_is(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    done: list[str] = []

    @hooks.on_session_start  # type: ignore[untyped-decorator] # the SDK's
    async def warm_up() -> None:
        await asyncio.sleep(0.2)
        done.append("started")

    supervisor.create_agent(model.openai_config(hooks=[warm_up]))

    assert done == ["started"]


@pytest.mark.parametrize(
    "error", quick([ValueError("MARK"), *(make() for make in RAISED.values())], 0, 1)
)
def test_a_hook_that_fails_at_the_sessions_end_is_logged_and_delays_nothing(
    model: ScriptedModel, supervisor: SupervisorRef, error: BaseException
) -> None:
    @hooks.on_session_end  # type: ignore[untyped-decorator] # the SDK's
    async def clean_up() -> None:
        raise error

    agent = supervisor.create_agent(model.openai_config(hooks=[clean_up]))
    agent.ask(Chat("hello"))

    with logged() as lines:
        supervisor.shutdown_agent(agent, timeout=SOON)

    assert any("The on_session_end hook 'clean_up' failed" in line for line in lines)


# Compactions.


@pytest.mark.parametrize("error", [ValueError("MARK"), SystemExit("MARK")])
def test_a_hook_that_fails_at_a_compaction_leaves_the_conversation_usable(
    model: ScriptedModel, supervisor: SupervisorRef, error: BaseException
) -> None:
    calls: list[str] = []

    @hooks.on_compaction  # type: ignore[untyped-decorator] # the SDK's
    async def note(step: Any) -> None:
        del step
        calls.append("compacted")
        raise error

    model.when("long", say("word " * 1500, chunks=5000))
    config = model.openai_config(
        compaction_config=CompactionConfig(token_threshold=5000), hooks=[note]
    )
    agent = supervisor.create_agent(config)
    failures: list[HookError] = []

    for number in range(4):
        try:
            agent.ask(Chat(f"long {number}: {'more ' * 500}", timeout=PATIENCE))
        except HookError as failure:
            failures.append(failure)

    assert calls
    assert len(failures) == (0 if isinstance(error, Exception) else len(calls))
    assert {failure.hook for failure in failures} <= {"on_compaction hook 'note'"}
    assert agent.ask(Chat("and on", timeout=TURN)).text == "echo: and on"
    assert agent.ask(GetStatistics()).restarts == 0


# Errors.


def test_a_hooks_error_contains_no_api_key(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    key = "a-secret-key-of-this-test"

    @hooks.pre_turn  # type: ignore[untyped-decorator] # the SDK's
    def check(prompt: Any) -> HookResult:
        raise ValueError(f"{prompt}: no budget for {key}")

    agent = supervisor.create_agent(model.gemini_config(api_key=key, hooks=[check]))

    with logged() as lines, pytest.raises(HookError, match="go: no budget") as caught:
        agent.ask(Chat("go", timeout=TURN))

    assert key not in str(caught.value)
    assert key not in "".join(lines)
    assert lines


def test_the_error_of_a_failed_hook_has_the_text_before_the_failure(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    @hooks.post_turn  # type: ignore[untyped-decorator] # the SDK's
    def check(response: str) -> None:
        raise SystemExit(response)

    agent = supervisor.create_agent(model.openai_config(hooks=[check]))

    with pytest.raises(HookError) as caught:
        agent.ask(Chat("hello", timeout=TURN))

    assert caught.value.text == "echo: hello"


def test_a_stream_ends_with_the_error_of_a_hook(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    @hooks.pre_turn  # type: ignore[untyped-decorator] # the SDK's
    def check(prompt: Any) -> Any:
        del prompt

    agent = supervisor.create_agent(model.openai_config(hooks=[check]))

    with pytest.raises(HookError, match="returned None; it must return a HookResult"):
        list(agent.stream(Chat("hello", timeout=TURN)))


# Turns of triggers.


def test_a_hook_that_fails_in_the_turn_of_a_trigger_leaves_the_agent_usable(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    ring = threading.Event()

    async def bell(ctx: Any) -> None:
        await asyncio.to_thread(ring.wait, PATIENCE)
        await ctx.send("news")

    check = Check("pre_tool_call_decide", lambda: SystemExit("MARK"))
    called = call_tool("double", {"number": 1})
    model.when(lambda request: "content=news" in str(request.messages), called, times=1)
    settings = {**KINDS["pre_tool_call_decide"][1](check.coroutine()), "tools": [double]}
    agent = supervisor.create_agent(model.openai_config(triggers=[bell], **settings))
    agent.ask(Chat("before", timeout=TURN))
    check.armed = True

    with logged() as lines:
        ring.set()
        until(lambda: any("HookError" in line for line in lines))

    assert_goes_on(agent, check)


@pytest.mark.parametrize("raised", quick(RAISED, 0, 2))
def test_a_trigger_that_raises_leaves_the_agent_usable(
    model: ScriptedModel, supervisor: SupervisorRef, raised: str
) -> None:
    ring, rung = threading.Event(), threading.Event()
    error = RAISED[raised]()

    async def bell(ctx: Any) -> None:
        del ctx
        await asyncio.to_thread(ring.wait, PATIENCE)
        rung.set()
        raise error

    agent = supervisor.create_agent(model.openai_config(triggers=[bell]))
    agent.ask(Chat("before", timeout=TURN))

    ring.set()
    assert rung.wait(PATIENCE)

    assert_goes_on(agent)
