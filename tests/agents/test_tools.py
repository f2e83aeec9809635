"""Tools as users write them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from agy_actors import Chat
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ModelRequest


class Counter:
    """Has a lock, which cannot be copied."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def increase(self, by: int) -> int:
        """Count on."""
        with self._lock:
            self.count += by
            return self.count


def test_a_tool_can_be_a_method_of_an_object_that_cannot_be_copied(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    counter = Counter()
    model.when("count", call_tool("increase", {"by": 3}), times=1)
    model.when(_has_result, say("counted"))
    agent = supervisor.create_agent(model.openai_config(tools=[counter.increase]))

    assert agent.ask(Chat("count"), timeout=PATIENCE).text == "counted"
    assert counter.count == 3


def _has_result(request: ModelRequest) -> bool:
    return request.messages[-1][0] == "tool"
