"""From the SIGKILL of an agent's process to its next answer: `python -m benchmarks.crash`.

The raw SDK's agent is restarted by handwritten code: it catches the error, ends the agent, makes
another agent that resumes the conversation, and asks again. Both peers must still know the earlier
turns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import psutil

from agy_actors import GetStatistics
from benchmarks._agent_groups import GROUPS, ONE_EACH, Ours
from benchmarks._areas import run_alone
from benchmarks._model import HANG_ONCE, serve
from benchmarks._rescued import RESCUED, Rescued
from benchmarks._results import OURS
from benchmarks._rounds import alternate
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._agent_groups import AgentGroup
    from benchmarks._model import Model
    from benchmarks._results import Results

__all__ = ["AREA", "run"]

AREA = "Recovery"
_PEERS: dict[str, Callable[[], AgentGroup]] = {
    OURS: GROUPS[OURS],
    ONE_EACH: GROUPS[ONE_EACH],
    RESCUED: Rescued,
}
_MID_TURN = 0.3  # Seconds from the ask to the kill: some text has come, and no more will come.

_prompts = itertools.count()
"""Makes each prompt that hangs new to the model."""


@dataclasses.dataclass(frozen=True)
class _Plan:
    rounds: int = 12


_PLANS = {Size.FULL: _Plan(), Size.QUICK: _Plan(rounds=4), Size.TINY: _Plan(rounds=1)}


def run(size: Size, results: Results) -> None:
    """Measure with a new agent in each round."""
    with _silence(), serve() as model:
        peers = {
            peer: functools.partial(_measure, _PEERS[peer], model) for peer in size.choose(_PEERS)
        }
        results.add(AREA, alternate(peers, _PLANS[size].rounds))


def _measure(make: Callable[[], AgentGroup], model: Model) -> dict[str, float]:
    with make() as group:
        group.start(1, model)
        group.ask(0, "warm up")
        _kill(group)
        idle = group.time(0, "are you there?")
        killed = threading.Timer(_MID_TURN, _kill, (group,))
        started = time.perf_counter()
        killed.start()
        group.ask(0, f"{HANG_ONCE} {next(_prompts)}")
        busy = time.perf_counter() - started - _MID_TURN
        killed.join()
    return {"killed while idle, to the next answer": idle, "killed in a turn, to its answer": busy}


def _kill(group: AgentGroup) -> None:
    """Kill the process of the agent, and no spare process."""
    if isinstance(group, Ours):
        pid = group.refs[0].ask(GetStatistics()).harness_pid
        assert pid is not None, "it has a process"
        os.kill(pid, signal.SIGKILL)
        return
    for child in psutil.Process().children(recursive=True):
        if child.name().startswith("localharness"):
            child.kill()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    # The SDK logs the last output of its dead processes, which is expected here.
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    run_alone(run)
