"""Creating, restarting and stopping a child costs the same for any number of siblings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors import Chat, Supervisor
from agy_actors.testing import SimulatedAgent, crash, reply
from tests.looks import Looks, counting_looks

if TYPE_CHECKING:
    from agy_actors import AgentRef
    from agy_actors.testing import SimulatedTurn

FEW, MANY = 4, 32

SLACK = 1.25
"""Not everything is the same in each run: a thread that is woken while it runs does not sleep."""

SPARE = 30
"""Lines for each child that may differ in a file that runs few of them."""

ON_A_TIMER = "/admission.py"
"""The end of the name of a file that also runs now and then, whatever the children do."""


def crashing_once() -> SimulatedAgent:
    """Make a configuration whose agents crash on each new prompt."""
    seen: set[str] = set()

    def play(prompt: str) -> SimulatedTurn:
        if prompt in seen:
            return reply()
        seen.add(prompt)
        return crash()

    return SimulatedAgent(play)


def live(children: int) -> dict[str, Looks]:
    """Create, restart and stop children, and return the cost of each of the three."""
    config = crashing_once()
    with counting_looks() as all_threads:
        supervisor = Supervisor.start(hang_timeout=None)  # It checks all of them periodically.
        refs = [supervisor.create_agent(config) for _ in range(children)]
        created = Looks()
        created.by_file.update(all_threads.by_file)

        for number, ref in enumerate(refs):
            restart(ref, number)
        restarted = Looks()
        restarted.by_file.update(all_threads.by_file - created.by_file)

        supervisor.stop()
        stopped = Looks()
        stopped.by_file.update(all_threads.by_file - created.by_file - restarted.by_file)
    return {"created": created, "restarted": restarted, "stopped": stopped}


def restart(ref: AgentRef, number: int) -> None:
    assert ref.ask(Chat(f"prompt {number}")).text == f"prompt {number}"


def test_the_cost_of_a_child_does_not_grow_with_the_number_of_its_siblings() -> None:
    live(1)  # One-time imports and caches do not count for a child.
    few, many = live(FEW), live(MANY)

    for what, looks in many.items():
        for file, lines in looks.by_file.items():
            each = few[what].by_file[file] / FEW
            assert lines / MANY <= SLACK * each + SPARE, (what, file)
