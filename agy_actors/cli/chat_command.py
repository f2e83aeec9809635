"""``agy-actors chat``: a conversation with streamed answers.

Ctrl-C during an answer cancels the turn; a second Ctrl-C, while the turn is being cancelled,
ends the program. At the prompt, Ctrl-C discards the typed text; at an empty prompt, Ctrl-C,
Ctrl-D and ``/quit`` end the program.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
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
from agy_actors.cli.answer_screen import AnswerScreen
from agy_actors.cli.console import harmless, one_line
from agy_actors.cli.model_choice import ModelOptions, open_model
from agy_actors.cli.recording import Recording
from agy_actors.cli.slash_commands import Action, complete_by, read_line
from agy_actors.cli.usage_problem import UsageProblem
from agy_actors.cli.wait_reporter import WaitReporter
from agy_actors.cli.wait_state import WaitState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import AgentRef

__all__ = ["ChatOptions", "chat"]

_PROMPT = "you> "
_MAX_RESTARTS = 1000
"""Per minute. Ctrl-C at a terminal also reaches the agent's process and may end it. The user
must be able to interrupt as often as they like without the supervisor giving the agent up."""


@dataclass(frozen=True)
class ChatOptions:
    """The options of ``chat``."""

    name: str | None = None
    """The name of the conversation in the folder."""

    state_dir: Path | None = None
    """The folder that conversations are saved in; `None` to save none."""

    timeout: float | None = None
    """The time limit of a turn in seconds; `None` for the default."""

    recording: Recording = field(default_factory=Recording)
    """Where traces and metrics go."""


def chat(options: ChatOptions, model: ModelOptions) -> bool:
    """Hold a conversation with a user at a terminal, or with the lines of standard input.

    Returns:
        Whether every turn was answered or cancelled by the user.

    Raises:
        UsageProblem: an option or the model cannot be used.
        AgyActorsError: the agent did not start.
    """
    if options.name is not None and options.state_dir is None:
        raise UsageProblem(
            "--name needs the folder that conversations are saved in: give --state-dir too"
        )
    options.recording.check()
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    waits = WaitState()
    screen = AnswerScreen(waits.describe, interactive=interactive)
    with ExitStack() as stack:
        stack.callback(screen.hide)
        reporter = stack.enter_context(WaitReporter(screen.remind, waits))
        _wait(screen, reporter, "the model to be ready")
        choice = stack.enter_context(open_model(model))
        stack.callback(_wait, screen, reporter, "the agent to end")
        supervisor = stack.enter_context(
            Supervisor.start(
                name="chat",
                state_dir=options.state_dir,
                max_restarts=_MAX_RESTARTS,
                backoff=Backoff(wait=tenacity.wait_exponential(0.25, 1.0)),
            )
        )
        stack.enter_context(options.recording.of(supervisor))
        reporter.follow(supervisor)
        _wait(screen, reporter, "the agent to start")
        ref = supervisor.create_agent(choice.config, options.name or "chat")
        talk = _Talk(ref, options.timeout, screen, reporter)
        talk.greet(choice.label)
        return talk.run()


def _wait(screen: AnswerScreen, reporter: WaitReporter, activity: str) -> None:
    reporter.begin(activity)
    screen.wait()


class _Talk:
    def __init__(
        self, ref: AgentRef, timeout: float | None, screen: AnswerScreen, reporter: WaitReporter
    ) -> None:
        self._ref = ref
        self._timeout = timeout
        self._screen = screen
        self._reporter = reporter
        self._complete = True

    def greet(self, label: str) -> None:
        """Print which model answers, and the state of a resumed conversation."""
        screen = self._screen
        screen.show(Text(label, "bold"))
        turns = self._ref.ask(GetTurnCount())
        if turns:
            last = one_line(self._ref.ask(GetLastResponse()) or "")
            after = "1 turn" if turns == 1 else f"{turns} turns"
            screen.show(
                Text(f"{self._ref.name!r} is resumed after {after}; the last answer: {last}")
            )
        if screen.interactive:
            hint = "Ctrl-C stops an answer; /help lists the commands; /quit or Ctrl-D ends."
            screen.show(Text(hint, "dim"))

    def run(self) -> bool:
        """Take prompts and answer them, until there are no more."""
        prompts = _typed() if self._screen.interactive else _piped()
        while (line := self._next(prompts)) is not None:
            entered = read_line(line, typed=self._screen.interactive)
            if entered.action is Action.QUIT:
                break
            if entered.action is Action.SHOW:
                self._screen.show(Text(entered.content))
                continue
            _wait(self._screen, self._reporter, "the agent")
            try:
                self._answer(entered.content)
            except AgyActorsError as error:
                self._complete = False
                hint = "; this error may be temporary: ask again" if error.retryable else ""
                self._screen.show(
                    Text(f"{type(error).__name__}: {harmless(str(error))}{hint}", "red"),
                    error=True,
                )
                if not self._ref.is_alive():
                    break
        return self._complete

    def _next(self, prompts: Iterator[str]) -> str | None:
        with self._reporter.paused():
            self._screen.hide()
            return next(prompts, None)

    def _answer(self, prompt: Any) -> None:
        stream = self._ref.stream(Chat(prompt, timeout=self._timeout))
        try:
            try:
                for text in stream:
                    self._write(text)
                stream.result()
            except KeyboardInterrupt:
                stream.cancel()
                if not self._screen.interactive:
                    raise
                self._screen.end_answer(Text("(cancelled)", "yellow"))
                return
        except TurnCancelled:
            self._write("\n")
            return
        self._write("\n")

    def _write(self, text: str) -> None:
        self._reporter.shown()
        self._reporter.waits.text_arrived(self._ref.name)
        self._screen.write(text)


def _piped() -> Iterator[str]:
    """Read the lines of standard input that are not blank."""
    while True:
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError as error:
            raise UsageProblem(
                f"standard input is not encoded in {error.encoding}; set PYTHONIOENCODING to its"
                " encoding"
            ) from error
        if not line:
            return
        if line.strip():
            yield line.strip()


def _typed() -> Iterator[str]:
    """Read what the user types, with line editing if `readline` is available."""
    try:
        readline: Any = importlib.import_module("readline")
    except ImportError:  # On Windows.
        readline = None
    else:
        complete_by(readline)
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
