"""Many agents that all take a turn at once: `python -m benchmarks.together [--quick]`.

A value is the wall time of several waves of turns, divided by the number of turns: the
inverse of the throughput. The model has its own process, which competes for the cores with every
peer equally.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import TYPE_CHECKING

from benchmarks._agent_groups import GROUPS, ONE_EACH, RAW, REFERENCE
from benchmarks._areas import run_alone
from benchmarks._model import serve
from benchmarks._results import OURS
from benchmarks._rounds import alternate
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from benchmarks._model import Model
    from benchmarks._results import Results

__all__ = ["AREA", "run"]

AREA = "Turns at once"
_PEERS = (OURS, ONE_EACH, RAW, REFERENCE)


@dataclasses.dataclass(frozen=True)
class _Plan:
    rounds: int = 4
    agents: int = 64
    waves: int = 5


_PLANS = {
    Size.FULL: _Plan(),
    Size.QUICK: _Plan(rounds=1, agents=16),
    Size.TINY: _Plan(rounds=1, agents=2, waves=1),
}


def run(size: Size, results: Results) -> None:
    """Measure with new agents in each round; one peer has agents at a time."""
    plan = _PLANS[size]
    with serve() as model:
        peers = {
            peer: functools.partial(_measure, peer, model, plan) for peer in size.choose(_PEERS)
        }
        results.add(AREA, alternate(peers, plan.rounds))


def _measure(peer: str, model: Model, plan: _Plan) -> dict[str, float]:
    with GROUPS[peer]() as group:
        group.start(plan.agents, model)
        group.ask_all("warm up")
        started = time.perf_counter()
        for wave in range(plan.waves):
            texts = group.ask_all(f"wave {wave}")
            assert texts == [f"echo: wave {wave}"] * plan.agents, texts
        seconds = time.perf_counter() - started
    return {f"a turn, of {plan.agents} agents at once": seconds / (plan.waves * plan.agents)}


if __name__ == "__main__":
    run_alone(run)
