"""Makes snapshots, and a source that a test controls."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

from agy_actors.telemetry.top.errors import TopUnavailable
from agy_actors.telemetry.top.snapshot import LoggedEvent, Node, Snapshot

if TYPE_CHECKING:
    from agy_actors.telemetry.top.source import Action


def node(path: str, kind: str = "agent", **facts: Any) -> Node:
    """Make a node of a path such as "root/team/north", which is its id."""
    parent, _, name = path.rpartition("/")
    state = facts.pop("state", "up")
    return Node(id=path, parent=parent, kind=kind, name=name, state=state, **facts)


def snapshot(*nodes: Node, at: float = 0.0, **facts: Any) -> Snapshot:
    return Snapshot(at=at, nodes=nodes, **facts)


ROOT = node("root", "supervisor")
TREE = (
    ROOT,
    node("root/north", state="busy", turn=3, attempt=2, turn_seconds=1.25, queue=2, tokens=100),
    node("root/team", "supervisor", queue=1),
    node("root/team/east", state="restarting", restarts=4, tokens=10),
    node("root/team/clock", "actor"),
    node("root/south", state="idle", restarts=1),
)


class FakeSource:
    """A source whose snapshots a test sets. Each read of a new snapshot sets an event."""

    def __init__(self, first: Snapshot) -> None:
        self.current: Snapshot | None = first
        self.actions: list[tuple[Action, str]] = []
        self.acted = threading.Event()
        self.reads = 0
        self._at = itertools.count()

    def read(self, since: int) -> Snapshot:
        self.reads += 1
        if self.current is None:
            raise TopUnavailable("no answer from the program")
        now = self.current
        events = tuple(event for event in now.events if event.number > since)
        return Snapshot(
            at=float(next(self._at)),
            nodes=now.nodes,
            events=events,
            last_event=max((event.number for event in now.events), default=0),
            ended=now.ended,
        )

    def act(self, action: Action, node_id: str) -> str:
        self.actions.append((action, node_id))
        self.acted.set()
        return f"did {action.value}"

    def close(self) -> None:
        pass


def event(number: int, text: str = "crashed", who: str = "north") -> LoggedEvent:
    return LoggedEvent(number, 0.0, who, text, is_bad=True)
