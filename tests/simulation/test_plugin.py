"""The pytest plugin, in the tests of a user who has only installed agy_actors."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def outside(pytester: pytest.Pytester) -> Path:
    # Nothing of this project's own configuration, nor of its conftest.
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider -p no:xdist\n")
    return pytester.path


def test_a_users_file_runs_with_the_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from agy_actors import Chat
        from agy_actors.testing import SimulatedAgent

        def test_a_supervisor(agy_supervisor, scripted_model):
            agent = agy_supervisor.create_agent(SimulatedAgent(), name="mine")
            assert agent.ask(Chat("hello")).text == "hello"
            assert scripted_model.base_url.startswith("http://127.0.0.1")

        def test_a_simulation(simulation):
            def scenario(sim):
                from agy_actors import Supervisor
                with Supervisor.start() as supervisor:
                    agent = supervisor.create_agent(SimulatedAgent(), name="mine")
                    return agent.ask(Chat("hello")).text

            assert simulation.run(scenario) == "hello"
            assert simulation.explore(scenario, runs=5).runs == 5
        """
    )

    pytester.runpytest_subprocess().assert_outcomes(passed=2)


def test_a_users_program_of_several_agents_is_tested_and_its_race_is_found(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_team=(EXAMPLES / "team_and_its_test.py").read_text())

    result = pytester.runpytest_subprocess("-s")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*the simulated schedule, with * deviations*", "replay it with *"])


def test_a_failing_schedule_is_shown_with_its_token(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_a_race(simulation):
            def scenario(sim):
                value = [0]

                async def increment():
                    import asyncio
                    read = value[0]
                    await asyncio.sleep(sim.choose(0.0, 1.0))
                    value[0] = read + 1

                async def both():
                    first, second = sim.client(increment), sim.client(increment)
                    await first
                    await second
                    assert value[0] == 2

                return both()

            simulation.explore(scenario, runs=50)
        """
    )

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*first come, first served*", "*Simulation.replay('*"])
