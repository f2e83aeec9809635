"""`TreeReader`: reads a supervisor and all below it in this process.

It reads thread-safe data, and sends no messages, so it never waits for an agent or a supervisor
that hangs, starts or is busy. Each part is correct for one moment, but not all parts for the same
moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agy_actors._actors.responsiveness import Probe
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.agent_child import AgentChild
from agy_actors._sessions.sessions_actor import SessionsActor
from agy_actors._supervision.pool_actor import PoolActor
from agy_actors._supervision.supervisor_child import SupervisorChild
from agy_actors.telemetry.top.snapshot import Node

if TYPE_CHECKING:
    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._supervision.child import Child
    from agy_actors._supervision.owner_actor import OwnerActor
    from agy_actors._supervision.owner_ref import OwnerRef

__all__ = ["Place", "TreeReader"]


class Place(NamedTuple):
    """Where a node is."""

    ref: AsyncioActorRef
    owner: OwnerRef | None
    """The ref of its supervisor, its pool or its sessions; `None` for the first node."""


class TreeReader:
    """Reads a supervisor and all below it. For one thread at a time."""

    def __init__(self) -> None:
        self._silences: dict[str, _Silence] = {}
        self.places: dict[str, Place] = {}
        """The places of the nodes that were read last, by their ids."""

    def read(self, root: OwnerActor) -> tuple[Node, ...]:
        """Return the supervisor, and after each node its children."""
        now = current_runtime().monotonic()
        nodes: list[Node] = []
        places: dict[str, Place] = {}
        silences: dict[str, _Silence] = {}

        def look(actor: Any, node: dict[str, Any], place: Place) -> None:
            key = node["id"]
            silence = silences[key] = self._silences.get(key) or _Silence()
            nodes.append(Node(**node, silent=silence.look(actor, now)))
            places[key] = place

        first = {
            "id": root.actor_urn,
            "parent": "",
            "kind": _kind_of(root),
            "name": root.name,
            "state": "ending" if root.lifecycle.is_ending else "up",
            "queue": root.turns_queued,
        }
        look(root, first, Place(root.actor_ref, None))
        # Depth first, and siblings in their order: a stack of iterators.
        stack = [(root, iter(_children(root)))]
        while stack:
            owner, children = stack[-1]
            child = next(children, None)
            if child is None:
                stack.pop()
                continue
            place = Place(child.ref, owner.actor_ref)
            look(child.actor, _describe(child, owner, now), place)
            if isinstance(child, SupervisorChild):
                stack.append((child.actor, iter(_children(child.actor))))
        self.places, self._silences = places, silences
        return tuple(nodes)


class _Silence:
    """Measures for how long an actor's thread has not responded."""

    def __init__(self) -> None:
        self._probe = Probe()
        self._actor: Any = None
        self._answered = 0.0

    def look(self, actor: Any, now: float) -> float:
        """Return for how many seconds the thread has not responded."""
        if actor is not self._actor:  # The next incarnation has another thread.
            self._actor, self._probe = actor, Probe()
        loop = getattr(actor, "_loop", None)
        if loop is None or self._probe.is_responsive(loop):
            self._answered = now
        return now - self._answered


def _children(owner: OwnerActor) -> list[Child]:
    # A copy, made by one call: another thread may change the dictionary.
    return list(owner.lifecycle.children.values())


def _kind_of(actor: OwnerActor) -> str:
    match actor:
        case PoolActor():
            return "pool"
        case SessionsActor():
            return "sessions"
        case _:
            return "supervisor"


def _describe(child: Child, owner: OwnerActor, now: float) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": child.ref.actor_urn,
        "parent": owner.actor_urn,
        "name": child.name,
    }
    if isinstance(child, AgentChild):
        return facts | _describe_agent(child, now)
    state = "ending" if child.ending else "up" if child.running else "restarting"
    if isinstance(child, SupervisorChild):
        queue = child.actor.turns_queued
        return facts | {"kind": _kind_of(child.actor), "state": state, "queue": queue}
    return facts | {
        "kind": "actor",
        "state": state,
        "queue": child.ref.actor_inbox.turns_waiting,
        "restarts": getattr(child, "_restarts", 0),
    }


def _describe_agent(child: AgentChild, now: float) -> dict[str, Any]:
    record = child.record
    pending = record.pending
    facts: dict[str, Any] = {
        "kind": "agent",
        "state": child.state,
        "queue": child.ref.actor_inbox.turns_waiting,
        "restarts": record.restarts,
        "tokens": record.usage.total_token_count or 0,
    }
    if pending is not None:
        facts["turn"] = record.turns
        facts["attempt"] = pending.attempt
        facts["turn_seconds"] = max(0.0, now - pending.started)
    return facts
