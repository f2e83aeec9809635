"""The chaos soak: checks that no fault makes anything lost, mixed up, late or leaked.

    python -m tests.soak.chaos --minutes 10 --agents 24 --seed 1

Threads ask supervised agents and pools, on the real harness and a scripted model, while
faults are drawn from the seed: HTTP errors, dropped, silent and malformed streams, slow
models, processes killed and frozen, tools that raise, block and never return, callers that time out
or give up, resized pools, agents that are shut down during a turn. Each prompt carries a nonce,
which its answer must echo.

In parallel, each trial causes one kind of fault and checks the results: broadcasts whose
pool ends, turns that tools tell, pools whose members do not start, several programs on one
`state_dir`, forks, and a full disk. A trial that the machine does not permit is skipped, and the
report says so. The report ends with the violations; the exit code is 1 if there is one.

With `--telemetry`, metrics count the asks, turns, restarts and dead letters, and the counters must
equal the soak's own ledger. The trials, whose asks are not in the ledger, then have a supervisor of
their own.
"""

from __future__ import annotations

import contextlib
import faulthandler
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from agy_actors import Chat, Supervisor
from agy_actors.testing import ScriptedModel
from benchmarks._failures import Failures
from tests.soak.chaos._callers import Caller, Mapper
from tests.soak.chaos._leaks import Inventory
from tests.soak.chaos._ledger import judge
from tests.soak.chaos._model import chaotic_model
from tests.soak.chaos._report import print_report
from tests.soak.chaos._saboteur import Gardener, Saboteur
from tests.soak.chaos._telemetry import Telemetry
from tests.soak.chaos._tools import LET_GO
from tests.soak.chaos._trial import Ground
from tests.soak.chaos._trials import TRIALS, print_trials
from tests.soak.chaos._watch import Watch
from tests.soak.chaos._world import HANG_TIMEOUT, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.soak.chaos._callers import Worker
    from tests.soak.chaos._trial import Trial

_STUCK = 180.0
"""Seconds after the end within which every caller must return: a little more than the longest
ask."""

_POOL_CALLERS = 6
_SPARE_EVENTS = 1_000_000
_FIRST_TRIAL = 10_000
"""The number of the first trial, above the numbers of all callers, which count from 0."""


class Settings(NamedTuple):
    """The settings of a soak."""

    seconds: float
    agents: int
    seed: int
    pause: float
    trouble: float
    telemetry: bool

    def chance(self, who: object) -> random.Random:
        """Return a separate random generator."""
        return random.Random(f"{self.seed}-{who}")


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long it runs.")] = 1.0,
    agents: Annotated[int, typer.Option(min=8, help="How many agents, those of pools too.")] = 24,
    seed: Annotated[int, typer.Option(help="What everything is drawn from.")] = 1,
    pause: Annotated[float, typer.Option(min=0.01, help="A caller's mean pause.")] = 4.0,
    trouble: Annotated[float, typer.Option(min=0.01, help="Seconds between two actions.")] = 1.5,
    *,
    telemetry: Annotated[
        bool, typer.Option("--telemetry", help="Compare metrics with the ledger.")
    ] = False,
) -> None:
    """Run the soak, and print the report."""
    failures = Failures()
    with tempfile.TemporaryDirectory(prefix="chaos_") as folder:
        tempfile.tempdir = folder
        _warm_up()
        inventory = Inventory()
        before = inventory.megabytes
        _run(Settings(minutes * 60, agents, seed, pause, trouble, telemetry), failures)
        for leak in inventory.leaks():
            failures.add(leak)
        print(f"memory: {before:.0f} MB before, {inventory.megabytes:.0f} MB after")
        tempfile.tempdir = None
    failures.finish()


def _warm_up() -> None:
    """Make the parts of the soak, once."""
    with ScriptedModel() as model, Supervisor.start() as supervisor:
        supervisor.create_agent(model.openai_config()).ask(Chat("hi"))


def _run(settings: Settings, failures: Failures) -> None:
    over = threading.Event()
    watch = Watch()
    with chaotic_model() as model, contextlib.ExitStack() as left:
        world = World(model, settings.agents)
        root = world.root
        metrics: list[Telemetry] = []
        trial_watch = Watch()
        if settings.telemetry:
            root = left.enter_context(
                Supervisor.start(name="trials", max_restarts=8, hang_timeout=HANG_TIMEOUT)
            )
            root.subscribe(trial_watch.note, capacity=_SPARE_EVENTS)
            metrics = [left.enter_context(Telemetry(one)) for one in (world.root, root)]
        subscription = world.root.subscribe(watch.note, capacity=_SPARE_EVENTS)
        world.open()
        ground = Ground(model, root, Path(tempfile.gettempdir()))
        trials = list(_trials(ground, settings, over))
        workers = [*_callers(world, settings, over), *_others(world, watch, settings, over)]
        workers += trials
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        try:
            over.wait(settings.seconds)
        finally:
            over.set()  # Also after an interruption: running workers keep the program alive.
        _join(workers, failures)
        ended = time.perf_counter()
        world.close()
        stopped = time.perf_counter()
        LET_GO.set()
        asks = [ask for worker in workers for ask in worker.asks]
        different: list[str] = []
        if metrics:
            root.stop()
            different += metrics[0].differences(asks, watch)
            different += metrics[1].differences(None, trial_watch)
    print(
        f"seed {settings.seed}, {settings.agents} agents, {ended - started:.0f} s; the end took"
        f" {stopped - ended:.1f} s; {subscription.dropped} events dropped"
    )
    verdicts = judge(asks, World.without_memory)
    print_report(workers, asks, verdicts, watch)
    print_trials(trials)
    of_workers = (wrong for worker in workers for wrong in worker.failures())
    for wrong in (*verdicts.wrong, *of_workers, *different):
        failures.add(wrong)


def _callers(world: World, settings: Settings, over: threading.Event) -> Iterator[Worker]:
    homes = [*world.agents, *world.agents[: len(world.agents) // 2]]
    homes += [pool for pool in world.pools for _ in range(_POOL_CALLERS)]
    for number, home in enumerate(homes):
        yield Caller(number, home, settings.chance(number), over, settings.pause)
    yield Mapper(len(homes), world.pools[0], settings.chance(len(homes)), over)


def _others(
    world: World, watch: Watch, settings: Settings, over: threading.Event
) -> Iterator[Worker]:
    yield Saboteur(world, watch, settings.chance("saboteur"), over, settings.trouble)
    yield Gardener(world, settings.chance("gardener"), over)


def _trials(ground: Ground, settings: Settings, over: threading.Event) -> Iterator[Trial]:
    for number, (trial, pause) in enumerate(TRIALS, _FIRST_TRIAL):
        yield trial(number, ground, settings.chance(trial.fault), over, pause)


def _join(workers: Sequence[Worker], failures: Failures) -> None:
    deadline = time.monotonic() + _STUCK
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        if worker.is_alive():
            failures.add(f"{worker.name} did not come back")
            faulthandler.dump_traceback(all_threads=True)


if __name__ == "__main__":
    typer.run(main)
