"""`Answering`: how agents of ``map`` answer: their system instructions and the schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.antigravity import types as sdk
from google.antigravity.hooks import policy

from agy_actors.cli.model_choice import ModelChoice, rehearsed_answer
from agy_actors.cli.schema_example import example_of

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

    from agy_actors.testing import ModelRequest, Reply

__all__ = ["Answering"]

_FINISH = "finish"
"""The tool that a model calls with the data of its answer, if there is a schema."""


@dataclass(frozen=True)
class Answering:
    """How the agents answer."""

    system: str | None = None
    """The system instructions; `None` for those of the model's configuration."""

    schema: dict[str, Any] | None = None
    """The JSON Schema of the answers; `None` for text."""

    def configure(self, choice: ModelChoice) -> AgentConfig:
        """Return the configuration of the agents."""
        changes: dict[str, Any] = {}
        if self.system is not None:
            # The small model needs short instructions: they replace those of the harness.
            small = choice.kind == "local"
            changes["system_instructions"] = (
                sdk.CustomSystemInstructions(text=self.system) if small else self.system
            )
        if self.schema is not None:
            changes["response_schema"] = json.dumps(self.schema)  # As the SDK keeps it.
            changes["policies"] = [policy.allow(_FINISH), policy.deny_all()]
        return choice.config.model_copy(update=changes)

    def rehearsed(self) -> Reply:
        """Return how a rehearsal answers: in one piece, because nobody sees an answer grow."""
        # Imported here, because a run with a real model needs no web server.
        from agy_actors.testing import call_tool, say  # noqa: PLC0415

        if self.schema is not None:
            return call_tool(_FINISH, example_of(self.schema))

        def answer(request: ModelRequest) -> str:
            return rehearsed_answer(request.prompt)

        return say(answer, chunks=_ONE_PIECE)


_ONE_PIECE = 1 << 30
"""Characters in a piece of a rehearsed answer: more than any answer has."""
