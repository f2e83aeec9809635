"""Defaults, and the environment variables that change them."""

from __future__ import annotations

import math
import os

from agy_actors._actors.arguments import shown
from agy_actors._actors.errors import InvalidConfig

__all__ = [
    "CANCEL_GRACE",
    "STOP_GRACE",
    "chat_timeout",
    "conversations_per_process",
    "handler_timeout",
    "stall_timeout",
    "start_timeout",
]

CANCEL_GRACE = 10.0
"""Seconds for a cancelled turn to end before its process is replaced. Arbitrary: a harness takes
milliseconds, unless it is stuck."""

STOP_GRACE = 10.0
"""Seconds for a `localharness` to end by itself before it is killed. The value of agy-bridge."""

_CONVERSATIONS = 16
"""How many conversations share a process. The guide, "Processes", says how to choose."""

_CHAT_TIMEOUT = 120.0  # The default of agy-bridge's AGI_CHAT_TIMEOUT_SECS.
_HANDLER_TIMEOUT = 60.0  # The value of agy-bridge.
_START_TIMEOUT = 60.0  # Arbitrary: a start takes 0.2 s.
_STALL_TIMEOUT = 60.0  # Arbitrary: half the turn's time; a slow model still streams.


def chat_timeout() -> float:
    """Return the seconds a turn may take: `AGY_ACTORS_CHAT_TIMEOUT`, or 120."""
    return _seconds("AGY_ACTORS_CHAT_TIMEOUT", _CHAT_TIMEOUT)


def handler_timeout() -> float:
    """Return the seconds of `WaitForWakeup`: `AGY_ACTORS_HANDLER_TIMEOUT`, or 60."""
    return _seconds("AGY_ACTORS_HANDLER_TIMEOUT", _HANDLER_TIMEOUT)


def start_timeout() -> float:
    """Return the seconds for an agent to start: `AGY_ACTORS_START_TIMEOUT`, or 60."""
    return _seconds("AGY_ACTORS_START_TIMEOUT", _START_TIMEOUT)


def conversations_per_process() -> int:
    """Return how many conversations share a process.

    That is `AGY_ACTORS_CONVERSATIONS_PER_PROCESS`, or 16.
    """
    variable = "AGY_ACTORS_CONVERSATIONS_PER_PROCESS"
    given = os.environ.get(variable)
    if not given:
        return _CONVERSATIONS
    try:
        number = int(given) if given.isdecimal() else 0
    except ValueError:  # More digits than Python converts.
        number = 0
    if number < 1:
        raise InvalidConfig(f"{variable} must be an integer >= 1, got {shown(given)}")
    return number


def stall_timeout() -> float:
    """Return the seconds a turn may be silent: `AGY_ACTORS_STALL_TIMEOUT`, or 60."""
    return _seconds("AGY_ACTORS_STALL_TIMEOUT", _STALL_TIMEOUT)


def _seconds(variable: str, default: float) -> float:
    given = os.environ.get(variable)
    if not given:
        return default
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InvalidConfig(f"{variable} must be a number of seconds > 0, got {shown(given)}")
    return seconds
