"""A hook or a policy that fails in a turn ends at most that turn."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.hooks import hooks
from google.antigravity.types import HookResult

from agy_actors import (
    Cancel,
    Chat,
    GetStatistics,
    HookError,
    TurnCancelled,
    TurnTimeout,
)
from tests.harnesses import PATIENCE, SOON
from tests.sdk.failing_hooks import (
    KINDS,
    RAISED,
    TURN,
    Check,
    ask_with_failing_hook,
    assert_goes_on,
    logged,
    start,
)
from tests.slow import quick

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel


def test_a_hook_raises_in_a_turn(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    @hooks.pre_turn  # type: ignore[untyped-decorator] # the SDK's
    async def check_budget(prompt: str) -> HookResult:
        if prompt == "much":
            raise ValueError("no budget")
        return HookResult()

    agent = supervisor.create_agent(model.openai_config(hooks=[check_budget]), name="poet")

    with pytest.raises(HookError) as caught:
        agent.ask(Chat("much", timeout=TURN))

    assert caught.value.hook == "pre_turn hook 'check_budget'"
    assert "of agent 'poet' raised ValueError: no budget" in str(caught.value)
    assert agent.ask(Chat("hello", timeout=TURN)).text == "echo: hello"
    assert agent.ask(GetStatistics()).restarts == 0
    assert [request.prompt for request in model.requests] == ["hello"]


def kinds(*parts: str) -> list[Any]:
    """Return the kinds with a part in their names. Classes repeat what functions show."""
    found = [kind for kind in KINDS if not parts or any(part in kind for part in parts)]
    slow = pytest.mark.slow
    return [pytest.param(kind, marks=slow) if "class" in kind else kind for kind in found]


# Exceptions that are not `Exception`s.


@pytest.mark.parametrize("raised", ["exit", pytest.param("cancelled", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", kinds())
def test_any_other_base_exception_ends_the_turn_and_names_the_hook(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str, raised: str
) -> None:
    check = Check(kind, RAISED[raised])
    agent, name = start(model, supervisor, kind, check.coroutine())

    error = ask_with_failing_hook(agent, check)

    assert error.hook.startswith(name)
    assert str(error).startswith(error.hook)
    assert f"{type(RAISED[raised]()).__name__}: MARK" in str(error)
    assert_goes_on(agent, check)


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
@pytest.mark.parametrize("raised", quick(RAISED, 0, 1))
@pytest.mark.parametrize(
    "kind", ["pre_turn", pytest.param("confirmations", marks=pytest.mark.slow)]
)
def test_sync_and_async_hooks_may_raise_anything(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str, raised: str, sync: bool
) -> None:
    check = Check(kind, RAISED[raised])
    function = check.sync() if sync else check.coroutine()
    agent, name = start(model, supervisor, kind, function)

    error = ask_with_failing_hook(agent, check)

    assert error.hook == name
    assert type(RAISED[raised]()).__name__ in str(error)
    assert_goes_on(agent, check)


@pytest.mark.parametrize("kind", ["pre_turn", "ask_user", "post_tool_call"])
def test_a_hook_that_cancels_itself_ends_the_turn(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    async def give_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(PATIENCE)

    check = Check(kind, give_up)
    agent, name = start(model, supervisor, kind, check.coroutine())

    error = ask_with_failing_hook(agent, check)

    assert error.hook == name
    assert "CancelledError" in str(error)
    assert_goes_on(agent, check)


# Exceptions.


@pytest.mark.parametrize("kind", kinds("re_turn", "PreTurn", "top"))
@pytest.mark.parametrize("error", [ValueError("MARK"), StopIteration("MARK")])
def test_an_exception_of_a_hook_that_decides_on_the_turn_ends_it(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str, error: Exception
) -> None:
    check = Check(kind, lambda: error)
    agent, name = start(model, supervisor, kind, check.sync())

    caught = ask_with_failing_hook(agent, check)

    assert caught.hook == name
    assert f"{type(error).__name__}: MARK" in str(caught)
    assert_goes_on(agent, check)


@pytest.mark.parametrize("kind", ["on_interaction", "class OnInteractionHook"])
def test_an_exception_of_a_hook_that_answers_questions_ends_the_turn_without_an_answer(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    check = Check(kind, lambda: ValueError("MARK"))
    agent, name = start(model, supervisor, kind, check.coroutine())

    caught = ask_with_failing_hook(agent, check)

    assert caught.hook == name
    assert "MARK" not in str([request.messages for request in model.requests])
    assert_goes_on(agent, check)


@pytest.mark.parametrize(
    "kind",
    ["pre_tool_call_decide", "class PreToolCallDecideHook", "when", "ask_user", "confirmations"],
)
def test_an_exception_of_a_hook_that_decides_on_a_tool_call_denies_it_and_the_turn_continues(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    check = Check(kind, lambda: ValueError("MARK"))
    agent, name = start(model, supervisor, kind, check.sync())
    check.armed = True

    with logged() as lines:
        told = agent.ask(Chat("go", timeout=TURN)).text

    assert "denied" in told
    assert f"{name} raised ValueError: MARK" in told
    assert any(f"The {name} failed: ValueError" in line for line in lines)
    assert "MARK" not in "".join(lines)
    assert_goes_on(agent, check)


@pytest.mark.parametrize("kind", kinds("ost", "rror", "_step"))
def test_an_exception_of_a_hook_that_only_observes_is_logged_and_the_turn_continues(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    check = Check(kind, lambda: ValueError("MARK"))
    agent, name = start(model, supervisor, kind, check.coroutine())
    check.armed = True

    with logged() as lines:
        told = agent.ask(Chat("go", timeout=TURN)).text

    assert ("tool failed" if "rror" in kind else '"result": 2') in told
    assert any(f"The {name} failed: ValueError" in line for line in lines)
    assert "MARK" not in "".join(lines)
    assert_goes_on(agent, check)


# Results.


@pytest.mark.parametrize(
    ("kind", "result"),
    quick(
        [
            *((kind, None) for kind in KINDS if "pre_t" in kind or "PreT" in kind),
            *((kind, "no") for kind in KINDS if "pre_t" in kind or "stop" in kind),
            *((kind, True) for kind in KINDS if "re_t" in kind or "nteraction" in kind),
            *((kind, "no") for kind in ("ask_user", "confirmations", "on_interaction")),
            ("ask_user", HookResult(allow=False)),
        ],
        0,
        1,
        5,
        9,
        11,
        12,
        14,
    ),
)
def test_a_result_of_a_wrong_type_ends_the_turn_and_names_the_hook(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str, result: Any
) -> None:
    check = Check(kind, lambda: result)
    agent, name = start(model, supervisor, kind, check.sync())

    error = ask_with_failing_hook(agent, check)

    assert error.hook == name
    assert f"returned {result!r}; it must return " in str(error)
    assert_goes_on(agent, check)


def test_a_policys_handler_may_return_none_for_no(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    check = Check("ask_user", lambda: None)
    agent, _ = start(model, supervisor, "ask_user", check.coroutine())
    check.armed = True

    assert "denied" in agent.ask(Chat("go", timeout=TURN)).text


# Cancelled turns.


@pytest.mark.parametrize("kind", [kind for kind in kinds() if "_step" not in str(kind)])
def test_a_turn_that_is_cancelled_cancels_the_hook_that_it_waits_for(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    called, cancelled = threading.Event(), threading.Event()

    async def wait() -> None:
        called.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    check = Check(kind, wait)
    agent, _ = start(model, supervisor, kind, check.coroutine())
    check.armed = True
    future = agent.ask(Chat("go"), block=False)
    assert called.wait(PATIENCE)

    agent.ask(Cancel())

    with pytest.raises(TurnCancelled):
        future.get(timeout=SOON)
    assert cancelled.wait(SOON)
    assert_goes_on(agent, check)


@pytest.mark.parametrize("kind", ["pre_turn", "stop", "post_tool_call", "when"])
def test_a_turn_that_times_out_names_the_hook_that_it_waited_for(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    check = Check(kind, lambda: asyncio.get_running_loop().create_future())
    agent, name = start(model, supervisor, kind, check.coroutine())
    check.armed = True

    with pytest.raises(TurnTimeout) as caught:
        agent.ask(Chat("go", timeout=0.5))

    assert f"while it waited for {name}" in str(caught.value).replace("double and ", "")
    assert_goes_on(agent, check)
