"""Queries while a turn streams: `python -m benchmarks.during [--quick]`.

A thread asks repeatedly whether the agent is idle, while its turn streams a hundred pieces of text
a second. The answer must be no.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import threading
import time
from typing import TYPE_CHECKING

from benchmarks._agent_groups import ONE_EACH, REFERENCE, THREAD_GROUPS
from benchmarks._areas import run_alone
from benchmarks._model import LONG, serve
from benchmarks._results import OURS
from benchmarks._rounds import alternate
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from benchmarks._agent_groups import ThreadAgentGroup
    from benchmarks._model import Model
    from benchmarks._results import Results

__all__ = ["AREA", "run"]

AREA = "Queries during a turn"
_PEERS = (OURS, ONE_EACH, REFERENCE)
_PATIENCE = 20.0


@dataclasses.dataclass(frozen=True)
class _Plan:
    rounds: int = 7
    queries: int = 2000


_PLANS = {
    Size.FULL: _Plan(),
    Size.QUICK: _Plan(rounds=3, queries=1000),
    Size.TINY: _Plan(rounds=1, queries=20),
}


def run(size: Size, results: Results) -> None:
    """Measure with a new agent in each round."""
    plan = _PLANS[size]
    with serve() as model:
        peers = {
            peer: functools.partial(_measure, peer, model, plan.queries)
            for peer in size.choose(_PEERS)
        }
        results.add(AREA, alternate(peers, plan.rounds))


def _measure(peer: str, model: Model, queries: int) -> dict[str, float]:
    with THREAD_GROUPS[peer]() as group:
        group.start(1, model)
        group.ask(0, "warm up")
        turn = threading.Thread(target=group.ask_cancelled, args=(0, LONG))
        turn.start()
        _wait_for_turn(group)
        times = []
        for _ in range(queries):
            started = time.perf_counter()
            assert not group.is_idle(0), "the turn ended too soon"
            times.append(time.perf_counter() - started)
        group.cancel(0)
        turn.join()
    quantiles = statistics.quantiles(times, n=100)
    return {"query during a turn, p50": quantiles[49], "query during a turn, p99": quantiles[98]}


def _wait_for_turn(group: ThreadAgentGroup) -> None:
    deadline = time.monotonic() + _PATIENCE
    while group.is_idle(0):
        assert time.monotonic() < deadline, "no turn began"
        time.sleep(0.01)
    time.sleep(0.2)  # Wait for the first text, so that the turn streams.


if __name__ == "__main__":
    run_alone(run)
