"""Agents as tools of other agents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agy_actors._agent._errors import InvalidConfig
from agy_actors._agent._messages import Chat
from agy_actors._agent.turn_caller import running_turn
from agy_actors._kernel import DeadlockError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from agy_actors._agent._stream import ChatStream

__all__ = ["make_tool"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""What both protocols take for a function's name."""


def make_tool(
    ask: Callable[[Chat], ChatStream], name: str, description: str, timeout: float | None
) -> Callable[[str], Coroutine[Any, Any, str]]:
    """Make a tool that has a turn of an agent. See `AgentRef.as_tool`.

    Args:
        ask: starts the turn; raises what keeps it from starting.
        name: the tool's name.
        description: what it is good for.
        timeout: seconds for each turn.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidConfig(
            f"a tool's name is 1 to 64 letters, digits, _ or -, the first no digit, got {name!r}"
        )
    if not isinstance(description, str) or not description.strip():
        raise InvalidConfig(f"tool {name!r} needs a description, for the model to know its use")
    Chat("any", timeout=timeout)  # Refuses a timeout that is none.

    async def tool(prompt: str) -> str:
        turn = running_turn()
        try:
            async with ask(Chat(prompt, timeout=timeout)) as stream:
                if turn is not None:
                    turn.adopt(stream.future)
                reply = await stream
        except DeadlockError as error:
            # Told to the model, it would be taken for one more thing that did not work.
            if turn is not None:
                turn.fail_turn(error)
            raise
        return reply.text

    tool.__name__ = tool.__qualname__ = name
    tool.__doc__ = description
    return tool
