"""The reference design: one event-loop thread, one command queue, one locked registry.

Bridges from threads to the SDK are usually built like this, such as the Rust crate agy-bridge
0.1.4. It was written for the benchmarks, with every part that costs or saves time: all agents are
on one loop. A command loop takes one command after another, starts a task for each long one, and
answers the others itself. An agent is looked up under the lock. It does not have the delay of 500
ms between the starts of chats, which agy-bridge has by default and which would decide every
comparison. Like agy-bridge, it does not restart agents.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import threading
import uuid
from typing import TYPE_CHECKING, Any, Self

from google.antigravity import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from google.antigravity import AgentConfig
    from google.antigravity.conversation.conversation import Conversation
    from google.antigravity.types import Step, UsageMetadata

__all__ = ["Bridge", "UnknownAgent"]

_CHAT_TIMEOUT = 120.0  # As in agy-bridge, like the next two.
_HANDLER_TIMEOUT = 60.0
_SHUTDOWN_TIMEOUT = 10.0

_Reply = concurrent.futures.Future[Any]


class UnknownAgent(LookupError):
    """There is no agent with this id."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Task:
    """A long command, which runs in parallel with others."""

    work: Callable[[], Coroutine[Any, Any, Any]]
    reply: _Reply


@dataclasses.dataclass(frozen=True, slots=True)
class _Query:
    """A command that the command loop answers itself."""

    agent_id: str
    read: Callable[[Conversation], Any]
    reply: _Reply


class Bridge:
    """Agents of the SDK for threads. Every method may be called from any of them."""

    def __init__(self) -> None:
        self._registry: dict[str, Agent] = {}
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._commands: asyncio.Queue[_Task | _Query | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="reference-bridge")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    # Commands. Each returns its answer.

    def create(self, config: AgentConfig) -> str:
        """Start an agent, and return its id."""
        return self.create_later(config).result()

    def create_later(self, config: AgentConfig) -> concurrent.futures.Future[str]:
        """Start an agent, in parallel with other commands."""
        return self._start(lambda: self._create(config))

    def chat(self, agent_id: str, prompt: str) -> str:
        """Take a turn, and return its text."""
        return self.chat_later(agent_id, prompt).result()

    def chat_later(self, agent_id: str, prompt: str) -> concurrent.futures.Future[str]:
        """Take a turn, in parallel with other commands."""
        return self._start(lambda: self._chat(agent_id, prompt))

    def cancel(self, agent_id: str) -> None:
        """End the running turn, if there is one."""
        self._start(lambda: self._handle(agent_id, lambda talk: talk.cancel())).result()

    def wait_for_idle(self, agent_id: str) -> None:
        """Wait until no turn runs."""
        self._start(lambda: self._handle(agent_id, lambda talk: talk.wait_for_idle())).result()

    def is_idle(self, agent_id: str) -> bool:
        """Whether no turn runs."""
        idle: bool = self._query(agent_id, lambda talk: talk.is_idle)
        return idle

    def history(self, agent_id: str) -> list[Step]:
        """Return the steps so far."""
        steps: list[Step] = self._query(agent_id, lambda talk: talk.history)
        return steps

    def turn_count(self, agent_id: str) -> int:
        """Return the number of turns."""
        count: int = self._query(agent_id, lambda talk: talk.turn_count)
        return count

    def total_usage(self, agent_id: str) -> UsageMetadata:
        """Return the tokens so far."""
        usage: UsageMetadata = self._query(agent_id, lambda talk: talk.total_usage)
        return usage

    def last_response(self, agent_id: str) -> str:
        """Return the last turn's text."""
        text: str = self._query(agent_id, lambda talk: talk.last_response)
        return text

    def shutdown_agent(self, agent_id: str) -> None:
        """End an agent, and remove it."""
        self._start(lambda: self._shutdown_agent(agent_id)).result()

    def shutdown(self) -> None:
        """Leave the command loop, and end every agent that is left. A second call is safe."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._commands.put_nowait, None)
            self._thread.join()

    # From other threads to the loop.

    def _start(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> _Reply:
        reply: _Reply = concurrent.futures.Future()
        self._put(_Task(work, reply))
        return reply

    def _query(self, agent_id: str, read: Callable[[Conversation], Any]) -> Any:
        reply: _Reply = concurrent.futures.Future()
        self._put(_Query(agent_id, read, reply))
        return reply.result()

    def _put(self, command: _Task | _Query) -> None:
        self._loop.call_soon_threadsafe(self._commands.put_nowait, command)

    # The loop's thread.

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())

    async def _serve(self) -> None:
        while (command := await self._commands.get()) is not None:
            if isinstance(command, _Query):
                self._answer(command)
            else:
                task = asyncio.create_task(self._finish(command))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        await self._end_all()

    def _answer(self, query: _Query) -> None:
        try:
            query.reply.set_result(query.read(self._look_up(query.agent_id).conversation))
        except Exception as error:  # noqa: BLE001 (it is the asker's)
            query.reply.set_exception(error)

    async def _finish(self, command: _Task) -> None:
        try:
            command.reply.set_result(await command.work())
        except BaseException as error:  # noqa: BLE001 (the SDK's cancellation is one, too)
            command.reply.set_exception(error)

    def _look_up(self, agent_id: str) -> Agent:
        with self._lock:
            agent = self._registry.get(agent_id)
        if agent is None:
            raise UnknownAgent(f"there is no agent {agent_id!r}")
        return agent

    # The tasks.

    async def _create(self, config: AgentConfig) -> str:
        agent = Agent(config)
        await agent.__aenter__()
        agent_id = uuid.uuid4().hex
        with self._lock:
            self._registry[agent_id] = agent
        return agent_id

    async def _chat(self, agent_id: str, prompt: str) -> str:
        async with asyncio.timeout(_CHAT_TIMEOUT):
            response = await self._look_up(agent_id).chat(prompt)
            return await response.text()

    async def _handle(
        self, agent_id: str, work: Callable[[Conversation], Coroutine[Any, Any, Any]]
    ) -> Any:
        async with asyncio.timeout(_HANDLER_TIMEOUT):
            return await work(self._look_up(agent_id).conversation)

    async def _shutdown_agent(self, agent_id: str) -> None:
        agent = self._look_up(agent_id)
        with self._lock:
            del self._registry[agent_id]
        await agent.__aexit__(None, None, None)  # type: ignore[no-untyped-call]

    async def _end_all(self) -> None:
        with self._lock:
            agents = list(self._registry.values())
            self._registry.clear()
        await asyncio.gather(*map(_end, agents))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _end(agent: Agent) -> None:
    # Errors at the end are not handled.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_SHUTDOWN_TIMEOUT):
            await agent.__aexit__(None, None, None)  # type: ignore[no-untyped-call]
