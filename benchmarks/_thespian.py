"""Thespian's actors: a process for each, and one for their administration."""

from __future__ import annotations

import importlib
import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NAME", "NOTE", "PACKAGE", "measure"]

NAME = "Thespian"
PACKAGE = "thespian"
NOTE = (
    "Thespian (multiprocTCPBase): an actor is a process, so its times are those of processes;"
    " its stop is not waited for; 100 of them, and 8 threads on its system, which belongs to"
    " one, are left out"
)

_PATIENCE = 20.0


def measure(count: int, spawns: int) -> dict[str, float]:
    """Measure all that it can do; seconds for each operation."""
    actors: Any = importlib.import_module("thespian.actors")  # It may be missing.
    from benchmarks._thespian_echo import Echo, Tell  # noqa: PLC0415 (needs it)

    system = actors.ActorSystem("multiprocTCPBase", transientUnique=True)
    try:
        echo = system.createActor(Echo)
        system.ask(echo, 0, _PATIENCE)  # It is up.

        def ask() -> None:
            system.ask(echo, 0, _PATIENCE)

        def pipeline() -> None:
            for number in range(count):
                system.tell(echo, number)
            for _ in range(count):
                system.listen(_PATIENCE)

        def tell() -> None:
            for _ in range(count):
                system.tell(echo, Tell())
            ask()

        def spawn_and_stop() -> None:
            for _ in range(spawns):
                another = system.createActor(Echo)
                system.ask(another, 0, _PATIENCE)
                system.tell(another, actors.ActorExitRequest())  # Nobody tells when it is over.

        quantiles = statistics.quantiles([_time(ask) for _ in range(max(2, count))], n=100)
        return {
            "ask, p50": quantiles[49],
            "ask, p99": quantiles[98],
            "ask, pipelined": _time(pipeline) / count,
            "tell, 1 thread": _time(tell) / count,
            "spawn and stop": _time(spawn_and_stop) / spawns,
        }
    finally:
        system.shutdown()


def _time(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
