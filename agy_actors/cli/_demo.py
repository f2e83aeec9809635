"""``agy-actors demo``: four supervised agents, one of which is killed and comes back.

Each agent has a conversation of its own and is asked by a thread of its own. One agent's
process is killed in the middle of a turn halfway through. What the summary then says of
its conversation is what was seen, before and after.
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
from agy_actors.cli._models import ModelChoice, ModelOptions, open_model
from agy_actors.cli._prompts import DEMO_CONVERSATIONS, DEMO_PROMPTS, DEMO_RECALLED
from agy_actors.cli._show import Board, console, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from agy_actors import AgentRef

__all__ = ["demo"]

_NAMES = ("north", "east", "south", "west")
_VICTIM = "south"
_FATAL_TURN = 4  # Of six: half of all is asked by then, and what it forgot would show.
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has only the one, as deadly.


def demo(options: ModelOptions) -> bool:
    """Run the demonstration.

    Returns:
        Whether every prompt was answered, and the killed agent came back with its
        conversation.

    Raises:
        UsageProblem: the model cannot be used as the options say.
        AgyActorsError: the agents did not start.
    """
    out = console()
    with open_model(options) as choice:
        out.print(Text(choice.label, "bold"))
        return _Demo(out, choice).run()


@dataclass(frozen=True)
class _Memory:
    """What an agent knows of its conversation at some point."""

    conversation_id: str
    turns: int
    steps: list[object]

    @classmethod
    def of(cls, ref: AgentRef) -> _Memory:
        return cls(
            ref.ask(GetConversationId()), ref.ask(GetTurnCount()), list(ref.ask(GetHistory()))
        )

    def is_kept_in(self, later: _Memory) -> bool:
        return (
            later.conversation_id == self.conversation_id
            and later.turns >= self.turns
            and later.steps[: len(self.steps)] == self.steps
        )


@dataclass(frozen=True)
class _Killing:
    """What was done to the victim, and what came of it."""

    pid: int
    before: _Memory
    mid_turn: bool
    seconds: float | None
    """From the kill to the answer of the turn; `None` if there was none."""


class _Demo:
    def __init__(self, out: Console, choice: ModelChoice) -> None:
        self._out = out
        self._choice = choice
        self._answers: dict[str, str] = {}
        self._killing: _Killing | None = None
        self._over = threading.Event()

    def run(self) -> bool:
        started = time.monotonic()
        with ExitStack() as stack:
            # Left in the opposite order: the agents' end is what lets the threads go.
            threads = stack.enter_context(ThreadPoolExecutor(len(_NAMES)))
            supervisor = stack.enter_context(
                # So that the kill is the end of one agent's process, and not of them all.
                Supervisor.start(name="demo", max_conversations_per_process=1)
            )
            stack.callback(self._over.set)
            refs = list(
                threads.map(lambda name: supervisor.create_agent(self._choice.config, name), _NAMES)
            )
            board = Board(self._out, refs)
            with board.shown():
                work = [
                    threads.submit(self._converse, board, ref, prompts)
                    for ref, prompts in zip(refs, DEMO_CONVERSATIONS, strict=True)
                ]
                for future in work:
                    future.result()
            return self._summarise(refs, time.monotonic() - started)

    def _converse(self, board: Board, ref: AgentRef, prompts: Sequence[str]) -> None:
        """Ask one agent its prompts. On a thread of its own."""
        for turn, prompt in enumerate(prompts, 1):
            if self._over.is_set():
                return
            board.asks(ref.name, prompt)
            fatal = ref.name == _VICTIM and turn == _FATAL_TURN
            try:
                reply = self._ask_and_kill(board, ref, prompt) if fatal else ref.ask(Chat(prompt))
            except AgyActorsError as error:
                if not self._over.is_set():
                    board.fails(ref.name, f"{type(error).__name__}: {error}")
            else:
                self._answers[prompt] = reply.text
                board.answers(ref.name, reply.text)

    def _ask_and_kill(self, board: Board, ref: AgentRef, prompt: str) -> ChatReply:
        before = _Memory.of(ref)
        turn_starts = ref.ask(WaitForWakeup(), block=False)
        future = ref.ask(Chat(prompt), block=False)
        turn_starts.get()
        pid = ref.ask(GetStatistics()).harness_pid
        assert pid is not None  # A turn runs in it.
        mid_turn = not future.done()
        os.kill(pid, _KILL)
        killed = time.monotonic()
        self._killing = _Killing(pid, before, mid_turn, None)
        board.killed(
            ref.name,
            f"☠ process {pid} killed {'while it answers' if mid_turn else 'after it answered'}:"
            f" {prompt}",
        )
        reply: ChatReply = future.get()
        self._killing = _Killing(pid, before, mid_turn, time.monotonic() - killed)
        return reply

    def _summarise(self, refs: Sequence[AgentRef], seconds: float) -> bool:
        asked, answered = len(DEMO_PROMPTS), len(self._answers)
        complete = answered == asked
        self._out.print(
            Text(
                f"\n{answered} of {asked} prompts answered by {len(refs)} agents"
                f" in {seconds:.1f} s ({self._choice.label})",
                "bold green" if complete else "bold red",
            )
        )
        resumed = self._tell_of_victim(next(ref for ref in refs if ref.name == _VICTIM))
        return complete and resumed

    def _tell_of_victim(self, ref: AgentRef) -> bool:
        killing = self._killing
        if killing is None:
            self._out.print(Text(f"{ref.name} was not killed: it never got so far", "red"))
            return False
        try:
            restarts, after = ref.ask(GetStatistics()).restarts, _Memory.of(ref)
        except AgyActorsError as error:
            self._out.print(Text(f"{ref.name} crashed and did not come back: {error}", "red"))
            return False
        before = killing.before
        resumed = restarts > 0 and before.is_kept_in(after)
        took = "" if killing.seconds is None else f", and answered {killing.seconds:.2f} s later"
        self._out.print(
            f"{ref.name} crashed: its process {killing.pid} was killed"
            f" {'in the middle of' if killing.mid_turn else 'right after'} turn {_FATAL_TURN};"
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
        self._tell_what_it_remembers(ref)
        return resumed

    def _tell_what_it_remembers(self, ref: AgentRef) -> None:
        prompts = DEMO_CONVERSATIONS[_NAMES.index(ref.name)]
        answer = self._answers.get(prompts[-1])
        if answer is None:
            return
        if self._choice.kind == "rehearsal":
            verdict = "scripted, so it proves nothing; a model would have to remember"
        elif DEMO_RECALLED[prompts[-1]].lower() in answer.lower():
            verdict = "remembered from before the crash"
        else:
            verdict = "the model did not make use of what it was told"
        self._out.print(
            f"told “{prompts[0]}” before, asked “{prompts[-1]}” after:"
            f" “{one_line(answer)}” ({verdict})"
        )
