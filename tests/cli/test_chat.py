from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from agy_actors.testing import ScriptedModel, http_error, say, silence
from tests.cli.command_line import CTRL_C, CTRL_D, Terminal, at, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def terminal(model: ScriptedModel) -> Iterator[Terminal]:
    with Terminal("chat", *at(model)) as terminal:
        terminal.shows("you> ")
        yield terminal


class TestAtATerminal:
    def test_an_answer_is_streamed_as_it_comes(
        self, terminal: Terminal, model: ScriptedModel
    ) -> None:
        gate = threading.Event()
        model.then(say("first second", chunks=("first ", "second"), gate=gate))

        terminal.types("hello\n")

        terminal.shows("first ")
        assert "second" not in terminal.output
        gate.set()
        terminal.shows("second")
        terminal.shows("you> ")

    def test_ctrl_c_cancels_the_turn_and_the_conversation_goes_on(
        self, terminal: Terminal, model: ScriptedModel
    ) -> None:
        model.then(silence("Once upon "))
        terminal.types("tell me a story\n")
        terminal.shows("Once ")

        terminal.types(CTRL_C)

        terminal.shows("(cancelled)")
        model.wait_for_disconnect()
        terminal.shows("you> ")
        terminal.types("still there?\n")
        terminal.shows("echo: still there?")
        terminal.shows("you> ")
        terminal.types(CTRL_D)
        assert terminal.ends() == 0

    def test_ctrl_c_cancels_turns_as_often_as_one_likes(
        self, terminal: Terminal, model: ScriptedModel
    ) -> None:
        for number in range(8):
            model.then(silence(f"story {number} "))
            terminal.types(f"tell me story {number}\n")
            terminal.shows(f"story {number}")  # What was typed is shown first.
            terminal.shows(f"story {number}")
            terminal.types(CTRL_C)
            terminal.shows("you> ")

        terminal.types("still there?\n")

        terminal.shows("echo: still there?")

    def test_ctrl_c_with_nothing_typed_ends_it(self, terminal: Terminal) -> None:
        terminal.gets_ctrl_c_at_the_prompt()

        assert terminal.ends() == 0

    def test_ctrl_c_drops_what_was_typed(self, terminal: Terminal, model: ScriptedModel) -> None:
        terminal.types("this is not wanted")
        terminal.shows("not wanted")

        terminal.gets_ctrl_c_at_the_prompt()

        terminal.shows("you> ")
        terminal.types("this is\n")
        terminal.shows("echo: this is")
        assert [request.prompt for request in model.requests] == ["this is"]

    @pytest.mark.parametrize("end", [CTRL_D, b"/quit\n"])
    def test_it_ends_when_told(self, terminal: Terminal, end: bytes) -> None:
        terminal.types(end)

        assert terminal.ends() == 0

    def test_the_model_cannot_steer_the_terminal(
        self, terminal: Terminal, model: ScriptedModel
    ) -> None:
        model.then(say("be\x1bcause"))

        terminal.types("why?\n")

        terminal.shows("be\N{REPLACEMENT CHARACTER}cause")

    def test_an_error_is_told_and_the_conversation_goes_on(
        self, terminal: Terminal, model: ScriptedModel
    ) -> None:
        model.then(http_error(503))

        terminal.types("hello\n")

        terminal.shows("ModelError: ")
        terminal.shows("ask again")
        terminal.shows("you> ")
        terminal.types("again\n")
        terminal.shows("echo: again")


class TestWithLines:
    def test_each_line_is_answered_on_standard_output(self, model: ScriptedModel) -> None:
        done = run("chat", *at(model), stdin="one\n\ntwo\n")

        assert done.stdout == "echo: one\necho: two\n"
        assert done.stderr.startswith("scripted on 127.0.0.1:")
        assert done.returncode == 0

    def test_the_model_is_given_the_whole_conversation(self, model: ScriptedModel) -> None:
        run("chat", *at(model), stdin="one\ntwo\n")

        assert model.requests[-1].messages == (
            ("user", "one"),
            ("assistant", "echo: one"),
            ("user", "two"),
        )

    def test_a_line_that_fails_is_told_and_the_rest_are_answered(
        self, model: ScriptedModel
    ) -> None:
        model.then(http_error(400, "no such thing"))

        done = run("chat", *at(model), stdin="one\ntwo\n")

        assert done.stdout == "echo: two\n"
        assert "ModelError: " in done.stderr
        assert "no such thing" in done.stderr
        assert done.returncode == 1

    def test_a_turn_that_takes_too_long_is_told(self, model: ScriptedModel) -> None:
        model.then(silence())

        done = run("chat", *at(model), "--timeout=0.5", stdin="one\n")

        assert "TurnTimeout: " in done.stderr
        assert done.returncode == 1


def test_a_conversation_is_resumed_by_its_name(model: ScriptedModel, tmp_path: Path) -> None:
    kept = ["chat", *at(model), f"--state-dir={tmp_path}"]
    run(*kept, "--name=rain", stdin="one\n")

    other = run(*kept, "--name=snow", stdin="two\n")
    again = run(*kept, "--name=rain", stdin="three\n")

    assert "resumed" not in other.stderr
    assert "'rain' is resumed after 1 turn; the last answer: echo: one" in again.stderr
    assert model.requests[-2].messages == (("user", "two"),)
    assert model.requests[-1].messages == (
        ("user", "one"),
        ("assistant", "echo: one"),
        ("user", "three"),
    )
