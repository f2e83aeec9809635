"""Many agents asked at once, with the adaptive limit of running turns and with fixed ones.

    python -m benchmarks.overload [--agents 2000] [--limits 8,16,32,64,128,256] [--silence 5]

All agents are asked at the same moment, each once, first with a model that answers at once, then
with one that is silent for some seconds before it answers. Each limit is measured in its own
program. It prints the time of all turns, the rate, and the errors. It exits with 1 if a turn fails
with the adaptive limit, if the adaptive limit's rate is below 0.9 of the best fixed limit's with
the first model, or if its time is above 1.3 of the best fixed limit's with the second.

A fixed limit may fail: then its lost turns are printed, and it does not count as the best.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from agy_actors import Chat, CreateAgent, Supervisor
from benchmarks._failures import Failures
from benchmarks._model import SILENT, Model, serve
from benchmarks.scale import raise_file_limit

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_ADAPTIVE = "adaptive"

_TURN = 600.0  # The timeout of a turn in seconds, long enough that slow turns do not fail.

_AT_A_TIME = 32  # How many agents are created at a time. Their start is not measured.

_PATIENCE = 1800.0  # Seconds for one run; arbitrary, and only for one that hangs.


class Run(NamedTuple):
    """The result of asking all agents once."""

    seconds: float
    errors: dict[str, int]
    """How many turns ended with an error, by its type."""
    stopped: float
    """The seconds for stopping all agents."""


@app.command()
def main(
    agents: Annotated[int, typer.Option(min=1)] = 2000,
    limits: Annotated[str, typer.Option(help="Fixed limits, by commas.")] = "8,16,32,64,128,256",
    silence: Annotated[float, typer.Option(min=0.0, help="Seconds, for the second part.")] = 5.0,
    default_timeouts: Annotated[
        bool, typer.Option(help="Give turns the default timeouts, as users do.")
    ] = True,
    only: Annotated[str, typer.Option(help="`instant` or `silent`: only that part.")] = "",
) -> None:
    """Compare the adaptive limit with fixed ones."""
    failures = Failures()
    for part, seconds in (("instant", 0.0), ("silent", silence)):
        if only not in ("", part):
            continue
        runs = {}
        for limit in (_ADAPTIVE, *filter(None, limits.split(","))):
            runs[limit] = run = _run_apart(agents, limit, seconds, default_timeouts)
            print(
                f"{part}: limit {limit}: {run.seconds:.1f} s, {agents / run.seconds:.1f} turns/s,"
                f" errors {run.errors or 0}, stopped in {run.stopped:.1f} s",
                flush=True,
            )
        _judge(part, runs, failures)
    failures.finish()


def _judge(part: str, runs: dict[str, Run], failures: Failures) -> None:
    adaptive = runs.pop(_ADAPTIVE)
    if adaptive.errors:
        failures.add(f"{part}: the adaptive limit lost turns: {adaptive.errors}")
    good = {limit: run for limit, run in runs.items() if not run.errors}
    if not good:
        return
    best = min(good, key=lambda limit: good[limit].seconds)
    ratio = adaptive.seconds / good[best].seconds
    print(f"{part}: time of the adaptive limit / of the best fixed one ({best}): {ratio:.2f}")
    if ratio > (1 / 0.9 if part == "instant" else 1.3):
        failures.add(f"{part}: the adaptive limit takes {ratio:.2f} times as long as {best}")


def _run_apart(agents: int, limit: str, silence: float, default_timeouts: bool) -> Run:
    arguments = [str(agents), limit, str(silence), str(int(default_timeouts))]
    done = subprocess.run(  # noqa: S603 (this program)
        [sys.executable, "-c", "from benchmarks.overload import one; one()", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_PATIENCE,
        cwd=Path(__file__).parents[1],
    )
    return Run(*json.loads(done.stdout.splitlines()[-1]))


def one() -> None:
    """Measure one limit in this process, with the arguments of the command line."""
    agents, limit, silence, default_timeouts = sys.argv[1:5]
    raise_file_limit()
    with serve() as model:
        run = measure(
            model,
            int(agents),
            None if limit == _ADAPTIVE else int(limit),
            silence=float(silence),
            default_timeouts=default_timeouts == "1",
        )
    print(json.dumps(run))


def measure(
    model: Model, agents: int, limit: int | None, *, silence: float, default_timeouts: bool
) -> Run:
    """Ask each of some agents once, all at the same time."""
    supervisor = Supervisor.start(max_running_turns=limit)
    try:
        refs = []
        for first in range(0, agents, _AT_A_TIME):
            starting = [
                supervisor.ask(CreateAgent(model.config()), block=False)
                for _ in range(first, min(agents, first + _AT_A_TIME))
            ]
            refs += [future.get(timeout=120.0) for future in starting]
        prompt = f"{SILENT}{silence}" if silence else "hello"
        chat = (
            Chat(prompt) if default_timeouts else Chat(prompt, timeout=_TURN, stall_timeout=_TURN)
        )
        began = time.perf_counter()
        futures = [ref.ask(chat, block=False) for ref in refs]
        errors: dict[str, int] = {}
        for future in futures:
            try:
                future.get()
            except Exception as error:  # noqa: BLE001 (it is counted)
                kind = type(error).__name__
                errors[kind] = errors.get(kind, 0) + 1
        seconds = time.perf_counter() - began
    finally:
        began = time.perf_counter()
        supervisor.stop()
    return Run(seconds, errors, time.perf_counter() - began)


if __name__ == "__main__":
    app()
