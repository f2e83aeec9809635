"""Hooks, policies and handlers that fail when they are told to."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import AgentBehavior, BuiltinTools, CapabilitiesConfig
from google.antigravity.hooks import hooks, policy
from google.antigravity.types import HookResult, StepSource
from loguru import logger

from agy_actors import (
    Chat,
    GetHistory,
    GetStatistics,
    HookError,
    confirmations,
)
from agy_actors.testing import call_tool, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors import AgentRef, Event, SupervisorRef
    from agy_actors.testing import ScriptedModel


TURN = 30.0
"""Seconds for a turn that must not wait for a failed hook. Arbitrary."""


class Odd(BaseException):
    """An exception that `except Exception` does not catch."""


RAISED: dict[str, Callable[[], BaseException]] = {
    "exit": lambda: SystemExit("MARK"),
    "interrupt": lambda: KeyboardInterrupt("MARK"),
    "cancelled": lambda: asyncio.CancelledError("MARK"),
    "generator": lambda: GeneratorExit("MARK"),
    "odd": lambda: Odd("MARK"),
}
"""Exceptions that are not `Exception`s."""


def double(number: int) -> int:
    """Double a number."""
    return 2 * number


def fail() -> None:
    """Fail."""
    raise ValueError("tool failed")


QUESTION = {
    "questions": [{"question": "Which?", "options": ["red", "blue"]}],
    "toolSummary": "Ask",
    "toolAction": "Asking",
}


class Check:
    """What a hook does: it says yes, until it is armed.

    Args:
        kind: of hook.
        make: returns what an armed hook raises, or else what it returns.
    """

    def __init__(self, kind: str, make: Callable[[], Any]) -> None:
        self.armed = False
        self.calls = 0
        self._make = make
        self._yes = ANSWERS.get(kind.removeprefix("class "))

    def _answer(self) -> Any:
        self.calls += 1
        if not self.armed:
            return self._yes
        made = self._make()
        if isinstance(made, BaseException):
            raise made
        return made

    def sync(self) -> Callable[..., Any]:
        def check(data: Any) -> Any:
            del data
            return self._answer()

        return check

    def coroutine(self) -> Callable[..., Any]:
        async def check(data: Any) -> Any:
            del data
            await asyncio.sleep(0)
            answer = self._answer()
            return await answer if inspect.isawaitable(answer) else answer

        return check


ANSWERS: dict[str, Any] = {
    "pre_turn": HookResult(),
    "PreTurnHook": HookResult(),
    "pre_tool_call_decide": HookResult(),
    "PreToolCallDecideHook": HookResult(),
    "ask_user": True,
    "confirmations": True,
}
"""The approving result of each kind of hook, if it is not None."""


def decorated(kind: str) -> tuple[str, Callable[[Any], dict[str, Any]]]:
    decorate = getattr(hooks, kind)
    name = "step hook" if kind.endswith("_step") else f"{kind} hook"
    return f"{name} 'check'", lambda function: {"hooks": [decorate(function)]}


def of_class(base: type[Any], kind: str) -> tuple[str, Callable[[Any], dict[str, Any]]]:
    def settings(function: Any) -> dict[str, Any]:
        class Checker(base):  # type: ignore[misc] # whichever it is
            async def run(self, context: hooks.HookContext, data: Any) -> Any:
                del context
                answer = function(data)
                return await answer if inspect.isawaitable(answer) else answer

        return {"hooks": [Checker()]}

    return f"{kind} hook 'Checker'", settings


def of_policy(field: str, wrap: Callable[[Any], Any] = lambda f: f) -> Any:
    decision = policy.Decision.DENY if field == "when" else policy.Decision.ASK_USER
    name = "when predicate" if field == "when" else "ask_user handler"

    def settings(function: Any) -> dict[str, Any]:
        check: Any = {field: wrap(function)}
        rule = policy.Policy(tool="double", decision=decision, name="rule", **check)
        return {"policies": [rule, policy.allow_all()]}

    return f"{name} 'check' of policy 'rule'", settings


KINDS: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    "pre_turn": decorated("pre_turn"),
    "post_turn": decorated("post_turn"),
    "stop": decorated("stop"),
    "pre_tool_call_decide": decorated("pre_tool_call_decide"),
    "post_tool_call": decorated("post_tool_call"),
    "on_tool_error": decorated("on_tool_error"),
    "on_interaction": decorated("on_interaction"),
    "_pre_step": decorated("_pre_step"),
    "_post_step": decorated("_post_step"),
    "class PreTurnHook": of_class(hooks.PreTurnHook, "pre_turn"),
    "class PostTurnHook": of_class(hooks.PostTurnHook, "post_turn"),
    "class StopHook": of_class(hooks.StopHook, "stop"),
    "class PreToolCallDecideHook": of_class(hooks.PreToolCallDecideHook, "pre_tool_call_decide"),
    "class PostToolCallHook": of_class(hooks.PostToolCallHook, "post_tool_call"),
    "class OnToolErrorHook": of_class(hooks.OnToolErrorHook, "on_tool_error"),
    "class OnInteractionHook": of_class(hooks.OnInteractionHook, "on_interaction"),
    "when": of_policy("when"),
    "ask_user": of_policy("ask_user"),
    "confirmations": of_policy("ask_user", confirmations),
    "enforce": (
        "pre_tool_call_decide hook",
        lambda function: {"hooks": [policy.enforce([policy.deny("double", when=function)])]},
    ),
}
"""The name of each kind in errors, and how to configure a hook of this kind."""


def start(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str, function: Any
) -> tuple[AgentRef, str]:
    """Start an agent with a hook of a kind that a turn "go" calls; return also the hook's name."""
    name, settings = KINDS[kind]
    config = settings(function)
    if "nteraction" in kind:
        config["capabilities"] = CapabilitiesConfig(
            agent_behavior=AgentBehavior.INTERACTIVE, enabled_tools=[BuiltinTools.ASK_QUESTION]
        )
        call = call_tool("ask_question", QUESTION)
    else:
        config["tools"] = [double, fail]
        call = call_tool("fail") if "rror" in kind else call_tool("double", {"number": 1})
    model.when("go", call, say(lambda request: f"told: {request.tool_results[-1].output}"))
    agent = supervisor.create_agent(model.openai_config(**config))
    assert agent.ask(Chat("before", timeout=TURN)).text == "echo: before"
    return agent, name


def assert_goes_on(agent: AgentRef, check: Check | None = None) -> None:
    """Assert that the agent has not crashed, answers, and has its whole conversation."""
    if check is not None:
        check.armed = False
    assert agent.ask(Chat("hello", timeout=TURN)).text == "echo: hello"
    assert agent.ask(GetStatistics()).restarts == 0
    steps = agent.ask(GetHistory())
    prompts = [step.content for step in steps if step.source is StepSource.USER]
    assert prompts[0] == "before"
    assert prompts[-1] == "hello"


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """Record the log lines from WARNING on."""
    lines: list[str] = []
    logger.enable("agy_actors")
    sink = logger.add(lines.append, level="WARNING")
    try:
        yield lines
    finally:
        logger.remove(sink)
        logger.disable("agy_actors")


@contextlib.contextmanager
def subscribed(supervisor: SupervisorRef, callback: Callable[[Event], None]) -> Iterator[None]:
    subscription = supervisor.subscribe(callback)
    try:
        yield
    finally:
        subscription.cancel()


def ask_with_failing_hook(agent: AgentRef, check: Check) -> HookError:
    check.armed = True
    with pytest.raises(HookError) as caught:
        agent.ask(Chat("go", timeout=TURN))
    assert not caught.value.retryable
    return caught.value
