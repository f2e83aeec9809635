"""Events of sessions."""

from __future__ import annotations

import dataclasses

from agy_actors._supervision.event_hub import Event

__all__ = ["SessionEvent", "SessionHandedOver", "SessionSlept", "SessionWoke"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent(Event):
    """Something that happened to a session. `supervisor` is the name of the sessions."""

    key: str
    """The session's key."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionWoke(SessionEvent):
    """A session has opened its conversation."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionSlept(SessionEvent):
    """A session has closed its conversation. Its next turn wakes it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionHandedOver(SessionEvent):
    """A session has closed its conversation because another program asked for it."""
