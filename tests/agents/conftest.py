from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import Supervisor
from agy_actors._agents.agent_actor import AgentActor
from tests.agents.held_turns import Held
from tests.harnesses import PATIENCE, kill_harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.antigravity import AgentConfig

    from agy_actors import AgentRef, SupervisorRef
    from agy_actors.testing import ScriptedModel
    from tests.agents.agents import Configure


@pytest.fixture
def supervisor(model: ScriptedModel) -> Iterator[SupervisorRef]:
    with Supervisor.start(max_restarts=20) as supervisor:
        yield supervisor


@pytest.fixture(params=["openai", pytest.param("gemini", marks=pytest.mark.slow)])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def configure(protocol: str, model: ScriptedModel) -> Configure:
    """Make a configuration for either protocol."""

    def make(**overrides: Any) -> AgentConfig:
        make_config = model.openai_config if protocol == "openai" else model.gemini_config
        return make_config(**overrides)

    return make


@pytest.fixture
def either(supervisor: SupervisorRef, configure: Configure) -> AgentRef:
    """An agent, once for each protocol."""
    return supervisor.create_agent(configure(), name="either")


@pytest.fixture
def agent(supervisor: SupervisorRef, model: ScriptedModel) -> AgentRef:
    """An agent for tests in which the protocol does not matter."""
    return supervisor.create_agent(model.openai_config(), name="agent")


class HeldCrash:
    """Holds an agent between its crash and its restart."""

    def __init__(self) -> None:
        self._crashed = threading.Event()
        self._go_on = threading.Event()
        self._finish = AgentActor._finish_crash

    async def finish(self, actor: AgentActor) -> None:
        self._crashed.set()
        await asyncio.to_thread(self._go_on.wait)
        await self._finish(actor)

    def crash(self, agent: AgentRef) -> int:
        """Kill an agent's process, wait until the agent has noticed, and return its pid."""
        pid = kill_harness(agent)
        assert self._crashed.wait(PATIENCE)
        return pid

    def let_go(self) -> None:
        self._go_on.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldCrash]:
    held = HeldCrash()

    async def finish(actor: AgentActor) -> None:
        await held.finish(actor)

    monkeypatch.setattr(AgentActor, "_finish_crash", finish)
    yield held
    held.let_go()


@pytest.fixture
def one() -> Iterator[SupervisorRef]:
    """A supervisor under which one turn runs at a time."""
    with Supervisor.start(max_running_turns=1) as supervisor:
        yield supervisor


@pytest.fixture
def held_turns(model: ScriptedModel) -> Iterator[Held]:
    held = Held(model)
    yield held
    held.let_go()
