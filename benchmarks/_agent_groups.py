"""Groups of agents for each peer."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import tempfile
import time
from typing import TYPE_CHECKING, Any, Self

from google.antigravity import Agent
from google.antigravity.types import AntigravityCancelledError

from agy_actors import Cancel, Chat, CreateAgent, IsIdle, ShutdownAgent, Supervisor, TurnCancelled
from benchmarks._results import OURS
from benchmarks.reference import Bridge

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors import AgentRef
    from benchmarks._model import Model

__all__ = [
    "GROUPS",
    "ONE_EACH",
    "RAW",
    "REFERENCE",
    "SIXTY_FOUR",
    "THREAD_GROUPS",
    "TURN",
    "AgentGroup",
    "Ours",
    "Raw",
    "Reference",
    "ThreadAgentGroup",
]

RAW = "raw SDK"
REFERENCE = "reference"
ONE_EACH = "agy_actors, 1 each"
SIXTY_FOUR = "agy_actors, 64 each"

TURN = 120.0  # The longest time of a turn here, in seconds.


class AgentGroup(abc.ABC):
    """Agents with the same model. An operation on all agents is done for all at once.

    It is a context manager, which ends the agents.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abc.abstractmethod
    def start(self, count: int, model: Model, **overrides: Any) -> None:
        """Start more agents, and wait until all are ready."""

    @abc.abstractmethod
    def ask(self, number: int, prompt: str) -> str:
        """Take a turn with one agent, and return its text."""

    @abc.abstractmethod
    def ask_all(self, prompt: str) -> list[str]:
        """Take a turn with each agent at once, and return the texts."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End all agents completely, and wait for that. A second call does nothing."""

    def time(self, number: int, prompt: str) -> float:
        """Take a turn with one agent, and return how many seconds it took."""
        started = time.perf_counter()
        self.ask(number, prompt)
        return time.perf_counter() - started


class ThreadAgentGroup(AgentGroup):
    """A group that several threads can use at once, unlike the raw SDK's."""

    @abc.abstractmethod
    def is_idle(self, number: int) -> bool:
        """Whether an agent has no turn."""

    @abc.abstractmethod
    def ask_cancelled(self, number: int, prompt: str) -> None:
        """Take a turn that another thread will cancel."""

    @abc.abstractmethod
    def cancel(self, number: int) -> None:
        """Cancel the turn of an agent."""

    @abc.abstractmethod
    def stop_one(self, number: int) -> None:
        """End one agent."""


class Ours(ThreadAgentGroup):
    """Actors under a supervisor."""

    def __init__(self, per_process: int = 16) -> None:
        self._supervisor = Supervisor.start(max_conversations_per_process=per_process)
        self.refs: list[AgentRef] = []

    def start(self, count: int, model: Model, **overrides: Any) -> None:
        """Start more agents, and wait until all are ready."""
        futures = [
            self._supervisor.ask(CreateAgent(model.config(**overrides)), block=False)
            for _ in range(count)
        ]
        self.refs += [future.get(timeout=TURN) for future in futures]

    def ask(self, number: int, prompt: str) -> str:
        """Take a turn with one agent, and return its text."""
        return self.refs[number].ask(Chat(prompt, timeout=TURN, stall_timeout=TURN)).text

    def ask_all(self, prompt: str) -> list[str]:
        """Take a turn with each agent at once, and return the texts."""
        futures = [
            ref.ask(Chat(prompt, timeout=TURN, stall_timeout=TURN), block=False)
            for ref in self.refs
        ]
        return [future.get(timeout=2 * TURN).text for future in futures]

    def is_idle(self, number: int) -> bool:
        """Whether an agent has no turn."""
        return self.refs[number].ask(IsIdle())

    def ask_cancelled(self, number: int, prompt: str) -> None:
        """Take a turn that another thread will cancel."""
        with contextlib.suppress(TurnCancelled):
            self.ask(number, prompt)

    def cancel(self, number: int) -> None:
        """Cancel the turn of an agent."""
        self.refs[number].ask(Cancel())

    def stop_one(self, number: int) -> None:
        """End one agent."""
        self._supervisor.ask(ShutdownAgent(self.refs[number]))

    def stop(self) -> None:
        """End all agents completely, and wait for that."""
        self._supervisor.stop()


class Reference(ThreadAgentGroup):
    """Agents of the reference design."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._bridge = Bridge()
        self._ids: list[str] = []

    def start(self, count: int, model: Model, **overrides: Any) -> None:
        """Start more agents, and wait until all are ready."""
        config = model.config(save_dir=self._folder.name, **overrides)
        futures = [self._bridge.create_later(config) for _ in range(count)]
        self._ids += [future.result(TURN) for future in futures]

    def ask(self, number: int, prompt: str) -> str:
        """Take a turn with one agent, and return its text."""
        return self._bridge.chat(self._ids[number], prompt)

    def ask_all(self, prompt: str) -> list[str]:
        """Take a turn with each agent at once, and return the texts."""
        futures = [self._bridge.chat_later(agent_id, prompt) for agent_id in self._ids]
        return [future.result(TURN) for future in futures]

    def is_idle(self, number: int) -> bool:
        """Whether an agent has no turn."""
        return self._bridge.is_idle(self._ids[number])

    def ask_cancelled(self, number: int, prompt: str) -> None:
        """Take a turn that another thread will cancel."""
        with contextlib.suppress(AntigravityCancelledError):
            self.ask(number, prompt)

    def cancel(self, number: int) -> None:
        """Cancel the turn of an agent."""
        self._bridge.cancel(self._ids[number])

    def stop_one(self, number: int) -> None:
        """End one agent."""
        self._bridge.shutdown_agent(self._ids[number])

    def stop(self) -> None:
        """End all agents completely, and wait for that."""
        self._bridge.shutdown()
        self._folder.cleanup()


class Raw(AgentGroup):
    """The SDK as it is: all agents on one asyncio loop, which runs in the calling thread.

    So no turn changes threads, and no other thread can use the agents.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self._agents: list[Agent] = []

    def start(self, count: int, model: Model, **overrides: Any) -> None:
        """Start more agents, and wait until all are ready."""
        config = model.config(save_dir=self._folder.name, **overrides)
        agents = [Agent(config) for _ in range(count)]
        self._run_all(lambda agent: agent.__aenter__(), agents)
        self._agents += agents

    def ask(self, number: int, prompt: str) -> str:
        """Take a turn with one agent, and return its text."""
        return self._runner.run(_turn(self._agents[number], prompt))

    def ask_all(self, prompt: str) -> list[str]:
        """Take a turn with each agent at once, and return the texts."""
        return self._run_all(lambda agent: _turn(agent, prompt), self._agents)

    def time(self, number: int, prompt: str) -> float:
        """Take a turn with one agent, and return how many seconds it took on the loop."""
        return self._runner.run(_timed_turn(self._agents[number], prompt))

    def stop(self) -> None:
        """End all agents completely, and wait for that."""
        agents, self._agents = self._agents, []
        self._run_all(_end, agents)
        self._runner.close()
        self._folder.cleanup()

    def _run_all(
        self, work: Callable[[Agent], Coroutine[Any, Any, Any]], agents: list[Agent]
    ) -> list[Any]:
        async def run() -> list[Any]:
            async with asyncio.timeout(TURN):
                return await asyncio.gather(*map(work, agents))

        return self._runner.run(run())


async def _turn(agent: Agent, prompt: str) -> str:
    response = await agent.chat(prompt)
    return await response.text()


async def _timed_turn(agent: Agent, prompt: str) -> float:
    started = time.perf_counter()
    await _turn(agent, prompt)
    return time.perf_counter() - started


async def _end(agent: Agent) -> None:
    await agent.__aexit__(None, None, None)  # type: ignore[no-untyped-call]


THREAD_GROUPS: dict[str, Callable[[], ThreadAgentGroup]] = {
    OURS: Ours,
    SIXTY_FOUR: lambda: Ours(per_process=64),
    ONE_EACH: lambda: Ours(per_process=1),
    REFERENCE: Reference,
}
"""The functions that make the peers that threads can use, by name."""

GROUPS: dict[str, Callable[[], AgentGroup]] = {**THREAD_GROUPS, RAW: Raw}
"""The functions that make all peers, by name."""
