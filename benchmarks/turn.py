"""A turn through an actor against the same turn on the raw SDK: `python -m benchmarks.turn`.

The loopback model answers at once, so the result is the time that each peer adds. The raw SDK is
timed on its own loop, without a change of threads; the others are timed in the asking thread, with
both changes of threads.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import statistics
from typing import TYPE_CHECKING

from benchmarks._agent_groups import GROUPS, ONE_EACH, RAW, REFERENCE
from benchmarks._areas import run_alone
from benchmarks._model import serve
from benchmarks._results import OURS
from benchmarks._rounds import in_turn
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks._agent_groups import AgentGroup
    from benchmarks._model import Model
    from benchmarks._results import Results
    from benchmarks._rounds import Values

__all__ = ["AREA", "run"]

AREA = "One turn"
_PEERS = (OURS, ONE_EACH, RAW, REFERENCE)


@dataclasses.dataclass(frozen=True)
class _Plan:
    rounds: int = 24
    """Many, because the time of a turn depends on the moment far more than on the peer."""
    turns: int = 20


_PLANS = {Size.FULL: _Plan(), Size.QUICK: _Plan(rounds=3, turns=10), Size.TINY: _Plan(1, 2)}


def run(size: Size, results: Results) -> None:
    """Measure; a round's value is the median of its turns."""
    plan = _PLANS[size]
    peers = size.choose(_PEERS)
    values: Values = {("one turn", peer): [] for peer in peers}
    with serve() as model:
        for _ in range(plan.rounds):
            for peer, seconds in _measure(peers, model, plan.turns).items():
                values["one turn", peer].append(seconds)
    results.add(AREA, values)


def _measure(peers: Sequence[str], model: Model, turns: int) -> dict[str, float]:
    times: dict[str, list[float]] = collections.defaultdict(list)
    with contextlib.ExitStack() as stack:
        # New agents for each round, because a turn costs more in a longer conversation.
        groups: dict[str, AgentGroup] = {}
        for peer in peers:
            groups[peer] = stack.enter_context(GROUPS[peer]())
            groups[peer].start(1, model)
            groups[peer].ask(0, "warm up")
        # The peers alternate with each turn, so that other load affects all of them.
        for number, order in enumerate(in_turn(peers, turns)):
            for peer in order:
                times[peer].append(groups[peer].time(0, f"prompt {number}"))
    return {peer: statistics.median(seconds) for peer, seconds in times.items()}


if __name__ == "__main__":
    run_alone(run)
