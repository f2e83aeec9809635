"""Turns that last as long as a test wants."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from agy_actors import Chat
from agy_actors.testing import ScriptedModel, say
from tests.harnesses import until

if TYPE_CHECKING:
    from agy_actors import AgentRef, ChatReply, ReplyFuture, SupervisorRef
    from agy_actors.testing import ModelRequest


class Held:
    """A model's answers to "hold", which come when they are released."""

    def __init__(self, model: ScriptedModel) -> None:
        self.gate = threading.Event()
        model.when("^hold", say("held", gate=self.gate))

    def let_go(self) -> None:
        self.gate.set()


def agents(supervisor: SupervisorRef, model: ScriptedModel, count: int) -> list[AgentRef]:
    return [supervisor.create_agent(model.openai_config(), f"agent-{n}") for n in range(count)]


def has_result(request: ModelRequest) -> bool:
    return request.messages[-1][0] == "tool"


def begin(agent: AgentRef, model: ScriptedModel, prompt: str) -> ReplyFuture[ChatReply]:
    """Ask, and wait until the model has the prompt."""
    turn = agent.ask(Chat(prompt), block=False)
    until(lambda: prompt in [request.prompt for request in model.requests])
    return turn
