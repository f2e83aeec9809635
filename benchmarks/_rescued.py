"""The raw SDK with handwritten code that survives the death of its process."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import uuid
from typing import TYPE_CHECKING, Any

from google.antigravity import Agent
from google.antigravity.types import SessionContinuationMode

from benchmarks._agent_groups import TURN, AgentGroup

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

    from benchmarks._model import Model

__all__ = ["RESCUED", "Rescued"]

RESCUED = "raw SDK, try/except"
_ATTEMPTS = 3


class Rescued(AgentGroup):
    """One agent that is created again whenever its turn fails."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self._config: AgentConfig | None = None
        self._agent: Agent | None = None

    def start(self, count: int, model: Model, **overrides: Any) -> None:
        """Start the agent, with a conversation that another one can resume."""
        assert count == 1, "it is written for one"
        self._config = model.config(
            save_dir=self._folder.name,
            conversation_id=uuid.uuid4().hex,
            session_continuation_mode=SessionContinuationMode.CREATE_OR_RESUME,
            **overrides,
        )
        self._runner.run(self._start())

    def ask(self, number: int, prompt: str) -> str:
        """Take a turn, with another agent if this one fails."""
        assert number == 0, "there is one"
        return self._runner.run(self._ask(prompt))

    def ask_all(self, prompt: str) -> list[str]:
        """Take a turn with the agent."""
        return [self.ask(0, prompt)]

    def stop(self) -> None:
        """End it."""
        self._runner.run(self._end())
        self._runner.close()
        self._folder.cleanup()

    async def _start(self) -> None:
        assert self._config is not None
        self._agent = Agent(self._config)
        await self._agent.__aenter__()

    async def _ask(self, prompt: str) -> str:
        for attempt in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(TURN):
                    assert self._agent is not None
                    response = await self._agent.chat(prompt)
                    if text := await response.text():
                        return text
                    # After a crash the SDK may also return an empty answer, as if the turn had
                    # succeeded.
            except Exception:
                if attempt == _ATTEMPTS - 1:
                    raise
            await self._end()
            await self._start()
        raise RuntimeError("no answer")

    async def _end(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            # A broken agent may fail to end.
            with contextlib.suppress(Exception):
                await agent.__aexit__(None, None, None)  # type: ignore[no-untyped-call]
