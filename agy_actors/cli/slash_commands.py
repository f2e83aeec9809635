"""The slash commands of ``chat``."""

from __future__ import annotations

import difflib
import enum
import re
from typing import Any, NamedTuple

from google.antigravity.types import BuiltinSlashCommandName, SlashCommand

__all__ = ["HELP", "Action", "Entered", "complete_by", "read_line"]

_QUIT, _HELP = "/quit", "/help"
_SDK = {f"/{command.value}": command for command in BuiltinSlashCommandName}
_MEANINGS = {
    **dict.fromkeys(_SDK, "a command for the model"),
    "/plan": "let the model make a plan before it carries out the prompt",
    _HELP: "show this list",
    _QUIT: "end the program (also Ctrl-D)",
}
_NAMES = tuple(sorted(_MEANINGS))
_COMMAND = re.compile(r"(/[A-Za-z][\w-]*)(?:\s+(.*))?", re.DOTALL)

HELP = "\n".join(
    [
        *(f"{name}  {_MEANINGS[name]}" for name in _NAMES),
        "A line that starts with // is sent with a single slash. Tab completes a command.",
        "Ctrl-C cancels an answer, or discards the typed text.",
    ]
)
"""The output of `/help`."""


class Action(enum.Enum):
    """What to do with a line."""

    ASK = "ask"
    SHOW = "show"
    QUIT = "quit"


class Entered(NamedTuple):
    """The meaning of a line."""

    action: Action

    content: Any = ""
    """The prompt to send or the text to show."""


def read_line(line: str, *, typed: bool) -> Entered:
    """Interpret a line.

    Args:
        line: the line, without surrounding white space.
        typed: whether a user typed it. If not, a line with an unknown command is a prompt.
    """
    if line.startswith("//") and typed:
        return Entered(Action.ASK, line[1:])
    found = _COMMAND.fullmatch(line)
    if found is None:
        return Entered(Action.ASK, line)
    name, rest = found[1].lower(), (found[2] or "").strip()
    if name in _SDK:
        command = SlashCommand(name=_SDK[name])
        return Entered(Action.ASK, [command, rest] if rest else command)
    if name == _QUIT and not rest:
        return Entered(Action.QUIT)
    if name == _HELP and typed:
        return Entered(Action.SHOW, HELP)
    return Entered(Action.SHOW, _unknown(found[1])) if typed else Entered(Action.ASK, line)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), _NAMES, 1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return (
        f"there is no command {name}{meant} (commands: {', '.join(_NAMES)};"
        f" to send it to the model, type /{name})"
    )


def complete_by(readline: Any) -> None:
    """Complete commands at the start of a line with the Tab key.

    Args:
        readline: the module `readline`.
    """

    def complete(text: str, state: int) -> str | None:
        found = [name for name in _NAMES if name.startswith(text or "/")]
        return found[state] if readline.get_begidx() == 0 and state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n")
    is_libedit = "libedit" in (readline.__doc__ or "")  # libedit has other key bindings.
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
