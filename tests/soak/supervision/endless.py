"""A pool that answers prompts without end: memory must not grow."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import psutil
import typer
from google.antigravity import AgentConfig
from google.antigravity import types as sdk
from google.antigravity.connections.connection import Connection, ConnectionStrategy

from agy_actors import Chat, Supervisor
from benchmarks._failures import Failures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agy_actors import PoolRef

__all__ = ["endless"]

_MEMBERS = 4
_IN_FLIGHT = 2 * _MEMBERS

_STEPS_KEPT = 10_000
"""The number of steps that an agent and the SDK keep of a conversation. Up to this number, each
turn adds one, and memory grows as expected."""

_MORE = 0.1  # Relative to the peak with a tenth of the prompts.
_MORE_BYTES = 5_000_000
_LOOK_EVERY = 100  # The number of replies between two measurements of the memory.


def endless(prompts: Annotated[int, typer.Option(min=10)] = 100_000) -> None:
    """Let a pool of agents without a harness answer the prompts of a generator.

    There are no other processes, so all memory is this program's own. It is the resident set
    size, because `tracemalloc` would take many times as long.
    """
    failures = Failures()
    with Supervisor.start() as supervisor:
        workers = supervisor.create_pool(_EchoConfig(), _MEMBERS)
        for ref in workers.members():
            for _ in range(_STEPS_KEPT):
                ref.ask(Chat("warm up"))
        few = _Run(workers, prompts // 10, failures)
        many = _Run(workers, prompts, failures)
    for run in (few, many):
        print(
            f"{run.prompts} prompts: {run.prompts / run.seconds:.0f} prompts/s,"
            f" peak {run.peak / 1e6:.1f} MB, {run.blocks:+} blocks of memory,"
            f" at most {run.in_progress} in progress (bound {_IN_FLIGHT})"
        )
        if run.in_progress > _IN_FLIGHT:
            failures.add(f"{run.in_progress} prompts were in progress at once")
    grown = many.peak - few.peak
    print(f"ten times the prompts: {grown / 1e6:+.1f} MB, {grown / few.peak:+.1%}")
    if grown > max(_MORE * few.peak, _MORE_BYTES):
        failures.add("memory grows with the number of prompts")
    failures.finish()


class _Run:
    """The result of one generator of prompts."""

    def __init__(self, workers: PoolRef, prompts: int, failures: Failures) -> None:
        self.prompts = prompts
        self.peak = 0
        self.in_progress = 0
        self._yielded = 0
        memory = psutil.Process().memory_info
        blocks = sys.getallocatedblocks()
        started = time.perf_counter()
        for reply in workers.map(self._make(), in_flight=_IN_FLIGHT):
            if reply.text != f"echo: prompt {self._yielded}":
                failures.add(f"prompt {self._yielded} was answered {reply.text!r}")
            if self._yielded % _LOOK_EVERY == 0:
                self.peak = max(self.peak, memory().rss)
            self._yielded += 1
        self.seconds = time.perf_counter() - started
        self.blocks = sys.getallocatedblocks() - blocks
        if self._yielded != prompts:
            failures.add(f"{self._yielded} replies to {prompts} prompts")

    def _make(self) -> Iterator[str]:
        for number in range(self.prompts):
            self.in_progress = max(self.in_progress, number + 1 - self._yielded)
            yield f"prompt {number}"


class _EchoConfig(AgentConfig):
    """An agent of the SDK that answers at once, without a process."""

    def create_strategy(self, *, tool_runner: Any, hook_runner: Any) -> ConnectionStrategy:
        """Make the strategy; there are no tools and no hooks."""
        del tool_runner, hook_runner
        return _EchoStrategy()


class _EchoStrategy(ConnectionStrategy):
    def connect(self) -> Connection:
        return _EchoConnection()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        pass


class _EchoConnection(Connection):
    def __init__(self) -> None:
        self._prompt: sdk.Content | None = None

    async def send(self, prompt: sdk.Content | None, **kwargs: Any) -> None:
        del kwargs
        self._prompt = prompt

    async def receive_steps(self) -> AsyncIterator[sdk.Step]:
        text = f"echo: {self._prompt}"
        yield sdk.Step(
            type=sdk.StepType.TEXT_RESPONSE,
            source=sdk.StepSource.MODEL,
            target=sdk.StepTarget.USER,
            status=sdk.StepStatus.DONE,
            content=text,
            content_delta=text,
            is_complete_response=True,
        )

    async def send_trigger_notification(self, content: str) -> None:
        del content
