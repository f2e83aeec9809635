"""A human in the loop."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import AgentBehavior, BuiltinTools, CapabilitiesConfig
from google.antigravity.hooks import policy
from google.antigravity.types import QuestionResponse

from agy_actors import (
    Cancel,
    Chat,
    ConfirmationAsked,
    GetStatistics,
    InvalidConfig,
    IsIdle,
    QuestionAsked,
    TurnCancelled,
    WaitForIdle,
    confirmations,
    questions,
)
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import AgentConfig
    from google.antigravity.types import ToolCall

    from agy_actors import Event, SupervisorRef
    from agy_actors.testing import ModelRequest


class Safe:
    """A tool that may be used only if a person agrees."""

    def __init__(self) -> None:
        self.opened = 0

    def configure(self, model: ScriptedModel, handler: Callable[..., Any]) -> AgentConfig:
        def open_safe(code: int) -> str:
            """Open the safe."""
            self.opened += 1
            return f"gold for {code}"

        model.when("open", call_tool("open_safe", {"code": 7}), times=1)
        model.when(_has_result, say("done"))
        return model.openai_config(
            tools=[open_safe], policies=[policy.ask_user("open_safe", handler=handler)]
        )


@pytest.fixture
def safe() -> Safe:
    return Safe()


def _has_result(request: ModelRequest) -> bool:
    return request.messages[-1][0] == "tool"


def listen(supervisor: SupervisorRef, kind: type[Event]) -> queue.Queue[Any]:
    """Return a queue of all events of a kind."""
    events: queue.Queue[Any] = queue.Queue()
    supervisor.subscribe(lambda event: events.put(event) if isinstance(event, kind) else None)
    return events


@pytest.mark.parametrize("agreed", [True, False])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_handler_that_blocks_delays_its_turn_but_no_query(
    model: ScriptedModel, supervisor: SupervisorRef, safe: Safe, *, agreed: bool, wrapped: bool
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def ask(tool_call: ToolCall) -> bool:
        assert tool_call.args == {"code": 7}
        asked.set()
        answered.wait(PATIENCE)
        return agreed

    handler = confirmations(ask, timeout=PATIENCE) if wrapped else ask
    agent = supervisor.create_agent(safe.configure(model, handler))
    future = agent.ask(Chat("open"), block=False)
    assert asked.wait(PATIENCE)

    idle, state = agent.ask(IsIdle()), agent.ask(GetStatistics()).state
    opened = safe.opened
    answered.set()

    assert (idle, state, opened) == (False, "busy", 0)
    assert future.get(timeout=PATIENCE).text == "done"
    assert safe.opened == agreed


def test_the_time_that_a_person_takes_is_not_a_stall(
    model: ScriptedModel, supervisor: SupervisorRef, safe: Safe
) -> None:
    stall = 2.0
    agent = supervisor.create_agent(
        safe.configure(model, lambda _: not threading.Event().wait(1.2 * stall))
    )

    reply = agent.ask(Chat("open", stall_timeout=stall), timeout=PATIENCE)

    assert (reply.text, safe.opened) == ("done", 1)


@pytest.mark.parametrize("agreed", [True, False])
def test_a_confirmation_is_an_event_that_any_thread_can_answer(
    model: ScriptedModel, supervisor: SupervisorRef, safe: Safe, *, agreed: bool
) -> None:
    events = listen(supervisor, ConfirmationAsked)
    agent = supervisor.create_agent(safe.configure(model, confirmations()), "teller")
    future = agent.ask(Chat("open"), block=False)

    event: ConfirmationAsked = events.get(timeout=PATIENCE)
    event.reply.set(agreed)

    assert (event.agent, event.tool_call.name, event.tool_call.args) == (
        "teller",
        "open_safe",
        {"code": 7},
    )
    assert future.get(timeout=PATIENCE).text == "done"
    assert safe.opened == agreed


@pytest.mark.parametrize("default", [True, False])
def test_an_answer_that_does_not_come_in_time_is_the_default(
    model: ScriptedModel, supervisor: SupervisorRef, safe: Safe, *, default: bool
) -> None:
    events = listen(supervisor, ConfirmationAsked)
    handler = confirmations(timeout=0.1, default=default)
    agent = supervisor.create_agent(safe.configure(model, handler))

    assert agent.ask(Chat("open"), timeout=PATIENCE).text == "done"
    assert safe.opened == default
    assert events.get(timeout=PATIENCE).reply.cancelled()


@pytest.mark.parametrize("default", [True, False])
def test_without_a_subscriber_the_answer_is_the_default_at_once(
    model: ScriptedModel, supervisor: SupervisorRef, safe: Safe, *, default: bool
) -> None:
    agent = supervisor.create_agent(safe.configure(model, confirmations(default=default)))

    assert agent.ask(Chat("open"), timeout=PATIENCE).text == "done"
    assert safe.opened == default


def test_a_question_is_withdrawn_when_its_turn_is_cancelled(
    model: ScriptedModel, supervisor: SupervisorRef, safe: Safe
) -> None:
    events = listen(supervisor, ConfirmationAsked)
    agent = supervisor.create_agent(safe.configure(model, confirmations()))
    future = agent.ask(Chat("open"), block=False)
    event: ConfirmationAsked = events.get(timeout=PATIENCE)

    assert agent.ask(Cancel())

    with pytest.raises(TurnCancelled):
        future.get(timeout=PATIENCE)
    assert event.reply.cancelled()
    assert safe.opened == 0
    assert agent.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"


def test_the_first_answer_counts_and_later_ones_raise_nothing(
    model: ScriptedModel, supervisor: SupervisorRef, safe: Safe
) -> None:
    events = listen(supervisor, ConfirmationAsked)
    agent = supervisor.create_agent(safe.configure(model, confirmations()))
    future = agent.ask(Chat("open"), block=False)
    event: ConfirmationAsked = events.get(timeout=PATIENCE)

    assert event.reply.set(True) is True
    assert event.reply.set(False) is False
    assert event.reply.set_exception((OSError, OSError("no terminal"), None)) is False

    assert future.get(timeout=PATIENCE).text == "done"
    assert event.reply.set(False) is False
    assert safe.opened == 1


def test_an_answer_that_comes_too_late_raises_nothing(
    model: ScriptedModel, supervisor: SupervisorRef, safe: Safe
) -> None:
    events = listen(supervisor, ConfirmationAsked)
    agent = supervisor.create_agent(safe.configure(model, confirmations(timeout=0.1)))
    assert agent.ask(Chat("open"), timeout=PATIENCE).text == "done"

    event: ConfirmationAsked = events.get(timeout=PATIENCE)

    assert event.reply.set(True) is False
    assert event.reply.set_exception((OSError, OSError("no terminal"), None)) is False
    assert safe.opened == 0


def test_an_answer_to_a_cancelled_turn_raises_nothing(
    supervisor: SupervisorRef, asking: AgentConfig
) -> None:
    events = listen(supervisor, QuestionAsked)
    agent = supervisor.create_agent(asking)
    future = agent.ask(Chat("ask"), block=False)
    event: QuestionAsked = events.get(timeout=PATIENCE)

    future.cancel()
    agent.ask(WaitForIdle(), timeout=PATIENCE)

    assert event.reply.set(["blue"]) is False


def test_a_handler_that_raises_is_a_refusal(
    model: ScriptedModel, supervisor: SupervisorRef, safe: Safe
) -> None:
    def ask(_: ToolCall) -> bool:
        raise OSError("no terminal")

    agent = supervisor.create_agent(safe.configure(model, ask))

    assert agent.ask(Chat("open"), timeout=PATIENCE).text == "done"
    assert safe.opened == 0


ASKED = [
    {"question": "Which color?", "options": ["red", "blue"]},
    {"question": "Which sizes?", "options": ["S", "M", "L"], "is_multi_select": True},
    {"question": "Anything else?", "options": ["no", "yes"]},
]


@pytest.fixture
def asking(model: ScriptedModel) -> AgentConfig:
    call = {"questions": ASKED, "toolSummary": "Ask", "toolAction": "Asking"}
    model.when("ask", call_tool("ask_question", call), times=1)
    model.when(_has_result, say(lambda request: request.tool_results[-1].output))
    return model.openai_config(
        capabilities=CapabilitiesConfig(
            agent_behavior=AgentBehavior.INTERACTIVE, enabled_tools=[BuiltinTools.ASK_QUESTION]
        ),
        hooks=[questions(timeout=PATIENCE)],
    )


def test_a_models_questions_are_an_event_that_any_thread_can_answer(
    supervisor: SupervisorRef, asking: AgentConfig
) -> None:
    events = listen(supervisor, QuestionAsked)
    agent = supervisor.create_agent(asking)
    future = agent.ask(Chat("ask"), block=False)

    event: QuestionAsked = events.get(timeout=PATIENCE)
    event.reply.set(["blue", ["S", "L"], "a bow"])

    assert [entry.question for entry in event.questions] == [
        "Which color?",
        "Which sizes?",
        "Anything else?",
    ]
    text = future.get(timeout=PATIENCE).text
    assert [word in text for word in ("blue", "S", "L", "a bow", "red")] == [True] * 4 + [False]


@pytest.mark.parametrize("answers", [[], [None, None], [QuestionResponse(skipped=True)]])
def test_questions_without_an_answer_are_skipped(
    supervisor: SupervisorRef, asking: AgentConfig, answers: list[Any]
) -> None:
    events = listen(supervisor, QuestionAsked)
    agent = supervisor.create_agent(asking)
    future = agent.ask(Chat("ask"), block=False)

    events.get(timeout=PATIENCE).reply.set(answers)

    text = future.get(timeout=PATIENCE).text
    assert "blue" not in text
    assert "red" not in text


def test_without_a_subscriber_questions_are_skipped(
    supervisor: SupervisorRef, asking: AgentConfig
) -> None:
    agent = supervisor.create_agent(asking)

    assert "red" not in agent.ask(Chat("ask"), timeout=PATIENCE).text


@pytest.mark.parametrize("make", [confirmations, questions])
@pytest.mark.parametrize("timeout", [0, -1, "soon", True])
def test_an_invalid_timeout_is_refused(make: Callable[..., Any], timeout: Any) -> None:
    with pytest.raises(InvalidConfig, match="timeout"):
        make(timeout=timeout)
