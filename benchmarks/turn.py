"""A turn through an actor against the same turn on the raw SDK: `python -m benchmarks.turn`.

The loopback model answers at once, so what is measured is what each peer adds. The raw SDK
is timed on its own loop, with no thread to cross; the others in the asking thread, both
crossings included.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import statistics
from typing import TYPE_CHECKING

from benchmarks._areas import run_alone
from benchmarks._fleets import FLEETS, ONE_EACH, RAW, REFERENCE
from benchmarks._model import serve
from benchmarks._results import OURS
from benchmarks._rounds import in_turn
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks._fleets import Fleet
    from benchmarks._model import Model
    from benchmarks._results import Results
    from benchmarks._rounds import Values

__all__ = ["AREA", "run"]

AREA = "One turn"
_PEERS = (OURS, ONE_EACH, RAW, REFERENCE)


@dataclasses.dataclass(frozen=True)
class _Plan:
    rounds: int = 24
    """Many: what a turn takes depends on the moment far more than on the peer."""
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
        # Fresh agents for each round: a turn costs more the longer the conversation.
        fleets: dict[str, Fleet] = {}
        for peer in peers:
            fleets[peer] = stack.enter_context(FLEETS[peer]())
            fleets[peer].start(1, model)
            fleets[peer].ask(0, "warm up")
        # The peers take turns by the turn: nothing that the machine does hits one alone.
        for number, order in enumerate(in_turn(peers, turns)):
            for peer in order:
                times[peer].append(fleets[peer].time(0, f"prompt {number}"))
    return {peer: statistics.median(seconds) for peer, seconds in times.items()}


if __name__ == "__main__":
    run_alone(run)
