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
    def test_an_answer_is_streamed(self, terminal: Terminal, model: ScriptedModel) -> None:
        gate = threading.Event()
        model.then(say("first second", chunks=("first ", "second"), gate=gate))

        terminal.types("hello\n")

        terminal.shows("first ")
        assert "second" not in terminal.output
        gate.set()
        terminal.shows("second")
        terminal.shows("you> ")

    def test_ctrl_c_cancels_the_turn_and_the_conversation_continues(
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

    def test_a_turn_can_be_cancelled_before_its_answer_begins(
        self, terminal: Terminal, model: ScriptedModel
    ) -> None:
        model.then(silence())
        terminal.types("tell me a story\n")
        model.wait_for_requests(1)

        terminal.types(CTRL_C)

        terminal.shows("(cancelled)")
        assert " (cancelled)" not in terminal.output

    def test_ctrl_c_cancels_many_turns(self, terminal: Terminal, model: ScriptedModel) -> None:
        for number in range(8):
            model.then(silence(f"story {number} "))
            terminal.types(f"tell me story {number}\n")
            terminal.shows(f"story {number}")  # What was typed is shown first.
            terminal.shows(f"story {number}")
            terminal.types(CTRL_C)
            terminal.shows("you> ")

        terminal.types("still there?\n")

        terminal.shows("echo: still there?")

    def test_ctrl_c_at_an_empty_prompt_ends_the_program(self, terminal: Terminal) -> None:
        terminal.gets_ctrl_c_at_the_prompt()

        assert terminal.ends() == 0

    def test_ctrl_c_discards_the_typed_text(self, terminal: Terminal, model: ScriptedModel) -> None:
        terminal.types("this is not wanted")
        terminal.shows("not wanted")

        terminal.gets_ctrl_c_at_the_prompt()

        terminal.shows("you> ")
        terminal.types("this is\n")
        terminal.shows("echo: this is")
        assert [request.prompt for request in model.requests] == ["this is"]

    @pytest.mark.parametrize("end", [CTRL_D, b"/quit\n"])
    def test_ctrl_d_and_quit_end_the_program(self, terminal: Terminal, end: bytes) -> None:
        terminal.types(end)

        assert terminal.ends() == 0

    def test_the_model_cannot_control_the_terminal(
        self, terminal: Terminal, model: ScriptedModel
    ) -> None:
        model.then(say("be\x1bcause"))

        terminal.types("why?\n")

        terminal.shows("be\N{REPLACEMENT CHARACTER}cause")

    def test_lines_are_wrapped_between_words(self, model: ScriptedModel) -> None:
        model.then(say("one two three four five six seven eight nine"))
        with Terminal("chat", *at(model), variables={"COLUMNS": "20"}) as terminal:
            terminal.shows("you> ")
            terminal.types("count\n")

            terminal.shows("one two three four \r\nfive six seven eight\r\nnine\r\n")

    def test_an_answer_continues_in_its_line_after_a_silence(
        self, terminal: Terminal, model: ScriptedModel
    ) -> None:
        gate = threading.Event()
        model.then(say("first second", chunks=("first ", "second"), gate=gate))
        terminal.types("hello\n")
        terminal.shows("first")
        terminal.shows("waiting for the model for 3 s")

        gate.set()

        terminal.shows("second\r\n")
        assert "\x1b[1A\x1b[7Gsecond\r\n" in terminal.raw

    def test_an_unknown_slash_command_is_not_sent(
        self, terminal: Terminal, model: ScriptedModel
    ) -> None:
        terminal.types("/hlep\n")
        terminal.shows("there is no command /hlep; did you mean /help?")
        terminal.shows("you> ")
        terminal.types("/help\n")
        terminal.shows("/plan  let the model make a plan")
        terminal.shows("you> ")
        terminal.types("//hlep\n")
        terminal.shows("echo: /hlep")

        assert [request.prompt for request in model.requests] == ["/hlep"]

    def test_an_error_is_printed_and_the_conversation_continues(
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

    def test_the_model_gets_the_whole_conversation(self, model: ScriptedModel) -> None:
        run("chat", *at(model), stdin="one\ntwo\n")

        assert model.requests[-1].messages == (
            ("user", "one"),
            ("assistant", "echo: one"),
            ("user", "two"),
        )

    def test_an_error_is_printed_and_the_other_lines_are_answered(
        self, model: ScriptedModel
    ) -> None:
        model.then(http_error(400, "no such thing"))

        done = run("chat", *at(model), stdin="one\ntwo\n")

        assert done.stdout == "echo: two\n"
        assert "ModelError: " in done.stderr
        assert "no such thing" in done.stderr
        assert done.returncode == 1

    def test_a_turn_timeout_is_printed(self, model: ScriptedModel) -> None:
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
