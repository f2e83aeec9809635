"""The kernel against `pykka.ThreadingActor`: `python -m benchmarks.kernel`.

Both are measured in turns, in one process, for several rounds. A round gives one ratio
(ours to pykka's, lower is better), so that what else the machine does weighs on both;
the table shows the medians over the rounds.
"""

from __future__ import annotations

import gc
import importlib.metadata
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka

from agy_actors._kernel import AsyncioActor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Row", "run"]

ROUNDS = 9
ASKS = 2000
PIPELINED = 5000
TELLS = 20_000
SENDERS = 8
SPAWNS = 50


class Row(NamedTuple):
    """One measure of both, in microseconds for each operation."""

    what: str
    ours: float
    pykkas: float
    ratio: float
    """The median of the rounds' ratios."""


class _Echo:
    """What both actors do: next to nothing, so that what is measured is the way there."""

    def on_receive(self, message: Any) -> Any:
        return message


class _Ours(_Echo, AsyncioActor):
    pass


class _Pykkas(_Echo, pykka.ThreadingActor):
    pass


_Actor = type[_Ours] | type[_Pykkas]


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure, and return one row for each measure."""
    return [row for measure in _MEASURES for row in _compare(measure, rounds)]


def _compare(measure: Callable[[_Actor], dict[str, float]], rounds: int) -> list[Row]:
    for actor_class in (_Ours, _Pykkas):
        measure(actor_class)  # A warm-up.
    ours: list[dict[str, float]] = []
    pykkas: list[dict[str, float]] = []
    for number in range(rounds):
        order = ((_Ours, ours), (_Pykkas, pykkas))
        for actor_class, results in order if number % 2 else reversed(order):
            gc.collect()
            results.append(measure(actor_class))
    return [
        Row(
            what,
            statistics.median(result[what] for result in ours),
            statistics.median(result[what] for result in pykkas),
            statistics.median(a[what] / b[what] for a, b in zip(ours, pykkas, strict=True)),
        )
        for what in ours[0]
    ]


def _blocking_ask(actor_class: _Actor) -> dict[str, float]:
    ref = actor_class.start()
    times = []
    for number in range(ASKS):
        start = time.perf_counter()
        ref.ask(number)
        times.append(time.perf_counter() - start)
    ref.stop()
    quantiles = statistics.quantiles(times, n=100)
    return {"ask, p50": quantiles[49] * 1e6, "ask, p99": quantiles[98] * 1e6}


def _pipelined_ask(actor_class: _Actor) -> dict[str, float]:
    ref = actor_class.start()
    start = time.perf_counter()
    futures = [ref.ask(number, block=False) for number in range(PIPELINED)]
    for future in futures:
        future.get()
    seconds = time.perf_counter() - start
    ref.stop()
    return {"ask, pipelined": seconds / PIPELINED * 1e6}


def _tell(actor_class: _Actor) -> dict[str, float]:
    return {"tell, 1 thread": _tell_from(actor_class, 1)}


def _tell_from_many(actor_class: _Actor) -> dict[str, float]:
    return {f"tell, {SENDERS} threads": _tell_from(actor_class, SENDERS)}


def _tell_from(actor_class: _Actor, senders: int) -> float:
    ref = actor_class.start()
    each = TELLS // senders
    all_sent = threading.Barrier(senders + 1)

    def send() -> None:
        all_sent.wait()
        for number in range(each):
            ref.tell(number)
        all_sent.wait()

    threads = [threading.Thread(target=send) for _ in range(senders)]
    for thread in threads:
        thread.start()
    all_sent.wait()
    start = time.perf_counter()
    all_sent.wait()
    ref.ask("last")  # The time is that of sending and of handling all.
    seconds = time.perf_counter() - start
    for thread in threads:
        thread.join()
    ref.stop()
    return seconds / (each * senders) * 1e6


def _spawn_and_stop(actor_class: _Actor) -> dict[str, float]:
    start = time.perf_counter()
    for _ in range(SPAWNS):
        actor_class.start().stop()
    return {"spawn and stop": (time.perf_counter() - start) / SPAWNS * 1e6}


_MEASURES = (_blocking_ask, _pipelined_ask, _tell, _tell_from_many, _spawn_and_stop)


def main() -> None:
    """Print the table."""
    pykkas_version = importlib.metadata.version("pykka")
    print(f"Python {sys.version.split()[0]}, pykka {pykkas_version}, {ROUNDS} rounds")
    print(f"{'microseconds each':<18}{'ours':>10}{'pykka':>10}{'ratio':>8}")
    for row in run():
        print(f"{row.what:<18}{row.ours:>10.1f}{row.pykkas:>10.1f}{row.ratio:>8.2f}")


if __name__ == "__main__":
    main()
