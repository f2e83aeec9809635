"""Answers of people that cannot be sent to a model unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import AgentBehavior, BuiltinTools, CapabilitiesConfig
from google.antigravity.types import AskQuestionEntry, AskQuestionOption, QuestionResponse
from loguru import logger

from agy_actors import Chat, GetStatistics, QuestionAsked, questions
from agy_actors._agents.approval_answers import respond
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import Event, SupervisorRef

LONE = "caf\ud800e"


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    lines: list[str] = []
    logger.enable("agy_actors")
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    yield lines
    logger.remove(sink)
    logger.disable("agy_actors")


def ask(model: ScriptedModel, supervisor: SupervisorRef, answers: Any) -> str:
    """Let a model ask two questions, give the answers, and return what it received."""
    asked = [
        {"question": "Color?", "options": ["red", "blue"]},
        {"question": "Name?", "options": ["Mary", "Ann"]},
    ]
    call = {"questions": asked, "toolSummary": "Ask", "toolAction": "Asking"}
    model.when("ask", call_tool("ask_question", call), times=1)
    model.when(
        lambda request: request.messages[-1][0] == "tool",
        say(lambda request: request.tool_results[-1].output),
    )

    def answer(event: Event) -> None:
        if isinstance(event, QuestionAsked):
            event.reply.set(answers)

    subscription = supervisor.subscribe(answer)
    agent = supervisor.create_agent(
        model.openai_config(
            capabilities=CapabilitiesConfig(
                agent_behavior=AgentBehavior.INTERACTIVE, enabled_tools=[BuiltinTools.ASK_QUESTION]
            ),
            hooks=[questions(timeout=PATIENCE)],
        )
    )
    text = agent.ask(Chat("ask", timeout=PATIENCE)).text
    subscription.cancel()
    assert agent.ask(GetStatistics()).restarts == 0
    assert agent.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    return text


@pytest.mark.parametrize(
    "answers",
    [
        LONE,
        [LONE, "a name"],
        [["blue", LONE]],
        [QuestionResponse(freeform_response=LONE)],
    ],
    ids=["text", "texts", "several", "the SDK's"],
)
def test_a_lone_surrogate_in_an_answer_is_replaced_and_the_turn_continues(
    model: ScriptedModel, supervisor: SupervisorRef, warnings: list[str], answers: Any
) -> None:
    text = ask(model, supervisor, answers)

    assert "caf" in text
    (warning,) = warnings
    assert "lone surrogates in the answer to question 1 are replaced" in warning
    assert "caf" not in warning


@pytest.mark.parametrize("answers", [None, 5, {"a": 1}, [object()], [[["red"]]], b"red", [{}, ()]])
def test_an_invalid_answer_does_not_end_the_turn(
    model: ScriptedModel, supervisor: SupervisorRef, answers: Any
) -> None:
    text = ask(model, supervisor, answers)

    assert "A2: User Skipped" in text


COLOR = AskQuestionEntry(
    question="Color?",
    options=[AskQuestionOption(id="1", text="red"), AskQuestionOption(id="2", text="7")],
)
SKIPPED = QuestionResponse(skipped=True)


@pytest.mark.parametrize(
    ("answers", "responses", "problems"),
    [
        (["red"], [QuestionResponse(selected_option_ids=["1"])], []),
        ("red", [QuestionResponse(selected_option_ids=["1"])], []),
        ({"red"}, [QuestionResponse(selected_option_ids=["1"])], []),
        ([7], [QuestionResponse(selected_option_ids=["2"])], []),
        ([1.5], [QuestionResponse(freeform_response="1.5")], []),
        ([["red", "green"]], None, []),
        ([], [SKIPPED], []),
        (None, [SKIPPED], []),
        ([{}], [SKIPPED], ["a dict is not an answer to question 1"]),
        (b"red", [SKIPPED], ["a bytes is not an answer to question 1"]),
        (["red", "blue"], None, ["2 answers came for 1 questions"]),
        (
            [QuestionResponse(selected_option_ids=["\ud800"])],
            [QuestionResponse(selected_option_ids=["\N{REPLACEMENT CHARACTER}"])],
            ["lone surrogates in the answer to question 1 are replaced"],
        ),
    ],
    ids=repr,
)
def test_an_answer_becomes_a_response(answers: Any, responses: Any, problems: list[str]) -> None:
    found = respond([COLOR], answers)

    assert found.problems == problems
    if responses is not None:
        assert found.responses == responses
