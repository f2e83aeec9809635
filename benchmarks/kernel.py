"""Minimal actors: `python -m benchmarks.kernel [--quick]`.

Asks, tells, fan-out, spawn and stop of our actors, compared with pykka's, with a thread with a
`queue.Queue`, and with a bare hand-off between two threads. Values are seconds for one
operation.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import threading
import time
from typing import TYPE_CHECKING

from benchmarks._areas import run_alone
from benchmarks._rounds import alternate
from benchmarks._runtimes import ASK_ONLY, BLOCKING
from benchmarks._sizes import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks._results import Results
    from benchmarks._runtimes import Worker

__all__ = ["AREA", "SENDERS", "run", "time_asks", "time_pipelined", "time_spawns", "time_tells"]

AREA = "Actors"
SENDERS = 8


@dataclasses.dataclass(frozen=True)
class _Plan:
    rounds: int = 9
    asks: int = 2000
    pipelined: int = 5000
    tells: int = 20_000
    actors: int = 100
    spawns: int = 300


_PLANS = {
    Size.FULL: _Plan(),
    Size.QUICK: _Plan(rounds=3, asks=1000, pipelined=2000, tells=8000, spawns=20),
    Size.TINY: _Plan(1, asks=100, pipelined=100, tells=800, actors=10, spawns=5),
}

_Measure = dict[str, float]
_Peers = dict[str, "Callable[[], Mapping[str, float]]"]


def run(size: Size, results: Results) -> None:
    """Measure one kind of operation after another, with all peers in each round."""
    plan = _PLANS[size]
    for measure, also in (
        (functools.partial(_ask, count=plan.asks), ASK_ONLY),
        (functools.partial(_pipeline, count=plan.pipelined), {}),
        (functools.partial(_tell, count=plan.tells), {}),
        (functools.partial(_fan_out, count=plan.actors), {}),
        (functools.partial(_spawn_and_stop, count=plan.spawns), ASK_ONLY),
    ):
        peers: _Peers = {
            name: functools.partial(measure, start) for name, start in (BLOCKING | also).items()
        }
        for peer in peers.values():
            peer()  # A warm-up.
        results.add(AREA, alternate(peers, plan.rounds))


def _ask(start: Callable[[], Worker], count: int) -> _Measure:
    quantiles = statistics.quantiles(time_asks(start, count), n=100)
    return {"ask, p50": quantiles[49], "ask, p99": quantiles[98]}


def time_asks(start: Callable[[], Worker], count: int) -> list[float]:
    """Return the seconds of each of `count` asks, one after another."""
    worker = start()
    times = []
    for number in range(count):
        started = time.perf_counter()
        worker.ask(number)
        times.append(time.perf_counter() - started)
    worker.stop()
    return times


def _pipeline(start: Callable[[], Worker], count: int) -> _Measure:
    return {"ask, pipelined": time_pipelined(start, count) / count}


def time_pipelined(start: Callable[[], Worker], count: int) -> float:
    """Return the seconds of `count` asks, all sent before the first wait for a reply."""
    worker = start()
    started = time.perf_counter()
    replies = [worker.ask(number, block=False) for number in range(count)]
    for reply in replies:
        reply.get()
    seconds = time.perf_counter() - started
    worker.stop()
    return seconds


def _tell(start: Callable[[], Worker], count: int) -> _Measure:
    return {
        f"tell, {senders} thread{'s' * (senders > 1)}": time_tells(start, count, senders) / count
        for senders in (1, SENDERS)
    }


def time_tells(start: Callable[[], Worker], count: int, senders: int) -> float:
    """Return the seconds in which threads send `count` messages and all are handled."""
    worker = start()
    together = threading.Barrier(senders + 1)

    def send() -> None:
        together.wait()
        for number in range(count // senders):
            worker.tell(number)
        together.wait()

    threads = [threading.Thread(target=send) for _ in range(senders)]
    for thread in threads:
        thread.start()
    together.wait()
    started = time.perf_counter()
    together.wait()
    worker.ask("last")  # The answer comes when all messages are handled.
    seconds = time.perf_counter() - started
    for thread in threads:
        thread.join()
    worker.stop()
    return seconds


def _fan_out(start: Callable[[], Worker], count: int) -> _Measure:
    workers = [start() for _ in range(count)]
    rounds = 10
    started = time.perf_counter()
    for number in range(rounds):
        for reply in [worker.ask(number, block=False) for worker in workers]:
            reply.get()
    seconds = time.perf_counter() - started
    for worker in workers:
        worker.stop()
    return {f"ask {count} actors at once": seconds / rounds}


def _spawn_and_stop(start: Callable[[], Worker], count: int) -> _Measure:
    return {"spawn and stop": time_spawns(start, count) / count}


def time_spawns(start: Callable[[], Worker], count: int) -> float:
    """Return the seconds of starting and stopping `count` actors, one after another."""
    started = time.perf_counter()
    for _ in range(count):
        start().stop()
    return time.perf_counter() - started


if __name__ == "__main__":
    run_alone(run)
