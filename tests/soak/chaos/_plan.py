"""The prompts: each contains a nonce, and the fault that it causes."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random

__all__ = ["Fault", "Prompt", "Style", "draw_fault", "draw_style", "read_prompt"]


class Fault(enum.Enum):
    """What the model or a tool does with a prompt."""

    NONE = "none"
    SLOW = "slow"
    TOOL = "tool"
    TOOL_RAISES = "tool-raises"
    TOOL_BLOCKS = "tool-blocks"
    """Blocks the agent's loop: a mistake in an asynchronous tool."""
    TOOL_WAITS = "tool-waits"
    """An asynchronous tool that never returns."""
    TOOL_SLEEPS = "tool-sleeps"
    """A synchronous tool that never returns."""
    UNAUTHORIZED = "401"
    QUOTA = "429"
    SERVER = "500"
    UNAVAILABLE = "503"
    UNAVAILABLE_ONCE = "503-once"
    DROP = "drop"
    DROP_LATE = "drop-late"
    SILENCE = "silence"
    SILENCE_LATE = "silence-late"
    MALFORMED = "malformed"
    CUT_SHORT = "cut-short"
    """A stream that ends too early, as if it were complete."""


_WEIGHTS = {
    Fault.NONE: 60.0,
    Fault.SLOW: 8.0,
    Fault.TOOL: 8.0,
    Fault.TOOL_RAISES: 3.0,
    Fault.TOOL_BLOCKS: 0.3,
    Fault.TOOL_WAITS: 0.5,
    Fault.TOOL_SLEEPS: 0.5,
    Fault.UNAUTHORIZED: 1.5,
    Fault.QUOTA: 1.0,
    Fault.SERVER: 1.5,
    Fault.UNAVAILABLE: 1.0,
    Fault.UNAVAILABLE_ONCE: 2.0,
    Fault.DROP: 1.0,
    Fault.DROP_LATE: 1.5,
    Fault.SILENCE: 1.0,
    Fault.SILENCE_LATE: 1.0,
    Fault.MALFORMED: 1.5,
    Fault.CUT_SHORT: 1.0,
}
"""Arbitrary: three of four prompts are answered, and each fault is frequent."""


class Style(enum.Enum):
    """How a caller asks, and whether it waits for the answer."""

    ASK = "ask"
    FUTURE = "future"
    STREAM = "stream"
    TIMES_OUT = "times out"
    """Asks with less time than the turn has."""
    CANCELS = "cancels"
    """Abandons the future after a moment."""
    LEAVES_STREAM = "leaves the stream"


_STYLES = {
    Style.ASK: 40.0,
    Style.FUTURE: 25.0,
    Style.STREAM: 15.0,
    Style.TIMES_OUT: 10.0,
    Style.CANCELS: 6.0,
    Style.LEAVES_STREAM: 4.0,
}

_PROMPT = re.compile(r"(?P<nonce>q\d+x\d+) (?P<fault>[\w-]+)")


class Prompt(NamedTuple):
    """A prompt, and its meaning."""

    nonce: str
    fault: Fault

    @property
    def text(self) -> str:
        """The text for the model."""
        return f"{self.nonce} {self.fault.value}"


def read_prompt(text: str) -> Prompt | None:
    """Read a prompt of ours, or return `None` for any other."""
    found = _PROMPT.fullmatch(text)
    return None if found is None else Prompt(found["nonce"], Fault(found["fault"]))


def draw_fault(chance: random.Random) -> Fault:
    """Draw the fault of a prompt."""
    return chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]


def draw_style(chance: random.Random) -> Style:
    """Draw the style of the ask."""
    return chance.choices(list(_STYLES), list(_STYLES.values()))[0]
