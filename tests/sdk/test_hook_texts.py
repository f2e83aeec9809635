"""The result of a hook reaches the harness also if a part cannot be encoded."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.hooks import policy
from google.antigravity.types import (
    HookResult,
    QuestionHookResult,
    QuestionResponse,
    StopDecision,
    StopHookResult,
)

from agy_actors import AgyActorsError, Chat, TurnDenied
from agy_actors._sdk.valid_values import replace_surrogates
from tests.sdk.failing_hooks import TURN, Check, assert_goes_on, double, logged, start

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

LONE = "caf\ud800e"
VALID = "caf\N{REPLACEMENT CHARACTER}e"
DENIAL = HookResult(allow=False, message=LONE)
RESPONSE = QuestionResponse(freeform_response=LONE)


def ask(model: ScriptedModel, supervisor: SupervisorRef, kind: str, returned: Any) -> str:
    """Ask with a hook that returns something, and return the text that the model gets."""
    check = Check(kind, lambda: returned)
    agent, name = start(model, supervisor, kind, check.sync())
    asked_before = len(model.requests)
    check.armed = True
    with logged() as lines:
        try:
            text = agent.ask(Chat("go", timeout=TURN)).text
        except AgyActorsError as error:
            text = str(error)
    assert check.calls
    assert any("lone surrogates" in line and name in line for line in lines)
    assert not any("caf" in line for line in lines)
    told = [str(request.messages) for request in model.requests[asked_before:]]
    assert_goes_on(agent, check)
    return " ".join([text, *told])


@pytest.mark.parametrize("kind", ["pre_turn", "class PreTurnHook"])
def test_a_turn_is_denied_for_a_reason_that_cannot_be_encoded(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str
) -> None:
    check = Check(kind, lambda: DENIAL)
    agent, _ = start(model, supervisor, kind, check.sync())
    check.armed = True

    with pytest.raises(TurnDenied) as caught:
        agent.ask(Chat("go", timeout=TURN))

    assert VALID in str(caught.value)
    assert_goes_on(agent, check)


@pytest.mark.parametrize(
    ("kind", "returned"),
    [
        ("pre_tool_call_decide", DENIAL),
        ("class PreToolCallDecideHook", DENIAL),
        ("on_tool_error", LONE),
        ("on_interaction", QuestionHookResult(responses=[RESPONSE])),
    ],
    ids=["denial", "denial by a class", "error", "answer"],
)
def test_the_model_gets_the_result_of_a_hook_with_lone_surrogates_replaced(
    model: ScriptedModel, supervisor: SupervisorRef, kind: str, returned: Any
) -> None:
    assert "caf" in ask(model, supervisor, kind, returned)


def test_arguments_that_a_hook_changed_are_the_tools_with_lone_surrogates_replaced(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    # The tool doubles its argument, here a text.
    changed = HookResult(modified_args={"number": LONE})
    told = ask(model, supervisor, "pre_tool_call_decide", changed)

    assert told.count("caf") >= 2


def test_a_turn_continues_for_a_reason_that_cannot_be_encoded(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    results = iter([StopHookResult(decision=StopDecision.CONTINUE, reason=LONE)])
    check = Check("stop", lambda: next(results, StopHookResult()))
    agent, _ = start(model, supervisor, "stop", check.sync())
    check.armed = True

    agent.ask(Chat("go", timeout=TURN))

    assert any("caf" in str(request.messages) for request in model.requests)
    assert_goes_on(agent, check)


def test_arguments_that_refer_to_themselves_do_not_end_the_turn(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    changed: dict[str, Any] = {}
    changed["self"] = changed
    check = Check("pre_tool_call_decide", lambda: HookResult.model_construct(modified_args=changed))
    agent, _ = start(model, supervisor, "pre_tool_call_decide", check.sync())
    check.armed = True

    with contextlib.suppress(AgyActorsError):
        agent.ask(Chat("go", timeout=TURN))

    assert_goes_on(agent, check)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (LONE, VALID),
        ([1, LONE], [1, VALID]),
        ((LONE, None), (VALID, None)),
        ({LONE: {"a": [LONE]}}, {VALID: {"a": [VALID]}}),
        (DENIAL, HookResult(allow=False, message=VALID)),
        (
            QuestionHookResult(responses=[RESPONSE]),
            QuestionHookResult(responses=[QuestionResponse(freeform_response=VALID)]),
        ),
    ],
    ids=ascii,
)
def test_lone_surrogates_are_replaced_at_any_depth(value: Any, expected: Any) -> None:
    before = copy.deepcopy(value)

    assert replace_surrogates(value) == expected
    assert value == before


@pytest.mark.parametrize(
    "value", [None, 5, "a", VALID, [1, "a"], ("a",), {"a": ["b"]}, {"a"}, HookResult(message="a")]
)
def test_a_value_without_lone_surrogates_stays_the_same_object(value: Any) -> None:
    assert replace_surrogates(value) is value


def test_a_policy_whose_texts_can_be_encoded_is_unchanged(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    rule = policy.deny("double", name="na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve")
    agent = supervisor.create_agent(
        model.openai_config(tools=[double], policies=[rule, policy.allow_all()])
    )
    with logged() as lines:
        assert agent.ask(Chat("hi", timeout=TURN)).text == "echo: hi"
    assert not any("lone surrogates" in line for line in lines)
