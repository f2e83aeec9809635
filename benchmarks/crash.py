"""From the SIGKILL of an agent's process to its next answer: `python -m benchmarks.crash`.

The raw SDK restarts its agent as one would write it by hand: `except` the error, end what is
left, make another agent that resumes the conversation, and ask again. Both peers must still
know what was said before.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
import time
from typing import TYPE_CHECKING

import psutil

from benchmarks._areas import run_alone
from benchmarks._fleets import FLEETS, ONE_EACH
from benchmarks._model import HANG_ONCE, serve
from benchmarks._rescued import RESCUED, Rescued
from benchmarks._results import OURS
from benchmarks._rounds import alternate
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from collections.abc import Callable

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
    rounds: int = 15


_PLANS = {Size.FULL: _Plan(), Size.QUICK: _Plan(rounds=4), Size.TINY: _Plan(rounds=1)}


def run(size: Size, results: Results) -> None:
    """Measure; a fresh agent in each round."""
    with serve() as model:
        peers = {
            peer: functools.partial(_measure, make, model) for peer, make in _PEERS.items()
        }
        results.add(AREA, alternate(peers, _PLANS[size].rounds))


def _measure(make: Callable[[], Fleet], model: Model) -> dict[str, float]:
    with make() as fleet:
        fleet.start(1, model)
        fleet.ask(0, "warm up")
        _kill()
        idle = fleet.time(0, "are you there?")
        killed = threading.Timer(_MID_TURN, _kill)
        started = time.perf_counter()
        killed.start()
        fleet.ask(0, f"{HANG_ONCE} {next(_prompts)}")
        busy = time.perf_counter() - started - _MID_TURN
        killed.join()
    return {"killed while idle, to the next answer": idle, "killed in a turn, to its answer": busy}


def _kill() -> None:
    for child in psutil.Process().children(recursive=True):
        if "localharness" in child.name():
            child.kill()


if __name__ == "__main__":
    run_alone(run)
