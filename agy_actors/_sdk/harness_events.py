"""Events about `localharness` processes and saved conversations."""

from __future__ import annotations

import dataclasses

from agy_actors._supervision.events import AgentEvent

__all__ = [
    "HarnessDied",
    "HarnessStarted",
    "StateNotSaved",
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HarnessStarted(AgentEvent):
    """An agent has a `localharness` process."""

    pid: int | None
    """The process id; `None` for an agent without a process."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HarnessDied(AgentEvent):
    """An agent's `localharness` process ended unexpectedly."""

    pid: int | None
    """The process id; `None` for an agent without a process."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StateNotSaved(AgentEvent):
    """An agent's conversation is not saved completely, such as when the disk is full.

    Its turns still get replies, but unsaved turns are lost when the agent restarts. The event is
    published once, until a turn is saved again. It is also logged as a WARNING.
    """

    path: str
    """The path of the file or folder that cannot be written."""

    reason: str
    """The reason, such as `no space left on device`."""
