"""``agy-actors chat``: a conversation, streamed as it comes.

Ctrl-C while the agent answers cancels that turn; a second one, while the cancelled turn
is being ended, ends the program. At the prompt Ctrl-C drops what was typed, and with
nothing typed it ends the program, as Ctrl-D and ``/quit`` do.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tenacity
from rich.text import Text

from agy_actors import (
    AgyActorsError,
    Backoff,
    Chat,
    GetLastResponse,
    GetTurnCount,
    Supervisor,
    TurnCancelled,
)
from agy_actors.cli._models import ModelOptions, open_model
from agy_actors.cli._prompts import UsageProblem
from agy_actors.cli._show import console, harmless, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import AgentRef

__all__ = ["ChatOptions", "chat"]

_QUIT = "/quit"
_PROMPT = "you> "
_MAX_RESTARTS = 1000
"""In a minute. An interrupt at a terminal reaches the agent's process as well, and may end
it: that must never be a crash too many, however often the user interrupts."""


@dataclass(frozen=True)
class ChatOptions:
    """What to do."""

    name: str | None = None
    """The conversation's name in the folder."""

    state_dir: Path | None = None
    """The folder where conversations are kept, or `None` to keep none."""

    timeout: float | None = None
    """Seconds that a turn may take."""


def chat(options: ChatOptions, model: ModelOptions) -> bool:
    """Have a conversation, with a user at a terminal or with the lines of standard input.

    Returns:
        Whether every turn was answered or cancelled by the user.

    Raises:
        UsageProblem: the options or the model cannot be used.
        AgyActorsError: the agent did not start.
    """
    if options.name is not None and options.state_dir is None:
        raise UsageProblem(
            "--name names a conversation that is kept in a folder: give --state-dir too"
        )
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    with (
        open_model(model) as choice,
        Supervisor.start(
            name="chat",
            state_dir=options.state_dir,
            max_restarts=_MAX_RESTARTS,
            backoff=Backoff(wait=tenacity.wait_exponential(0.25, 1.0)),
        ) as supervisor,
    ):
        ref = supervisor.create_agent(choice.config, options.name or "chat")
        talk = _Talk(ref, options.timeout, interactive=interactive)
        talk.greet(choice.label)
        return talk.run()


class _Talk:
    def __init__(self, ref: AgentRef, timeout: float | None, *, interactive: bool) -> None:
        self._ref = ref
        self._timeout = timeout
        self._interactive = interactive
        self._out = console()
        self._err = console(stderr=True)
        self._complete = True

    def greet(self, label: str) -> None:
        """Tell what answers, and what of the conversation there is already."""
        # Where somebody's program reads the answers, they are all there is to read.
        out = self._out if self._interactive else self._err
        out.print(Text(label, "bold"))
        turns = self._ref.ask(GetTurnCount())
        if turns:
            last = one_line(self._ref.ask(GetLastResponse()) or "")
            after = "1 turn" if turns == 1 else f"{turns} turns"
            out.print(f"{self._ref.name!r} is resumed after {after}; the last answer: {last}")
        if self._interactive:
            out.print(Text(f"Ctrl-C stops an answer; {_QUIT} or Ctrl-D ends.", "dim"))

    def run(self) -> bool:
        """Take prompts and answer them, until there are no more."""
        for prompt in _typed() if self._interactive else _piped():
            if prompt == _QUIT:
                break
            try:
                self._answer(prompt)
            except AgyActorsError as error:
                self._complete = False
                self._end_line()
                hint = "; it may pass: ask again" if error.retryable else ""
                self._err.print(
                    Text(f"{type(error).__name__}: {harmless(str(error))}{hint}", "red")
                )
                if not self._ref.is_alive():
                    break
        return self._complete

    def _answer(self, prompt: str) -> None:
        stream = self._ref.stream(Chat(prompt, timeout=self._timeout))
        try:
            try:
                for text in stream:
                    self._write(text)
                stream.result()
            except KeyboardInterrupt:
                stream.cancel()
                if not self._interactive:
                    raise
                self._write(" ")
                self._out.print(Text("(cancelled)", "yellow"))
                return
        except TurnCancelled:
            self._write("\n")
            return
        self._write("\n")

    def _write(self, text: str) -> None:
        # Not by rich, which would break lines; and at once, piece by piece.
        sys.stdout.write(harmless(text) if self._interactive else text)
        sys.stdout.flush()

    def _end_line(self) -> None:
        if self._interactive:
            self._write("\n")


def _piped() -> Iterator[str]:
    """Read the lines of standard input that hold anything."""
    for line in sys.stdin:
        if line.strip():
            yield line.strip()


def _typed() -> Iterator[str]:
    """Read what the user types, with line editing where there is any."""
    try:
        readline: Any = importlib.import_module("readline")
    except ImportError:  # Windows has none.
        readline = None
    while True:
        try:
            line = input(_PROMPT)
        except EOFError:
            sys.stdout.write("\n")
            return
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            if readline is None or not readline.get_line_buffer().strip():
                return
            continue
        if line.strip():
            yield line.strip()
