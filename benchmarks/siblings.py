"""The cost of a supervisor's child with few siblings and with many.

    python -m benchmarks.siblings [--few 500] [--many 4000] [--rounds 1] [--max-ratio 1.3]

Agents are created, crashed and restarted, and stopped, under a supervisor with few and with many
of them, alternately in one run. They are simulated agents on threads, so no process and no model
affects the figures. It prints the seconds for each child, of wall time and of processor time, and
the ratios. It exits with 1 if a ratio of processor time exceeds `--max-ratio`. On a machine with
other load, the wall time is less reliable.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from agy_actors import Chat, Supervisor
from agy_actors.testing import SimulatedAgent, crash, reply
from benchmarks._failures import Failures
from benchmarks._rounds import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agy_actors import AgentRef
    from agy_actors.testing import SimulatedTurn

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_AT_ONCE = 16
"""Agents that are asked at the same time. Arbitrary: enough for two cores."""

_WARM_UP = 50
"""The agents of a warm-up run. Arbitrary."""


class _Cost(NamedTuple):
    """Seconds for each child."""

    clock: float
    cpu: float


@app.command()
def main(
    few: Annotated[int, typer.Option(min=1, help="Children of the small supervisor.")] = 500,
    many: Annotated[int, typer.Option(min=1, help="Children of the large one.")] = 4000,
    rounds: Annotated[int, typer.Option(min=1)] = 1,
    max_ratio: Annotated[float, typer.Option(min=0.0, help="The highest ratio that passes.")] = 1.3,
) -> None:
    """Compare the cost of a child with few siblings and with many."""
    failures = Failures()
    costs: dict[str, dict[int, list[_Cost]]] = defaultdict(lambda: defaultdict(list))
    _live(_WARM_UP)
    for order in in_turn([few, many], rounds):
        for children in order:
            for what, cost in _live(children).items():
                costs[what][children].append(cost)
    for what, by_children in costs.items():
        small, large = _median(by_children[few]), _median(by_children[many])
        for children, cost in ((few, small), (many, large)):
            print(
                f"{what}, each of {children}: {cost.clock * 1e3:.3f} ms,"
                f" {cost.cpu * 1e3:.3f} ms of processor time"
            )
        ratio = large.cpu / small.cpu
        print(
            f"{what}, ratio of {many} to {few}: {large.clock / small.clock:.3f},"
            f" of processor time {ratio:.3f}"
        )
        if ratio > max_ratio:
            failures.add(f"{what} costs {ratio:.3f} times as much among {many} as among {few}")
    failures.finish()


def _live(children: int) -> dict[str, _Cost]:
    """Create, restart and stop this many children, and return the cost of each."""
    crashed: set[str] = set()

    def play(prompt: str) -> SimulatedTurn:
        if prompt in crashed:
            return reply()
        crashed.add(prompt)
        return crash()

    config = SimulatedAgent(play)
    supervisor = Supervisor.start()
    refs: list[AgentRef] = []

    def create() -> None:
        refs.extend(supervisor.create_agent(config) for _ in range(children))

    def restart() -> None:
        for first in range(0, children, _AT_ONCE):
            _crash(refs[first : first + _AT_ONCE], first)

    return {
        "created": _measure(create, children),
        "restarted": _measure(restart, children),
        "stopped": _measure(supervisor.stop, children),
    }


def _crash(refs: Sequence[AgentRef], first: int) -> None:
    """Crash each agent once, in a turn that the next incarnation then answers."""
    prompts = [f"prompt {number}" for number, _ in enumerate(refs, first)]
    asked = [ref.ask(Chat(prompt), block=False) for ref, prompt in zip(refs, prompts, strict=True)]
    assert [future.get().text for future in asked] == prompts


def _measure(work: Callable[[], object], children: int) -> _Cost:
    gc.collect()  # No measurement pays for the garbage of an earlier one.
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return _Cost((time.perf_counter() - clock) / children, (time.process_time() - cpu) / children)


def _median(costs: Sequence[_Cost]) -> _Cost:
    return _Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


if __name__ == "__main__":
    app()
