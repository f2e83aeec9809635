"""Shared processes that end while conversations are opened on them, on the real harness."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import AgentStartError, Backoff, Chat, CreateAgent, GetStatistics, Supervisor
from agy_actors._sdk.process.lease import SharedLease
from agy_actors._sdk.process.spawn import SpawnedProcess
from tests.harnesses import pid_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

pytestmark = pytest.mark.new_processes


class Killer:
    """Kills the process of each new connection, a given number of times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        self.signal = signal.SIGKILL
        self.killed: list[int] = []
        acquire = SharedLease.acquire

        async def acquire_and_kill(lease: Any, *args: Any, **kwargs: Any) -> Any:
            process, ws = await acquire(lease, *args, **kwargs)
            if self.left > 0:
                self.left -= 1
                self.killed.append(process.pid)
                os.kill(process.pid, self.signal)
            return process, ws

        monkeypatch.setattr(SharedLease, "acquire", acquire_and_kill)


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(monkeypatch)


@pytest.fixture
def shared() -> Iterator[SupervisorRef]:
    at_once = Backoff(wait=lambda _: 0.0)
    with Supervisor.start(max_restarts=50, backoff=at_once) as supervisor:
        yield supervisor


def test_agents_whose_process_dies_while_they_are_created_start_on_another(
    shared: SupervisorRef, model: ScriptedModel, killer: Killer
) -> None:
    killer.left = 4
    config = model.openai_config()

    creations = [shared.ask(CreateAgent(config), block=False) for _ in range(8)]
    agents = [creation.get() for creation in creations]

    assert len(killer.killed) == 4
    assert all(agent.ask(Chat("hello")).text for agent in agents)


def test_an_agent_that_loses_its_process_repeatedly_starts_nevertheless(
    shared: SupervisorRef, model: ScriptedModel, killer: Killer
) -> None:
    killer.left = 5

    agent = shared.create_agent(model.openai_config())

    assert len(set(killer.killed)) == 5
    assert pid_of(agent) not in killer.killed
    assert agent.ask(GetStatistics()).restarts == 0


def test_an_agent_whose_process_dies_while_it_restarts_needs_no_other_restart(
    shared: SupervisorRef, model: ScriptedModel, killer: Killer
) -> None:
    agent = shared.create_agent(model.openai_config())
    killer.left = 2

    os.kill(pid_of(agent), signal.SIGKILL)
    until(lambda: agent.ask(GetStatistics()).restarts > 0)

    assert agent.ask(Chat("hello")).text
    assert len(killer.killed) == 2
    assert agent.ask(GetStatistics()).restarts == 1


def test_an_agent_whose_process_dies_while_it_wakes_up_answers(
    shared: SupervisorRef, model: ScriptedModel, killer: Killer
) -> None:
    agent = shared.create_agent(model.openai_config(), idle_timeout=0.1)
    until(lambda: agent.ask(GetStatistics()).state == "asleep")
    killer.left = 2

    assert agent.ask(Chat("hello")).text
    assert len(killer.killed) == 2
    assert agent.ask(GetStatistics()).restarts == 0


def test_a_pool_whose_process_dies_while_a_conversation_is_opened_answers(
    shared: SupervisorRef, model: ScriptedModel, killer: Killer
) -> None:
    pool = shared.create_pool(model.openai_config(), size=1)
    pool.ask(Chat("hello"))
    killer.left = 2

    assert [pool.ask(Chat(f"hello {n}")).text for n in range(4)]
    assert len(killer.killed) == 2


def test_a_conversation_that_ends_each_process_is_given_up_soon(
    shared: SupervisorRef, model: ScriptedModel, killer: Killer
) -> None:
    killer.left = 100
    killer.signal = signal.SIGABRT  # As a fault of its own would.

    with pytest.raises(AgentStartError, match="localharness ended before") as caught:
        shared.create_agent(model.openai_config())

    assert caught.value.retryable
    assert len(killer.killed) == 3


def test_the_time_of_a_start_limits_how_often_it_is_tried(
    shared: SupervisorRef,
    model: ScriptedModel,
    killer: Killer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGY_ACTORS_START_TIMEOUT", "2")
    killer.left = 1000

    with pytest.raises(AgentStartError) as caught:
        shared.create_agent(model.openai_config())

    assert caught.value.retryable
    assert len(killer.killed) > 1


def test_a_process_that_is_killed_during_its_start_refuses_no_agent(
    shared: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    handshake = SpawnedProcess.handshake

    def kill_and_handshake(spawned: SpawnedProcess) -> Any:
        begun.append(spawned.popen.pid)
        if len(begun) <= 2:
            os.kill(spawned.popen.pid, signal.SIGKILL)
        return handshake(spawned)

    monkeypatch.setattr(SpawnedProcess, "handshake", kill_and_handshake)

    agent = shared.create_agent(model.openai_config())

    assert agent.ask(Chat("hello")).text
    assert len(begun) > 2
