"""The tools that count as running: their silence is not a stall. No agent runs here."""

from __future__ import annotations

import pytest
from google.antigravity.types import Step, StepStatus, StepType, ToolCall

from tests.agents.test_turn_steps import SUBAGENT, call, error, observe, step


def test_a_tool_runs_until_its_own_step_is_over() -> None:
    started = [call("look", "1", step_index=1), call("read", "2", step_index=2)]

    assert observe(*started).tools_at_work == ("look", "read")
    for status in (StepStatus.DONE, StepStatus.CANCELED):
        over = step(type=StepType.TOOL_CALL, step_index=1, status=status)
        assert observe(*started, over).tools_at_work == ("read",)
    assert observe(*started, error("bad", step_index=1)).tools_at_work == ("read",)


def test_tools_of_other_trajectories_are_distinguished() -> None:
    started = [call("look", "1", step_index=1), call("read", "2", step_index=1, **SUBAGENT)]

    over = step(type=StepType.TOOL_CALL, step_index=1, status=StepStatus.DONE)
    assert observe(*started, over).tools_at_work == ("read",)
    assert observe(*started, error("bad", step_index=1, **SUBAGENT)).tools_at_work == ("look",)


def test_a_tool_has_the_name_from_any_of_its_steps() -> None:
    nameless = step(type=StepType.TOOL_CALL, step_index=1)
    calls = [ToolCall(name=name, args={}, id=name) for name in ("look", "read")]
    named = step(type=StepType.TOOL_CALL, step_index=1, tool_calls=calls)

    assert observe(nameless).tools_at_work == ("a tool",)
    assert observe(nameless, named).tools_at_work == ("look, read",)
    assert observe(named, nameless).tools_at_work == ("look, read",)


def test_a_step_of_another_kind_starts_no_tool() -> None:
    assert observe(call("look", "1", type=StepType.TEXT_RESPONSE)).tools_at_work == ()


def test_a_notice_names_the_first_unnamed_tool_and_does_not_count_as_a_tool() -> None:
    nameless = [step(type=StepType.TOOL_CALL, step_index=index) for index in (3, 4)]
    notice = Step(**{**call("look", "call-1", step_index=1).model_dump(), "id": "call-1"})

    assert observe(notice).tools_at_work == ()
    assert observe(*nameless, notice).tools_at_work == ("look", "a tool")
    over = step(type=StepType.TOOL_CALL, step_index=3, status=StepStatus.DONE)
    assert observe(*nameless, notice, over).tools_at_work == ("a tool",)


@pytest.mark.parametrize("id_of_step", ["", "main:1", "another"])
def test_a_step_of_a_call_is_not_a_notice(id_of_step: str) -> None:
    turn = observe(Step(**{**call("look", "call-1", step_index=1).model_dump(), "id": id_of_step}))

    assert turn.tools_at_work == ("look",)


def test_a_call_with_the_id_of_its_step_is_not_a_notice() -> None:
    own = Step(**{**call("look", "main:1", step_index=1).model_dump(), "id": "main:1"})

    assert observe(own).tools_at_work == ("look",)
