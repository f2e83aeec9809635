"""A turn's time when a real process is restarted. The simulated tests use virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import tenacity

from agy_actors import AgentRestarting, Backoff, Chat, GetStatistics, Supervisor, TurnTimeout
from agy_actors.testing import ScriptedModel, silence
from tests.harnesses import PATIENCE, kill_harness, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import AgentRef, Event, SupervisorRef

NEVER = Backoff(wait=tenacity.wait_fixed(3600.0), reset_after=7200.0)
"""The first failure restarts at once, and the next one never, as far as a test can tell."""


@pytest.fixture
def restarting() -> list[AgentRestarting]:
    return []


@pytest.fixture
def supervisor(restarting: list[AgentRestarting]) -> Iterator[SupervisorRef]:
    def take(event: Event) -> None:
        if isinstance(event, AgentRestarting):
            restarting.append(event)

    with Supervisor.start(backoff=NEVER, max_restarts=10) as supervisor:
        supervisor.subscribe(take)
        yield supervisor


@pytest.fixture
def restarted(supervisor: SupervisorRef, model: ScriptedModel) -> AgentRef:
    """An agent that was restarted at once, and will wait for its next restart."""
    agent = supervisor.create_agent(model.openai_config())
    kill_harness(agent)
    until(lambda: agent.ask(GetStatistics(), timeout=PATIENCE).restarts == 1)
    assert agent.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"
    return agent


def test_a_turn_whose_process_is_killed_ends_in_time_before_its_agent_is_restarted(
    model: ScriptedModel, restarted: AgentRef, restarting: list[AgentRestarting]
) -> None:
    model.when("go", silence())
    turn = restarted.ask(Chat("go", timeout=2.0), block=False)
    model.wait_for_requests(2)

    kill_harness(restarted)

    with pytest.raises(TurnTimeout, match="did not end within 2 seconds"):
        turn.get(timeout=PATIENCE)
    assert [event.delay for event in restarting] == [0.0, 3600.0]


def test_a_turn_that_is_asked_during_a_restart_waits_no_longer_than_its_timeout(
    restarted: AgentRef, restarting: list[AgentRestarting]
) -> None:
    kill_harness(restarted)
    until(lambda: len(restarting) == 2)

    with pytest.raises(TurnTimeout, match=r"did not begin within 0\.2 seconds"):
        restarted.ask(Chat("go", timeout=0.2), timeout=PATIENCE)
