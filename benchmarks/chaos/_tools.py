"""The agents' tools: one that works, and some that do what tools must not."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from benchmarks.chaos._plan import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LET_GO", "TOOLS"]

LET_GO = threading.Event()
"""Set at the end of the soak: threads that were given up end, if nothing else holds them."""


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
    """Never return, and let the loop turn."""
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
"""Which tool the model calls for which fault."""
