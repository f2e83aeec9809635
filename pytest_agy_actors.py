"""Fixtures for pytest, which finds them when agy_actors is installed.

Each fixture fails its test if the test leaves a thread, a process, an actor or an ask without a
reply behind. A test that uses none of them is not checked.

pytest imports this module in every run, so it is outside the package and imports nothing from it:
importing `agy_actors` imports the SDK, which takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors import SupervisorRef
    from agy_actors.testing import Exploration, ScriptedModel, Simulation

__all__ = ["agy_supervisor", "nothing_of_agy_actors_left", "scripted_model", "simulation"]


@pytest.fixture
def nothing_of_agy_actors_left() -> Iterator[None]:
    """Fail the test if it leaves threads, processes, actors or unanswered asks behind."""
    from agy_actors.testing.leak_check import EXECUTORS, TOOLS, LeakCheck  # noqa: PLC0415

    check = LeakCheck(may_stay=(*TOOLS, *EXECUTORS))
    with check.watching():
        yield
        complaints = check.complaints()
    if complaints:
        pytest.fail("the test left behind:\n  " + "\n  ".join(complaints), pytrace=False)


@pytest.fixture
def scripted_model(nothing_of_agy_actors_left: None) -> Iterator[ScriptedModel]:  # noqa: ARG001
    """A scripted model on a port of this machine. See `agy_actors.testing.ScriptedModel`."""
    from agy_actors.testing import ScriptedModel  # noqa: PLC0415

    with ScriptedModel() as model:
        yield model


@pytest.fixture
def agy_supervisor(nothing_of_agy_actors_left: None) -> Iterator[SupervisorRef]:  # noqa: ARG001
    """A supervisor that is stopped after the test."""
    from agy_actors import Supervisor  # noqa: PLC0415

    with Supervisor.start() as supervisor:
        yield supervisor


@pytest.fixture
def simulation(nothing_of_agy_actors_left: None) -> _Simulate:  # noqa: ARG001
    """Runs scenarios: `simulation.run(scenario)` once, `simulation.explore(scenario)` often."""
    return _Simulate()


class _Simulate:
    """Creates simulations for a test."""

    def run(self, scenario: Callable[[Simulation], Any], **options: Any) -> Any:
        """Run a scenario in a `Simulation` with these options, and return its result."""
        from agy_actors.testing import Simulation  # noqa: PLC0415

        return Simulation(**options).run(scenario)

    def replay(self, token: str, scenario: Callable[[Simulation], Any], **options: Any) -> Any:
        """Repeat the run that a token describes. See `Simulation.replay`."""
        from agy_actors.testing import Simulation  # noqa: PLC0415

        return Simulation.replay(token, **options).run(scenario)

    def explore(self, scenario: Callable[[Simulation], Any], **options: Any) -> Exploration:
        """Run a scenario in many schedules. See `agy_actors.testing.explore`."""
        from agy_actors.testing import explore  # noqa: PLC0415

        return explore(scenario, **options)
