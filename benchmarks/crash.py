"""From the SIGKILL of an agent's process to its next answer: `python -m benchmarks.crash`.

The raw SDK restarts its agent as one would write it by hand: `except` the error, end what is
left, make another agent that resumes the conversation, and ask again. Both peers must still
know what was said before.
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
from benchmarks._areas import run_alone
from benchmarks._fleets import FLEETS, ONE_EACH, Ours
from benchmarks._model import HANG_ONCE, serve
from benchmarks._rescued import RESCUED, Rescued
from benchmarks._results import OURS
from benchmarks._rounds import alternate
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._fleets import Fleet
    from benchmarks._model import Model
    from benchmarks._results import Results

__all__ = ["AREA", "run"]

AREA = "Recovery"
_PEERS: dict[str, Callable[[], Fleet]] = {
    OURS: FLEETS[OURS],
    ONE_EACH: FLEETS[ONE_EACH],
    RESCUED: Rescued,
}
_MID_TURN = 0.3  # Seconds from the ask to the kill: text has come, and more never will.

_prompts = itertools.count()
"""So that each prompt that hangs is new to the model."""


@dataclasses.dataclass(frozen=True)
class _Plan:
    rounds: int = 12


_PLANS = {Size.FULL: _Plan(), Size.QUICK: _Plan(rounds=4), Size.TINY: _Plan(rounds=1)}


def run(size: Size, results: Results) -> None:
    """Measure; a fresh agent in each round."""
    with _silence(), serve() as model:
        peers = {
            peer: functools.partial(_measure, _PEERS[peer], model) for peer in size.choose(_PEERS)
        }
        results.add(AREA, alternate(peers, _PLANS[size].rounds))


def _measure(make: Callable[[], Fleet], model: Model) -> dict[str, float]:
    with make() as fleet:
        fleet.start(1, model)
        fleet.ask(0, "warm up")
        _kill(fleet)
        idle = fleet.time(0, "are you there?")
        killed = threading.Timer(_MID_TURN, _kill, (fleet,))
        started = time.perf_counter()
        killed.start()
        fleet.ask(0, f"{HANG_ONCE} {next(_prompts)}")
        busy = time.perf_counter() - started - _MID_TURN
        killed.join()
    return {"killed while idle, to the next answer": idle, "killed in a turn, to its answer": busy}


def _kill(fleet: Fleet) -> None:
    """Kill the process of the one agent, and no other that may stand ready."""
    if isinstance(fleet, Ours):
        pid = fleet.refs[0].ask(GetStatistics()).harness_pid
        assert pid is not None, "it has a process"
        os.kill(pid, signal.SIGKILL)
        return
    for child in psutil.Process().children(recursive=True):
        if child.name().startswith("localharness"):
            child.kill()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    # The SDK logs what its dead processes said last: that they die is the point here.
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    run_alone(run)
