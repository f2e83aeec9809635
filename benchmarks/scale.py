"""The cost of many agents: `python -m benchmarks.scale [--quick]`.

It starts 1, 16, 64, 200 and 1,000 agents at once, asks each once, and stops them. It measures the
wall time of each step, and in between the memory (proportional set size of the program and all its
processes) and the descriptors of the program. Each run is a separate program, so that it inherits
nothing. The model's process does not count.

    python -m benchmarks.scale [--quick] [--counts 1,16] [--peer NAME]... [--rounds N]
"""

from __future__ import annotations

import collections
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from benchmarks._agent_groups import GROUPS, ONE_EACH, RAW, REFERENCE, SIXTY_FOUR
from benchmarks._footprint import footprint
from benchmarks._model import Model, serve
from benchmarks._results import OURS, Results, Unit
from benchmarks._rounds import in_turn
from benchmarks._sizes import Size
from benchmarks._table import print_tables

if TYPE_CHECKING:
    from benchmarks._rounds import Values

__all__ = ["AREA", "MEMORY", "OWN_DESCRIPTORS", "READY", "raise_file_limit", "run"]

AREA = "Many agents"
READY = "ready"
ANSWERED = "each asked once"
STOPPED = "stopped"
MEMORY = "memory"
OWN_DESCRIPTORS = "descriptors"
BEYOND_FIRST = "memory of each beyond the first"

_SHARING = (OURS, SIXTY_FOUR)
_OWN_PROCESSES = (ONE_EACH, RAW, REFERENCE)

_PROCESS = 80_000_000  # The assumed maximum memory of a process, in bytes.
_PATIENCE = 400.0  # Seconds for one run; arbitrary, and only for one that hangs.


@dataclasses.dataclass(frozen=True)
class _Plan:
    rounds: dict[int, int]
    """The number of rounds, by the number of agents."""
    own_processes: int
    """With more agents than this, peers with a process for each agent are not measured."""
    peers: tuple[str, ...] = (*_SHARING, *_OWN_PROCESSES)
    apart: bool = True
    """Whether each run is a separate program."""


_PLANS = {
    Size.FULL: _Plan({1: 5, 16: 5, 64: 3, 200: 2, 1000: 1}, own_processes=200),
    Size.QUICK: _Plan({1: 1, 16: 1, 64: 1}, own_processes=16),
    Size.TINY: _Plan({1: 1, 2: 1}, own_processes=2, peers=(OURS, RAW, REFERENCE), apart=False),
}


def run(size: Size, results: Results) -> None:
    """Measure."""
    _run(_PLANS[size], results)


def _run(plan: _Plan, results: Results) -> None:
    seconds: Values = collections.defaultdict(list)
    memory: Values = collections.defaultdict(list)
    descriptors: Values = collections.defaultdict(list)
    measure = _run_apart if plan.apart else measure_one
    with serve() as model:
        for count, rounds in plan.rounds.items():
            peers = [peer for peer in plan.peers if _is_sensible(peer, count, plan, results)]
            for order in in_turn(peers, rounds) if peers else ():
                for peer in order:
                    one = measure(peer, count, model)
                    for what in (READY, ANSWERED, STOPPED):
                        seconds[f"{count} agents: {what}", peer].append(one[what])
                    memory[f"{count} agents: {MEMORY}", peer].append(one[MEMORY])
                    descriptors[f"{count} agents: {OWN_DESCRIPTORS}", peer].append(
                        one[OWN_DESCRIPTORS]
                    )
    results.add(AREA, seconds)
    results.add(AREA, memory, Unit.BYTES)
    results.add(AREA, _beyond_first(memory, plan), Unit.BYTES)
    results.add(AREA, descriptors, Unit.DESCRIPTORS)


def _is_sensible(peer: str, count: int, plan: _Plan, results: Results) -> bool:
    if peer in _SHARING:
        return True
    if count > plan.own_processes:
        results.note(f"skipped: {count} agents, with a process for each ({peer})")
        return False
    if count * _PROCESS > psutil.virtual_memory().available:
        results.note(f"skipped: {count} agents of {peer} do not fit into the memory")
        return False
    return True


def _beyond_first(memory: Values, plan: _Plan) -> Values:
    """Return the memory of each agent after the first, which includes that of the program."""
    each: Values = {}
    for count in plan.rounds:
        for peer in plan.peers:
            first = memory.get((f"1 agents: {MEMORY}", peer))
            all_of_them = memory.get((f"{count} agents: {MEMORY}", peer))
            if count > 1 and first and all_of_them:
                each[f"{count} agents: {BEYOND_FIRST}", peer] = [
                    (value - statistics.median(first)) / (count - 1) for value in all_of_them
                ]
    return each


def _run_apart(peer: str, count: int, model: Model) -> dict[str, float]:
    done = subprocess.run(  # noqa: S603 (this program)
        [sys.executable, "-m", "benchmarks._scale_one", peer, str(count), model.base_url],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_PATIENCE,
        cwd=Path(__file__).parents[1],
    )
    one: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return one


def measure_one(peer: str, count: int, model: Model) -> dict[str, float]:
    """Start, ask and stop the agents of one peer, in this process."""
    raise_file_limit()
    started = time.perf_counter()
    with GROUPS[peer]() as group:
        group.start(count, model)
        ready = time.perf_counter()
        texts = group.ask_all("hello")
        answered = time.perf_counter()
        assert texts == ["echo: hello"] * count, texts
        held = footprint()
        stopping = time.perf_counter()
    return {
        READY: ready - started,
        ANSWERED: answered - ready,
        STOPPED: time.perf_counter() - stopping,
        MEMORY: held.memory,
        OWN_DESCRIPTORS: held.descriptors,
    }


def raise_file_limit() -> None:
    """Raise the limit of open files of this process to the maximum."""
    # The peers need it too: the benchmark compares the resources in use.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A rougher, shorter run.")] = False,
    counts: Annotated[str, typer.Option(help="Numbers of agents, by commas.")] = "",
    peer: Annotated[list[str] | None, typer.Option(help="Only these peers.")] = None,
    rounds: Annotated[int, typer.Option(min=0, help="Rounds of each; 0 as planned.")] = 0,
) -> None:
    """Measure and print the table."""
    plan = _PLANS[Size.QUICK if quick else Size.FULL]
    by_count = {int(count): 1 for count in counts.split(",") if count} or plan.rounds
    plan = dataclasses.replace(
        plan,
        rounds={count: rounds or planned for count, planned in by_count.items()},
        peers=tuple(peer) if peer else plan.peers,
    )
    results = Results()
    _run(plan, results)
    print_tables(results)


if __name__ == "__main__":
    typer.run(main)
