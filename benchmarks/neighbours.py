"""The effect of a misbehaving agent on others: `python -m benchmarks.neighbours [--quick]`.

While one agent stops slowly (its process takes two seconds to end) or calls a tool that blocks
(an asynchronous function that sleeps, such as one that calls a synchronous library), the others
take one turn after another. A value is the longest of these turns. In the first row no agent
misbehaves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from google.antigravity.connections.local import local_connection

from benchmarks._agent_groups import ONE_EACH, REFERENCE, THREAD_GROUPS
from benchmarks._areas import run_alone
from benchmarks._model import BLOCK, serve
from benchmarks._results import OURS
from benchmarks._rounds import alternate
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._agent_groups import ThreadAgentGroup
    from benchmarks._model import Model
    from benchmarks._results import Results

__all__ = ["AREA", "run"]

AREA = "Neighbours"
_PEERS = (OURS, ONE_EACH, REFERENCE)


@dataclasses.dataclass(frozen=True)
class _Plan:
    rounds: int = 5
    others: int = 4
    trouble: float = 2.0
    """Seconds that the slow stop and the blocking tool take."""


_PLANS = {
    Size.FULL: _Plan(),
    Size.QUICK: _Plan(rounds=1),
    Size.TINY: _Plan(rounds=1, others=1, trouble=0.3),
}


def run(size: Size, results: Results) -> None:
    """Measure with new agents for each kind of misbehaviour in each round."""
    plan = _PLANS[size]
    with serve() as model:
        peers = {
            peer: functools.partial(_measure, peer, model, plan) for peer in size.choose(_PEERS)
        }
        results.add(AREA, alternate(peers, plan.rounds))


def _measure(peer: str, model: Model, plan: _Plan) -> dict[str, float]:
    return {
        f"longest turn of the others, {what}": trouble(THREAD_GROUPS[peer], model, plan)
        for what, trouble in (
            ("undisturbed", _no_trouble),
            ("one stopping slowly", _slow_stop),
            ("a tool blocking", _blocking_tool),
        )
    }


def _no_trouble(make: Callable[[], ThreadAgentGroup], model: Model, plan: _Plan) -> float:
    with make() as group:
        group.start(plan.others, model)
        return _longest_turn(group, range(plan.others), lambda: time.sleep(plan.trouble))


def _slow_stop(make: Callable[[], ThreadAgentGroup], model: Model, plan: _Plan) -> float:
    with _slow_harness(plan.trouble) as harness, make() as group:
        group.start(1, model, env={"ANTIGRAVITY_HARNESS_PATH": harness})
        group.start(plan.others, model)
        others = range(1, 1 + plan.others)
        return _longest_turn(group, others, lambda: group.stop_one(0))


def _blocking_tool(make: Callable[[], ThreadAgentGroup], model: Model, plan: _Plan) -> float:
    async def block() -> str:
        """Blocks."""
        time.sleep(plan.trouble)  # noqa: ASYNC251 (that is the point)
        return "done"

    assert block.__name__ == BLOCK, "the model calls it by its name"
    with make() as group:
        group.start(1, model, tools=[block])
        group.start(plan.others, model)
        others = range(1, 1 + plan.others)
        return _longest_turn(group, others, lambda: group.ask(0, BLOCK))


def _longest_turn(group: ThreadAgentGroup, others: range, trouble: Callable[[], object]) -> float:
    """Return the longest of the others' turns that began before the misbehaviour ended."""
    for number in others:
        group.ask(number, "warm up")
    over = threading.Event()
    longest: list[float] = []

    def have_turns(number: int) -> None:
        times = []
        while not over.is_set():
            times.append(group.time(number, "go on"))
        longest.append(max(times, default=0.0))

    threads = [threading.Thread(target=have_turns, args=(number,)) for number in others]
    for thread in threads:
        thread.start()
    try:
        trouble()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return max(longest)


@contextlib.contextmanager
def _slow_harness(seconds: float) -> Iterator[str]:
    """Make a program that runs the SDK's process and takes longer to end."""
    real = local_connection._get_default_binary_path(None)  # noqa: SLF001 (no public name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "harness")
        path.write_text(f'#!/bin/sh\n"{real}" "$@"\nsleep {seconds}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        yield str(path)


if __name__ == "__main__":
    run_alone(run)
