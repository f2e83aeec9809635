"""`Snapshot`: what `top` knows about a supervisor at one moment, as values that JSON can hold."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["LoggedEvent", "Node", "Snapshot"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A supervisor, a pool, sessions, an agent or another actor."""

    id: str
    """Identifies it; restarts do not change it."""

    parent: str
    """The id of its supervisor; empty for the first node."""

    kind: str
    """`"supervisor"`, `"pool"`, `"sessions"`, `"agent"` or `"actor"`."""

    name: str
    """Its name under its supervisor."""

    state: str
    """For an agent as in `AgentStatistics`, or `"restarting"` or `"ending"`; for others `"up"`,
    `"restarting"` or `"ending"`."""

    turn: int = 0
    """The number of the running turn, from 1; 0 without a turn."""

    attempt: int = 0
    """The number of its attempt, from 1; 0 before the first."""

    turn_seconds: float = 0.0
    """Seconds since the running turn was taken up."""

    queue: int = 0
    """How many messages wait in its mailbox, without those of its children."""

    restarts: int = 0
    """How often it was restarted."""

    tokens: int = 0
    """The tokens that it has used since it was created."""

    silent: float = 0.0
    """For how many seconds its thread has not responded; 0 if it responds."""


@dataclasses.dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A line of the log."""

    number: int
    """Its number, from 1, without gaps."""

    at: float
    """When it happened, in seconds since the epoch."""

    who: str
    """The name of the agent or the supervisor."""

    text: str
    """What happened, in one line."""

    is_bad: bool = False
    """Whether something failed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A supervisor and all below it at one moment."""

    at: float
    """When it was made, in seconds of a clock that never goes back."""

    nodes: tuple[Node, ...]
    """The supervisor first; each other node comes after its supervisor, and siblings in the order
    of their start. Empty if the supervisor has ended."""

    events: tuple[LoggedEvent, ...] = ()
    """The events after the one that was asked for, oldest first."""

    last_event: int = 0
    """The number of the last event, also if `events` is empty."""

    ended: bool = False
    """Whether the supervisor has ended."""

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as a value for `json.dumps`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Snapshot:
        """Make a snapshot of a value that `to_json` made.

        Raises:
            ValueError: it is not such a value.
        """
        try:
            return cls(
                at=float(value["at"]),
                nodes=tuple(_checked(Node, node) for node in value["nodes"]),
                events=tuple(_checked(LoggedEvent, event) for event in value["events"]),
                last_event=int(value["last_event"]),
                ended=bool(value["ended"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a snapshot: {type(error).__name__}: {error}") from error


_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
}


def _checked(kind: Any, value: Any) -> Any:
    made = kind(**value)
    for field in dataclasses.fields(kind):
        if not isinstance(getattr(made, field.name), _TYPES[str(field.type)]):
            raise TypeError(f"{kind.__name__}.{field.name}")
    return made
