"""A token gives the same trace in every process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from agy_actors import AgentStartError, Chat, Supervisor, TurnError
from agy_actors.testing import RandomChoices, SimulatedAgent, Simulation, crash, quota, reply

def scenario(sim):
    with Supervisor.start() as supervisor:
        agent = supervisor.create_agent(SimulatedAgent([crash(after=1), reply(), quota(5)]))
        pool = supervisor.create_pool(SimulatedAgent([crash()] * 3, crashes=3), size=2)

        def client(ref, prompt):
            try:
                ref.ask(Chat(prompt))
            except TurnError:
                pass

        refs = [agent, pool] * 3
        clients = [sim.client(client, ref, str(number)) for number, ref in enumerate(refs)]
        for running in clients:
            running.result()

if sys.argv[1:]:
    simulation = Simulation.replay(sys.argv[1])
else:
    simulation = Simulation(RandomChoices(11), seed=3, preempt=True)
try:
    simulation.run(scenario)
except AgentStartError as error:  # A crash may be drawn at a start.
    print(type(error).__name__)
print(simulation.token)
print(simulation.trace)
"""

_PROCESSES = int(os.environ.get("AGY_ACTORS_TEST_REPLAYS", "2"))
"""How many processes replay the token. The default is for every day; 100 was tried too."""


def run(*arguments: str, seed: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    ).stdout


@pytest.mark.timeout(60 + 5 * _PROCESSES)
def test_a_token_gives_the_identical_trace_in_fresh_processes() -> None:
    first = run(seed=1)
    token = next(line for line in first.splitlines() if line.startswith("0."))

    assert len(first.splitlines()) > 100
    for seed in range(_PROCESSES):
        assert run(token, seed=seed) == first
