"""The interpretation of a turn's steps, one rule in each test. No agent runs here."""

from __future__ import annotations

from typing import Any

import pytest
from google.antigravity.types import (
    Step,
    StepSource,
    StepStatus,
    StepTarget,
    StepType,
    Text,
    Thought,
    ToolCall,
)

from agy_actors._agents.turn import Turn
from agy_actors._sdk.stderr_hints import SKEW

BUSY = "Error 503, Message: busy,"
CHECKPOINT = "context summarization: checkpoint step {} failed"
SUBAGENT = {"parent_trajectory_id": "its agent's", "trajectory_id": "sub"}


def step(**fields: Any) -> Step:
    settings: dict[str, Any] = {
        "type": StepType.TEXT_RESPONSE,
        "source": StepSource.MODEL,
        "target": StepTarget.USER,
        "status": StepStatus.ACTIVE,
        "trajectory_id": "main",
    }
    return Step(**{**settings, **fields})


def error(text: str = BUSY, **fields: Any) -> Step:
    return step(
        **{"status": StepStatus.ERROR, "source": StepSource.SYSTEM, "error": text, **fields}
    )


def call(name: str, id_: str = "", **fields: Any) -> Step:
    calls = [ToolCall(name=name, args={}, id=id_)]
    return step(**{"type": StepType.TOOL_CALL, "tool_calls": calls, **fields})


def observe(*steps: Step, turn: Turn | None = None) -> Turn:
    turn = turn or Turn()
    for each in steps:
        list(turn.observe(each))
    return turn


def events(*steps: Step) -> list[Any]:
    turn = Turn()
    return [event for each in steps for event in turn.observe(each)]


# Output.


def test_text_and_thoughts_are_separate_and_streamed_in_their_order() -> None:
    steps = [
        step(step_index=1, thinking_delta="Hm. "),
        step(step_index=1, thinking_delta="Yes.", content_delta="It "),
        step(step_index=2, content_delta="rains."),
    ]

    assert events(*steps) == [
        Thought(step_index=1, text="Hm. "),
        Thought(step_index=1, text="Yes."),
        Text(step_index=1, text="It "),
        Text(step_index=2, text="rains."),
    ]
    turn = observe(*steps)
    assert (turn.thoughts, turn.text) == ("Hm. Yes.", "It rains.")


@pytest.mark.parametrize(
    "fields",
    [
        {"target": StepTarget.ENVIRONMENT},
        {"target": StepTarget.UNSPECIFIED},
        {"source": StepSource.SYSTEM},
        {"source": StepSource.USER},
        SUBAGENT,
    ],
)
def test_only_the_models_text_for_the_user_is_text(fields: dict[str, Any]) -> None:
    words = step(content_delta="words", thinking_delta="thoughts", **fields)

    assert events(words) == []
    assert (observe(words).text, observe(words).thoughts) == ("", "")


def test_a_tool_call_is_reported_once_even_if_steps_repeat_it() -> None:
    steps = [call("look", "1"), call("look", "1"), call("look", "2")]

    assert [each.id for each in events(*steps)] == ["1", "2"]
    assert [each.id for each in observe(*steps).tool_calls] == ["1", "2"]


def test_tool_calls_without_an_id_are_all_reported() -> None:
    assert [each.name for each in events(call("look"), call("look"))] == ["look", "look"]


def test_a_subagents_tool_calls_are_reported() -> None:
    assert [each.name for each in events(call("look", "1", **SUBAGENT))] == ["look"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"a": 1}),
        ({"structured_output": None}, None),
        ({"type": StepType.TEXT_RESPONSE}, None),
        (SUBAGENT, None),
    ],
)
def test_a_structured_output_is_from_the_turns_own_last_step(
    fields: dict[str, Any], expected: object
) -> None:
    last = step(**{"type": StepType.FINISH, "structured_output": {"a": 1}, **fields})

    assert observe(last).structured_output == expected


def test_a_later_step_without_a_structured_output_does_not_remove_it() -> None:
    first = step(type=StepType.FINISH, structured_output={"a": 1})

    assert observe(first, step(type=StepType.FINISH)).structured_output == {"a": 1}


# Void text.


def test_the_text_of_a_failed_step_is_void_when_another_step_has_text() -> None:
    steps = [
        step(step_index=1, content_delta="kept "),
        step(step_index=2, content_delta="half "),
        step(step_index=2, content_delta="more "),
        error(step_index=3),
    ]

    assert observe(*steps).text == "kept half more "
    assert observe(*steps, step(step_index=4, content_delta="whole")).text == "kept whole"


def test_text_of_another_trajectory_with_the_same_index_stays() -> None:
    steps = [
        step(step_index=1, trajectory_id="before", content_delta="kept "),
        step(step_index=1, content_delta="half "),
        error(step_index=2),
        step(step_index=3, content_delta="whole"),
    ]

    assert observe(*steps).text == "kept whole"


def test_a_step_that_continues_after_an_error_is_not_void() -> None:
    steps = [
        step(step_index=1, content_delta="half "),
        error(step_index=2),
        step(step_index=1, content_delta="and half"),
    ]

    assert observe(*steps).text == "half and half"
    more = step(step_index=5, content_delta=", and more")
    assert observe(*steps, more).text == "half and half, and more"


def test_thoughts_do_not_make_text_void() -> None:
    steps = [
        step(step_index=1, content_delta="half "),
        error(step_index=2),
        step(step_index=3, thinking_delta="Hm."),
    ]

    assert observe(*steps).text == "half "


def test_after_a_tool_call_nothing_is_void() -> None:
    steps = [
        call("look", "1", step_index=1),
        step(step_index=2, content_delta="half "),
        error(step_index=3),
        step(step_index=4, content_delta="whole"),
    ]

    assert observe(*steps).text == "half whole"


def test_an_error_before_any_text_makes_nothing_void() -> None:
    steps = [error(step_index=1), step(step_index=2, content_delta="a"), step(content_delta="b")]

    assert observe(*steps).text == "ab"


# Failures.


def test_a_failure_has_the_services_text_without_secrets() -> None:
    turn = Turn(redact=lambda text: text.replace("key-1", "[redacted]"))

    observe(error("Error 401, Message: key-1 is wrong,"), turn=turn)

    assert turn.failure is not None
    assert turn.failure.status == 401
    assert "[redacted] is wrong" in turn.failure.message
    assert "key-1" not in turn.failure.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": "no idea", "content": "something else"}, "no idea"),
        ({"text": "", "content": "something else"}, "something else"),
        ({"text": "", "content": ""}, "an unnamed error"),
    ],
)
def test_a_failure_without_a_status_has_the_text_of_its_step(
    fields: dict[str, str], message: str
) -> None:
    turn = observe(error(**fields))

    assert turn.failure is not None
    assert (turn.failure.status, turn.failure.message) == (None, message)


@pytest.mark.parametrize(
    "output",
    [
        step(content_delta="x"),
        step(thinking_delta="x"),
        call("look", "1"),
        step(type=StepType.FINISH, status=StepStatus.DONE),
        step(type=StepType.COMPACTION),
        step(content_delta="x", **SUBAGENT),
        step(thinking_delta="x", **SUBAGENT),
    ],
    ids=["text", "thought", "call", "finish", "compaction", "sub text", "sub thought"],
)
def test_output_of_any_kind_ends_a_failure_and_resets_the_counts(output: Step) -> None:
    turn = observe(step(), error("bad"), error("bad"), step())
    assert (turn.model_errors, turn.empty_steps) == (2, 2)

    observe(output, turn=turn)

    assert (turn.failure, turn.model_errors, turn.empty_steps) == (None, 0, 0)


@pytest.mark.parametrize(
    "silent",
    [
        step(),
        step(**SUBAGENT),
        step(status=StepStatus.DONE),
        step(source=StepSource.USER, content_delta="x"),
        step(target=StepTarget.ENVIRONMENT, content_delta="x"),
    ],
    ids=["empty", "sub empty", "done", "user", "environment"],
)
def test_a_step_without_output_does_not_end_a_failure(silent: Step) -> None:
    turn = observe(error("bad"), silent)

    assert turn.failure is not None
    assert turn.model_errors == 1


@pytest.mark.parametrize(
    ("silent", "empty"),
    [
        (step(), 1),
        (step(**SUBAGENT), 1),
        (step(status=StepStatus.DONE), 0),
        (step(source=StepSource.USER), 0),
        (error(), 0),
    ],
    ids=["empty", "sub empty", "done", "user", "error"],
)
def test_steps_count_as_empty_while_they_have_no_content(silent: Step, empty: int) -> None:
    assert observe(silent).empty_steps == empty


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({"text": "bad"}, 1),
        ({"text": "bad", "type": StepType.TOOL_CALL}, 0),
        ({"text": "denied by pre-tool hook"}, 0),
        ({"text": BUSY}, 0),
        ({"text": "connection refused"}, 0),
    ],
    ids=["own", "tool", "denial", "status", "network"],
)
def test_only_errors_of_the_model_itself_are_counted(fields: dict[str, Any], counted: int) -> None:
    assert observe(error(**fields)).model_errors == counted


@pytest.mark.parametrize(("silent", "refutes"), [(step(content_delta="x"), True), (step(), False)])
def test_only_output_refutes_a_line_of_the_harness(silent: Step, *, refutes: bool) -> None:
    times = iter([100.0, 100.0 + 2 * SKEW])
    turn = Turn(now=lambda: next(times))
    failure = observe(error()).failure
    assert failure is not None
    turn.stderr_hints.note(failure, alone=True)

    observe(silent, turn=turn)

    assert (turn.stderr_hints.certain() is None) is refutes


# Compactions of earlier turns.


def prompt(index: int, **fields: Any) -> Step:
    return step(step_index=index, source=StepSource.USER, status=StepStatus.DONE, **fields)


@pytest.mark.parametrize(
    ("steps", "earlier"),
    [
        ([prompt(7), error(CHECKPOINT.format(6))], True),
        ([prompt(7), error(CHECKPOINT.format(7))], False),
        ([prompt(7), error(CHECKPOINT.format(8))], False),
        ([error(CHECKPOINT.format(6))], False),
        ([prompt(7), error(BUSY)], False),
        ([prompt(7), error(CHECKPOINT.format(6), source=StepSource.MODEL)], False),
        ([prompt(7), error(CHECKPOINT.format(6), **SUBAGENT)], False),
        ([prompt(7, **SUBAGENT), error(CHECKPOINT.format(6))], False),
        # The turn's prompt is the first one; later texts of hooks and people are not.
        ([prompt(7), prompt(9), error(CHECKPOINT.format(8))], False),
        ([prompt(7), error(CHECKPOINT.format(6)), error(BUSY)], False),
        ([prompt(7), error(CHECKPOINT.format(6)), step(content_delta="x")], False),
    ],
)
def test_a_compaction_failed_in_an_earlier_turn_if_its_step_came_before_the_prompt(
    steps: list[Step], earlier: bool
) -> None:
    assert observe(*steps).compaction_failed is earlier


def test_a_prompt_at_index_0_is_a_prompt() -> None:
    assert not observe(prompt(0), prompt(5), error(CHECKPOINT.format(3))).compaction_failed
