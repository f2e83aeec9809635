"""Events of actors under a supervisor."""

from __future__ import annotations

import dataclasses

from agy_actors._supervision.event_hub import Event

__all__ = [
    "AgentCrashed",
    "AgentEvent",
    "AgentGivenUp",
    "AgentHung",
    "AgentReady",
    "AgentRestarting",
    "AgentStarted",
    "AgentStopped",
    "DeadLetter",
    "SupervisorEscalated",
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent(Event):
    """Something that happened to an agent, or to another actor under a supervisor."""

    agent: str
    """The name of the agent or the actor."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentStarted(AgentEvent):
    """An incarnation is being started."""

    restarts: int
    """How many incarnations came before it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentReady(AgentEvent):
    """An incarnation is ready: the first, or the next after a crash."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentCrashed(AgentEvent):
    """An incarnation crashed."""

    error: str
    """The type and the text of the error."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentHung(AgentEvent):
    """An event loop does not respond. Its thread is abandoned, and the incarnation replaced."""

    seconds: float
    """For how many seconds it has not responded."""

    where: str
    """The lines of code that block the loop, innermost last."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentRestarting(AgentEvent):
    """A restart is scheduled."""

    delay: float
    """Seconds until the restart."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentGivenUp(AgentEvent):
    """An agent or an actor failed too often, and is not restarted. Its ref is dead."""

    error: str
    """Why: the number of failures, the window and the last failure."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentStopped(AgentEvent):
    """An agent or an actor was ended on request."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(AgentEvent):
    """A message that was told was not handled.

    Its actor ended before, does not answer such messages, or failed to handle it. If the message
    was told to a pool or a supervisor, `agent` is the name of that.
    """

    message: str
    """The type of the message."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorEscalated(Event):
    """A child failed too often, so its supervisor fails. The supervisor above may restart it."""

    error: str
    """Why: the child, the number of its failures and the last one."""
