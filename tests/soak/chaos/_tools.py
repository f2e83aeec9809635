"""The agents' tools: one that works, and some that misbehave."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from tests.soak.chaos._plan import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LET_GO", "TOOLS"]

LET_GO = threading.Event()
"""Set at the end of the soak: then abandoned threads end."""


def works() -> str:
    """Work."""
    return "done"


def fails() -> str:
    """Fail."""
    raise RuntimeError("this tool fails")


async def blocks() -> str:
    """Block the agent's loop."""
    LET_GO.wait()
    return "let go"


async def waits() -> str:
    """Never return, without blocking the loop."""
    await asyncio.Event().wait()
    return "never"


def sleeps() -> str:
    """Never return, on a thread beside the loop."""
    LET_GO.wait()
    return "let go"


TOOLS: dict[Fault, Callable[[], Any]] = {
    Fault.TOOL: works,
    Fault.TOOL_RAISES: fails,
    Fault.TOOL_BLOCKS: blocks,
    Fault.TOOL_WAITS: waits,
    Fault.TOOL_SLEEPS: sleeps,
}
"""The tool that the model calls for each fault."""
