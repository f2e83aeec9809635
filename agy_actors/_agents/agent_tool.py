"""Agents as tools of other agents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agy_actors._actors.errors import DeadlockError, InvalidConfig
from agy_actors._agents.agent_messages import Chat
from agy_actors._agents.turn_caller import running_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from agy_actors._agents.chat_stream import ChatStream

__all__ = ["make_tool"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""The names of functions that both protocols accept."""


def make_tool(
    ask: Callable[[Chat], ChatStream], name: str, description: str, timeout: float | None
) -> Callable[[str], Coroutine[Any, Any, str]]:
    """Make a tool that asks an agent. See `AgentRef.as_tool`.

    Args:
        ask: starts a turn.
        name: the tool's name.
        description: the tool's purpose, for the model.
        timeout: seconds for each turn.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidConfig(
            "a tool's name must be 1 to 64 letters, digits, _ or -, not starting with a"
            f" digit, got {name!r}"
        )
    if not isinstance(description, str) or not description.strip():
        raise InvalidConfig(f"tool {name!r} needs a description, for the model to know its use")
    Chat("any", timeout=timeout)  # Refuses an invalid timeout.

    async def tool(prompt: str) -> str:
        turn = running_turn()
        try:
            async with ask(Chat(prompt, timeout=timeout)) as stream:
                if turn is not None:
                    turn.adopt(stream.future)
                reply = await stream
        except DeadlockError as error:
            # The model would take it for another failed call.
            if turn is not None:
                turn.fail(error)
            raise
        return reply.text

    tool.__name__ = tool.__qualname__ = name
    tool.__doc__ = description
    return tool
