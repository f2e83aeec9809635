"""The meaning and the completion of slash commands."""

from __future__ import annotations

import pytest
from google.antigravity.types import BuiltinSlashCommandName, SlashCommand

from agy_actors.cli.slash_commands import HELP, Action, complete_by, read_line

PLAN = SlashCommand(name=BuiltinSlashCommandName.PLAN)


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize(
    ("line", "action", "content"),
    [
        ("hello", Action.ASK, "hello"),
        ("/etc/passwd", Action.ASK, "/etc/passwd"),
        ("/ what?", Action.ASK, "/ what?"),
        ("/plan", Action.ASK, PLAN),
        ("/plan build a boat", Action.ASK, [PLAN, "build a boat"]),
        ("/QUIT", Action.QUIT, ""),
    ],
)
def test_a_line_means_the_same_whether_typed_or_not(
    line: str, typed: bool, action: Action, content: object
) -> None:
    assert read_line(line, typed=typed) == (action, content)


@pytest.mark.parametrize("line", ["/help", "/nonsense", "//plan", "/quit it"])
def test_a_line_that_was_not_typed_is_a_prompt_unless_it_is_a_command(line: str) -> None:
    assert read_line(line, typed=False) == (Action.ASK, line)


def test_help_names_every_command() -> None:
    assert read_line("/help", typed=True) == (Action.SHOW, HELP)
    for name in ("/help", "/quit", *(f"/{name.value}" for name in BuiltinSlashCommandName)):
        assert f"{name}  " in HELP


def test_an_unknown_command_lists_the_commands() -> None:
    action, content = read_line("/qiut", typed=True)

    assert action is Action.SHOW
    assert content == (
        "there is no command /qiut; did you mean /quit? (commands: /help, /plan, /quit;"
        " to send it to the model, type //qiut)"
    )


def test_two_slashes_send_one_slash() -> None:
    assert read_line("//qiut now", typed=True) == (Action.ASK, "/qiut now")


class FakeReadline:
    def __init__(self, doc: str, begin: int = 0) -> None:
        self.__doc__ = doc
        self.bound: list[str] = []
        self.begin = begin

    def set_completer(self, completer: object) -> None:
        self.completer = completer

    def set_completer_delims(self, delimiters: str) -> None:
        assert "/" not in delimiters

    def parse_and_bind(self, line: str) -> None:
        self.bound.append(line)

    def get_begidx(self) -> int:
        return self.begin


@pytest.mark.parametrize(
    ("doc", "binding"),
    [("GNU readline", "tab: complete"), ("libedit readline", "bind ^I rl_complete")],
)
def test_the_tab_key_completes_commands(doc: str, binding: str) -> None:
    readline = FakeReadline(doc)

    complete_by(readline)

    assert readline.bound == [binding]
    assert callable(readline.completer)
    assert [readline.completer("/p", state) for state in (0, 1)] == ["/plan", None]
    readline.begin = 3
    assert readline.completer("/p", 0) is None
