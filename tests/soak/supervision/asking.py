"""Agents that threads ask all the time, and the check of their replies."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from agy_actors import AgentDeadError, AgyActorsError, Chat, TurnError
from agy_actors.testing import ScriptedModel, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agy_actors import AgentRef
    from benchmarks._failures import Failures

__all__ = ["THINKING", "TIMEOUT", "Turn", "ask", "asked", "check_answers", "slow_model"]

THINKING = 0.2
"""Seconds before the model's first word: less than most real models take. Without it, the agents
would need more CPU than there is, and the run would measure how they share it."""

TIMEOUT = 30.0
"""Seconds for a turn that nothing disturbs, and for other events. Arbitrary; only a run that fails
waits that long."""


class Turn(NamedTuple):
    prompt: str
    started: float
    ended: float
    outcome: str | AgyActorsError
    """The answer, or the error."""

    @property
    def took(self) -> float:
        return self.ended - self.started


def ask(ref: AgentRef, prompt: str, timeout: float = TIMEOUT) -> Turn:
    outcome: str | AgyActorsError
    started = time.perf_counter()
    try:
        outcome = ref.ask(Chat(prompt, timeout=timeout)).text
    except (TurnError, AgentDeadError) as error:
        outcome = error
    return Turn(prompt, started, time.perf_counter(), outcome)


@contextlib.contextmanager
def asked(refs: Sequence[AgentRef], timeout: float = TIMEOUT) -> Iterator[list[Turn]]:
    """Ask each agent one turn after another during the block, each from its own thread.

    The list has all turns when the block has been left.
    """
    over = threading.Event()
    turns: list[Turn] = []

    def keep_asking(ref: AgentRef) -> None:
        number = 0
        while not over.is_set():
            turns.append(ask(ref, f"prompt {number}", timeout))
            number += 1

    with ThreadPoolExecutor(max(1, len(refs))) as threads:
        askers = [threads.submit(keep_asking, ref) for ref in refs]
        try:
            yield turns
        finally:
            over.set()
    for asker in askers:
        asker.result()


def check_answers(turns: Sequence[Turn], failures: Failures) -> None:
    for turn in turns:
        if turn.outcome != f"echo: {turn.prompt}":
            failures.add(f"{turn.prompt!r} came as {turn.outcome!r}")


def slow_model() -> ScriptedModel:
    answer = say(lambda request: f"echo: {request.prompt}", first_delay=THINKING)
    return ScriptedModel(answer, keep=1)
