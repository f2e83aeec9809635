"""Agents with a custom connection of the SDK."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import (
    AgentConfig,
)
from google.antigravity.connections.connection import Connection, ConnectionStrategy
from google.antigravity.types import (
    Step,
    StepSource,
    StepStatus,
    StepTarget,
    StepType,
)

from agy_actors import (
    Cancel,
    Chat,
    GetHistory,
    GetStatistics,
    IsIdle,
    TurnCancelled,
)
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agy_actors import SupervisorRef


class Parrot(Connection):
    """A connection without a process, with scripted steps."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._disturbed = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        return not self._said

    @property
    def conversation_id(self) -> str:
        return "parrot"

    async def send(self, prompt: Any, **_: Any) -> None:
        self._said.append(str(prompt))

    async def receive_steps(self) -> AsyncIterator[Step]:
        while self._said:
            if self._said[0] == "think":
                await self._disturbed.wait()
                self._said.clear()
                return
            text = self._said.pop(0)
            yield Step(
                id="1",
                type=StepType.TEXT_RESPONSE,
                source=StepSource.MODEL,
                target=StepTarget.USER,
                status=StepStatus.DONE,
                content=text,
                content_delta=text,
                is_complete_response=True,
            )

    async def send_trigger_notification(self, content: str) -> None:
        self._said.append(content)

    async def cancel(self) -> None:
        self._disturbed.set()


class ParrotStrategy(ConnectionStrategy):
    def connect(self) -> Connection:
        return Parrot()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        pass


class ParrotConfig(AgentConfig):
    def create_strategy(self, *, tool_runner: Any, hook_runner: Any) -> ConnectionStrategy:
        return ParrotStrategy()


def test_an_agent_with_a_custom_connection_works_like_any_other(
    supervisor: SupervisorRef,
) -> None:
    parrot = supervisor.create_agent(ParrotConfig(), "parrot")

    texts = [parrot.ask(Chat(text)).text for text in ("hello", "pretty boy")]

    assert texts == ["hello", "pretty boy"]
    assert "".join(parrot.stream("and again")) == "and again"
    assert [step.content for step in parrot.ask(GetHistory())] == [*texts, "and again"]
    assert parrot.ask(IsIdle())
    assert parrot.ask(GetStatistics()).harness_pid is None


def test_a_connection_that_does_not_repeat_its_prompts_answers_after_a_cancelled_turn(
    supervisor: SupervisorRef,
) -> None:
    parrot = supervisor.create_agent(ParrotConfig(), "parrot")
    thought = parrot.ask(Chat("think"), block=False)
    until(lambda: not parrot.ask(IsIdle()))

    parrot.ask(Cancel())

    with pytest.raises(TurnCancelled):
        thought.get(timeout=PATIENCE)
    assert parrot.ask(Chat("hello")).text == "hello"
    assert "".join(parrot.stream("and again")) == "and again"
