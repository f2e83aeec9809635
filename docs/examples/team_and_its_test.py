"""A program of several agents, and its own test: `python -m pytest team_and_its_test.py`.

Two writers write a report together. Each reads the report, asks its agent for a paragraph that
fits, and writes the whole report back. A paragraph that the other writer added meanwhile is lost.
In a run without crashes this does not happen. `test_a_lost_paragraph_is_found` finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import AgentRef, AsyncioActor, Chat, Supervisor
from agy_actors.testing import SimulatedAgent, SimulatedTurn, Simulation, crash, reply

if TYPE_CHECKING:
    from collections.abc import Callable

# The program.


class Report(AsyncioActor):
    """The paragraphs so far."""

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = []

    def on_receive(self, message: tuple[str, Any]) -> list[str]:
        """Return all paragraphs, after adding one or replacing all."""
        match message:
            case ("add", paragraph):
                self.paragraphs.append(paragraph)
            case ("replace", paragraphs):
                self.paragraphs = paragraphs
        return list(self.paragraphs)


def write_carelessly(report: Any, agent: AgentRef, subject: str) -> None:
    """Add a paragraph. The mistake: another writer may write between the read and the write."""
    before = report.ask(("read", None))
    paragraph = agent.ask(Chat(f"{subject}, after {len(before)} paragraphs")).text
    report.ask(("replace", [*before, paragraph]))


def write(report: Any, agent: AgentRef, subject: str) -> None:
    """Add a paragraph, in one message."""
    before = report.ask(("read", None))
    paragraph = agent.ask(Chat(f"{subject}, after {len(before)} paragraphs")).text
    report.ask(("add", paragraph))


# Its test. The fixture `simulation` comes with agy_actors.


def scenario(way: Callable[[Any, AgentRef, str], None]) -> Callable[[Simulation], None]:
    """Start the second writer a minute after the first, which has usually finished by then."""

    def run(sim: Simulation) -> None:
        with Supervisor.start(hang_timeout=None) as supervisor:  # No hang detection in the trace.
            report = Report.start()
            crashes = [crash(after=35.0)]

            def play(_: Any) -> SimulatedTurn:
                # A turn takes 40 s. The schedule chooses whether its process dies late in it.
                dies = bool(crashes) and sim.choose(False, True)
                return crashes.pop() if dies else reply(after=40.0)

            config = SimulatedAgent(play)
            poet, critic = (supervisor.create_agent(config, name) for name in ("poet", "critic"))
            first = sim.client(way, report, poet, "rain", name="first")
            sim.sleep(60.0)
            second = sim.client(way, report, critic, "snow", name="second")
            first.result()
            second.result()
            subjects = {paragraph.partition(",")[0] for paragraph in report.ask(("read", None))}
            assert subjects == {"rain", "snow"}, "a paragraph was lost"

    return run


def test_nothing_is_lost(simulation: Any) -> None:
    """No paragraph is lost in any of 50 schedules."""
    simulation.explore(scenario(write), runs=50)


def test_a_lost_paragraph_is_found(simulation: Any) -> None:
    """A paragraph is lost if the first agent's process dies late in its turn."""
    simulation.run(scenario(write_carelessly))  # First come, first served: no paragraph is lost.

    with pytest.raises(AssertionError, match="a paragraph was lost") as found:
        simulation.explore(scenario(write_carelessly), runs=50)

    print("\n".join(found.value.__notes__))  # What happened, and a token that replays it.
