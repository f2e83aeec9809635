"""What the conversation tells about a request whose program was killed in the middle of it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from agy_actors import RequestState, TurnInterrupted
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.agents.held_turns import Held
from tests.harnesses import PATIENCE, has_ended, until
from tests.sessions.session_program import book
from tests.sessions.session_programs import Program, prompts_of, run, wait_until_asked, was_asked
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def held(model: ScriptedModel) -> Iterator[Held]:
    held = Held(model)
    yield held
    held.let_go()


def crash(program: Program, key: str) -> None:
    """Kill the process of a session in another program."""
    harness = psutil.Process(program.do("find_harness", key=key))
    os.kill(harness.pid, signal.SIGKILL)
    until(lambda: has_ended(harness))


def test_a_request_whose_program_was_killed_after_a_tool_call_fails(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    model.then(call_tool("book", {"city": "Rome"}), say("held", gate=held.gate))
    with Program(tmp_path, model) as program:
        program.do("submit", key="ada", prompt="go to Rome", id="0")
        program.do("submit", key="ada", prompt="next", id="1")
        model.wait_for_requests(2)
        program.kill()

    with run(tmp_path, model, model.openai_config(tools=[book])) as users:
        first, second = users.receipts()
        with pytest.raises(TurnInterrupted, match=r"'0'.*'ada'.*tool call"):
            first.result(timeout=PATIENCE)
        assert first.state is RequestState.FAILED
        assert second.result(timeout=PATIENCE).text == "echo: next"


@pytest.mark.parametrize("with_tool", quick([False, True], 1), ids=["text", "tool"])
def test_an_answer_that_was_not_saved_is_taken_from_the_conversation(
    tmp_path: Path, model: ScriptedModel, with_tool: bool
) -> None:
    if with_tool:
        model.then(call_tool("book", {"city": "Rome"}), say("booked"))
    with Program(tmp_path, model) as program:
        program.do("hold_results")
        program.do("submit", key="ada", prompt="go", id="0")
        assert program.held.result(PATIENCE) == "0"
        program.kill()
    asked = len(model.requests)

    with run(tmp_path, model, model.openai_config(tools=[book])) as users:
        receipt = users.receipt("0")
        assert receipt is not None
        reply = receipt.result(timeout=PATIENCE)
        assert reply.text == ("booked" if with_tool else "echo: go")
        assert [call.name for call in reply.tool_calls] == ["book"] * with_tool
        assert receipt.attempts == 1
        assert prompts_of(users["ada"]) == ["go"]
    assert len(model.requests) == asked


def test_earlier_tool_calls_of_the_session_hide_no_tool_call_of_the_request(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with Program(tmp_path, model) as program:
        for city in ("Rome", "Oslo", "Bern"):
            model.then(call_tool("book", {"city": city}), say("booked"))
            program.do("ask", key="ada", prompt=f"go to {city}")
        model.then(call_tool("book", {"city": "Paris"}), say("held", gate=held.gate))
        program.do("submit", key="ada", prompt="go to Paris", id="0")
        model.wait_for_requests(8)
        program.kill()

    with run(tmp_path, model, model.openai_config(tools=[book])) as users:
        receipt = users.receipt("0")
        assert receipt is not None
        with pytest.raises(TurnInterrupted, match=r"'0'.*tool call"):
            receipt.result(timeout=PATIENCE)
    assert len(model.requests) == 8


@pytest.mark.slow
def test_earlier_tool_calls_of_the_session_hide_no_answer_of_the_request(
    tmp_path: Path, model: ScriptedModel
) -> None:
    with Program(tmp_path, model) as program:
        program.do("hold_results")
        for city in ("Rome", "Oslo", "Bern"):
            model.then(call_tool("book", {"city": city}), say("booked"))
            program.do("ask", key="ada", prompt=f"go to {city}")
        program.do("submit", key="ada", prompt="and now", id="0")
        assert program.held.result(PATIENCE) == "0"
        program.kill()

    with run(tmp_path, model, model.openai_config(tools=[book])) as users:
        receipt = users.receipt("0")
        assert receipt is not None
        assert receipt.result(timeout=PATIENCE).text == "echo: and now"
    assert was_asked(model, "and now") == 1


def test_the_answer_to_an_equal_earlier_prompt_is_not_that_of_the_request(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with Program(tmp_path, model) as program:
        model.then(say("yesterday"))
        program.do("ask", key="ada", prompt="hold the report")
        program.do("clear_history", key="ada")
        program.do("submit", key="ada", prompt="hold the report", id="0")
        wait_until_asked(model, "hold the report", 2)
        program.kill()

    held.let_go()
    with run(tmp_path, model) as users:
        receipt = users.receipt("0")
        assert receipt is not None
        assert receipt.result(timeout=PATIENCE).text == "held"
        assert receipt.attempts == 2


@pytest.mark.slow
def test_the_answer_of_a_turn_that_was_tried_again_after_a_crash_is_found(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with Program(tmp_path, model) as program:
        program.do("hold_results")
        program.do("submit", key="ada", prompt="hold", id="0")
        wait_until_asked(model, "hold")
        crash(program, "ada")
        wait_until_asked(model, "hold", 2)
        held.let_go()
        assert program.held.result(PATIENCE) == "0"
        program.kill()

    with run(tmp_path, model) as users:
        receipt = users.receipt("0")
        assert receipt is not None
        assert receipt.result(timeout=PATIENCE).text == "held"
    assert was_asked(model, "hold") == 2


def test_a_tool_call_of_a_turn_that_was_tried_again_after_a_crash_is_found(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    model.then(say("held", gate=held.gate), call_tool("book", {"city": "Rome"}))
    model.then(say("held", gate=held.gate))
    with Program(tmp_path, model) as program:
        program.do("submit", key="ada", prompt="go", id="0")
        model.wait_for_requests(1)
        crash(program, "ada")
        model.wait_for_requests(3)
        program.kill()

    with run(tmp_path, model, model.openai_config(tools=[book])) as users:
        receipt = users.receipt("0")
        assert receipt is not None
        with pytest.raises(TurnInterrupted, match=r"'0'.*tool call"):
            receipt.result(timeout=PATIENCE)
    assert len(model.requests) == 3
