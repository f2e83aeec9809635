"""The same actors under pyperf: `python -m benchmarks.micro [pyperf's options]`.

pyperf calibrates the number of loops, repeats each benchmark in many processes and reports unstable
results. Its files can compare two commits:

    python -m benchmarks.micro -o before.json
    python -m benchmarks.micro -o after.json
    python -m pyperf compare_to before.json after.json

It does not alternate between peers. For the ratios between peers use `benchmarks.kernel`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from benchmarks._runtimes import BLOCKING
from benchmarks.kernel import SENDERS, time_asks, time_pipelined, time_spawns, time_tells

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._runtimes import Worker

__all__ = ["main"]


def main() -> None:
    """Measure asks, tells, spawn and stop of our actors, pykka's, and a thread with a queue."""
    pyperf: Any = importlib.import_module("pyperf")  # In the extra "bench".
    runner = pyperf.Runner(program_args=("-m", "benchmarks.micro"))
    for peer, start in BLOCKING.items():
        for what, measure in _MEASURES.items():
            runner.bench_time_func(f"{what}: {peer}", measure, start)


def _ask(loops: int, start: Callable[[], Worker]) -> float:
    return sum(time_asks(start, loops))


def _pipeline(loops: int, start: Callable[[], Worker]) -> float:
    return time_pipelined(start, loops)


def _tell(loops: int, start: Callable[[], Worker]) -> float:
    return time_tells(start, loops, senders=1)


def _tell_from_many(loops: int, start: Callable[[], Worker]) -> float:
    # Each sender sends the same number of messages; pyperf divides by the loops.
    return time_tells(start, loops * SENDERS, SENDERS) / SENDERS


def _spawn_and_stop(loops: int, start: Callable[[], Worker]) -> float:
    return time_spawns(start, loops)


_MEASURES: dict[str, Callable[[int, Callable[[], Worker]], float]] = {
    "ask": _ask,
    "ask, pipelined": _pipeline,
    "tell, 1 thread": _tell,
    f"tell, {SENDERS} threads": _tell_from_many,
    "spawn and stop": _spawn_and_stop,
}


if __name__ == "__main__":
    main()
