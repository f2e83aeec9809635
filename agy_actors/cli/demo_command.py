"""``agy-actors demo``: four supervised agents, one of which crashes and is restarted.

Each agent has its own conversation and is asked from its own thread. Halfway through, the
process of one agent is killed during a turn. The summary compares the conversation that was
read from the agent before the crash with the one that was read after it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from agy_actors import (
    AgyActorsError,
    Chat,
    ChatReply,
    GetConversationId,
    GetHistory,
    GetStatistics,
    GetTurnCount,
    Supervisor,
    WaitForWakeup,
)
from agy_actors.cli.agent_board import AgentBoard
from agy_actors.cli.console import console, one_line
from agy_actors.cli.demo_prompts import DEMO_CONVERSATIONS, DEMO_FACTS, DEMO_PROMPTS
from agy_actors.cli.model_choice import ModelChoice, ModelOptions, open_model
from agy_actors.cli.recording import Recording
from agy_actors.cli.wait_reporter import WaitReporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from agy_actors import AgentRef

__all__ = ["demo"]

_NAMES = ("north", "east", "south", "west")
_KILLED_AGENT = "south"
_FATAL_TURN = 4  # Of six: half of the prompts were asked before the crash.
_UNRECORDED = Recording()
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has only SIGTERM, which kills too.


def demo(options: ModelOptions, recording: Recording = _UNRECORDED) -> bool:
    """Run the demonstration.

    Args:
        options: the options for the model.
        recording: where traces and metrics go.

    Returns:
        Whether every prompt was answered and the restarted agent kept its conversation.

    Raises:
        UsageProblem: an option or the model cannot be used.
        AgyActorsError: the agents did not start.
    """
    out = console()
    wait_console = out if out.is_terminal else console(stderr=True)
    recording.check()
    with WaitReporter(lambda line: wait_console.print(Text(line, "dim"))) as reporter:
        reporter.begin("the model to be ready")
        with open_model(options) as choice:
            out.print(Text(choice.label, "bold"))
            return _Demo(out, choice, reporter, recording).run()


@dataclass(frozen=True)
class _Snapshot:
    """An agent's conversation at one moment."""

    conversation_id: str
    turns: int
    steps: list[object]

    @classmethod
    def of(cls, ref: AgentRef) -> _Snapshot:
        return cls(
            ref.ask(GetConversationId()), ref.ask(GetTurnCount()), list(ref.ask(GetHistory()))
        )

    def is_kept_in(self, later: _Snapshot) -> bool:
        return (
            later.conversation_id == self.conversation_id
            and later.turns >= self.turns
            and later.steps[: len(self.steps)] == self.steps
        )


@dataclass(frozen=True)
class _Kill:
    """The kill, and the conversation before it."""

    pid: int
    before: _Snapshot
    mid_turn: bool
    seconds: float | None
    """Seconds from the kill to the answer; `None` if there was no answer."""


class _Demo:
    def __init__(
        self, out: Console, choice: ModelChoice, reporter: WaitReporter, recording: Recording
    ) -> None:
        self._out = out
        self._recording = recording
        self._choice = choice
        self._reporter = reporter
        self._answers: dict[str, str] = {}
        self._kill: _Kill | None = None
        self._over = threading.Event()

    def run(self) -> bool:
        started = time.monotonic()
        with ExitStack() as stack:
            # The blocks are left in reverse order: the threads end when the agents have ended.
            threads = stack.enter_context(ThreadPoolExecutor(len(_NAMES)))
            supervisor = stack.enter_context(
                # One process for each agent, so that the kill affects one agent only.
                Supervisor.start(name="demo", max_conversations_per_process=1)
            )
            stack.enter_context(self._recording.of(supervisor))
            stack.callback(self._over.set)
            stack.callback(self._reporter.begin, "the agents to end")
            self._reporter.follow(supervisor)
            self._reporter.begin("the agents to start")
            refs = list(
                threads.map(lambda name: supervisor.create_agent(self._choice.config, name), _NAMES)
            )
            board = AgentBoard(self._out, refs, self._reporter.describe_silence)
            with board.shown(), self._reporter.shown_live(live=self._out.is_interactive):
                work = [
                    threads.submit(self._converse, board, ref, prompts)
                    for ref, prompts in zip(refs, DEMO_CONVERSATIONS, strict=True)
                ]
                for future in work:
                    future.result()
            return self._show_summary(refs, time.monotonic() - started)

    def _converse(self, board: AgentBoard, ref: AgentRef, prompts: Sequence[str]) -> None:
        """Ask one agent its prompts. Runs on its own thread."""
        for turn, prompt in enumerate(prompts, 1):
            if self._over.is_set():
                return
            board.show_prompt(ref.name, prompt)
            fatal = ref.name == _KILLED_AGENT and turn == _FATAL_TURN
            try:
                reply = self._ask_and_kill(board, ref, prompt) if fatal else ref.ask(Chat(prompt))
            except AgyActorsError as error:
                if not self._over.is_set():
                    self._reporter.shown()
                    board.show_failure(ref.name, f"{type(error).__name__}: {error}")
            else:
                self._answers[prompt] = reply.text
                self._reporter.shown()
                board.show_answer(ref.name, reply.text)

    def _ask_and_kill(self, board: AgentBoard, ref: AgentRef, prompt: str) -> ChatReply:
        before = _Snapshot.of(ref)
        turn_starts = ref.ask(WaitForWakeup(), block=False)
        future = ref.ask(Chat(prompt), block=False)
        turn_starts.get()
        pid = ref.ask(GetStatistics()).harness_pid
        assert pid is not None  # An agent with a running turn has a process.
        mid_turn = not future.done()
        os.kill(pid, _KILL)
        killed = time.monotonic()
        self._kill = _Kill(pid, before, mid_turn, None)
        board.show_kill(
            ref.name,
            f"☠ process {pid} killed {'while it answers' if mid_turn else 'after it answered'}:"
            f" {prompt}",
        )
        reply: ChatReply = future.get()
        self._kill = _Kill(pid, before, mid_turn, time.monotonic() - killed)
        return reply

    def _show_summary(self, refs: Sequence[AgentRef], seconds: float) -> bool:
        asked, answered = len(DEMO_PROMPTS), len(self._answers)
        complete = answered == asked
        self._out.print(
            Text(
                f"\n{answered} of {asked} prompts answered by {len(refs)} agents"
                f" in {seconds:.1f} s ({self._choice.label})",
                "bold green" if complete else "bold red",
            )
        )
        resumed = self._show_restart(next(ref for ref in refs if ref.name == _KILLED_AGENT))
        return complete and resumed

    def _show_restart(self, ref: AgentRef) -> bool:
        kill = self._kill
        if kill is None:
            self._out.print(
                Text(f"{ref.name} was not killed: it did not reach turn {_FATAL_TURN}", "red")
            )
            return False
        try:
            restarts, after = ref.ask(GetStatistics()).restarts, _Snapshot.of(ref)
        except AgyActorsError as error:
            self._out.print(Text(f"{ref.name} crashed and was not restarted: {error}", "red"))
            return False
        before = kill.before
        resumed = restarts > 0 and before.is_kept_in(after)
        took = "" if kill.seconds is None else f", and answered {kill.seconds:.2f} s later"
        self._out.print(
            f"{ref.name} crashed: its process {kill.pid} was killed"
            f" {'in the middle of' if kill.mid_turn else 'right after'} turn {_FATAL_TURN};"
            f" it was restarted{took}"
        )
        kept = "resumed" if resumed else "NOT resumed"
        self._out.print(
            Text(f"its conversation was {kept}: ", "" if resumed else "red").append(
                f"id {after.conversation_id[:8]}…"
                f" {'as before' if after.conversation_id == before.conversation_id else 'is new'},"
                f" turns {before.turns} before the crash and {after.turns} now,"
                f" steps {len(before.steps)} and {len(after.steps)}"
                f"{', the earlier ones unchanged' if resumed else ''}"
            )
        )
        self._show_memory(ref)
        return resumed

    def _show_memory(self, ref: AgentRef) -> None:
        prompts = DEMO_CONVERSATIONS[_NAMES.index(ref.name)]
        answer = self._answers.get(prompts[-1])
        if answer is None:
            return
        if self._choice.kind == "rehearsal":
            verdict = "scripted, so it proves nothing; a real model would have to remember"
        elif DEMO_FACTS[prompts[-1]].lower() in answer.lower():
            verdict = "remembered from before the crash"
        else:
            verdict = "the model did not use what it was told"
        self._out.print(
            f"told “{prompts[0]}” before, asked “{prompts[-1]}” after:"
            f" “{one_line(answer)}” ({verdict})"
        )
