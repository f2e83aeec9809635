"""`LocalSource`: reads a supervisor of this process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

import pykka

from agy_actors._actors.errors import AgyActorsError, AskTimeout
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.agent_messages import Cancel
from agy_actors._agents.agent_ref import AgentRef
from agy_actors._sdk.errors import AgentDeadError
from agy_actors._supervision.event_hub import Subscription
from agy_actors._supervision.owner_ref import OwnerRef
from agy_actors._supervision.restart_message import RestartAgent
from agy_actors._supervision.supervisor_messages import ShutdownAgent
from agy_actors.telemetry.top.event_log import EventLog
from agy_actors.telemetry.top.snapshot import Snapshot
from agy_actors.telemetry.top.source import Action
from agy_actors.telemetry.top.tree_reader import Place, TreeReader

if TYPE_CHECKING:
    from agy_actors._supervision.owner_actor import OwnerActor
    from agy_actors._supervisors.supervisor_ref import SupervisorRef

__all__ = ["LocalSource"]

_PATIENCE = 1.0
"""Seconds to wait for the reply to an action. Arbitrary: an actor whose thread runs answers
sooner."""

_CAPACITY = 10_000
"""How many events wait for the log. Arbitrary: it handles some 100,000 in a second."""


class LocalSource:
    """Reads a supervisor of this process: a `Source`.

    Args:
        supervisor: the supervisor.

    Raises:
        AgentDeadError: the supervisor has ended.
    """

    def __init__(self, supervisor: SupervisorRef) -> None:
        actor = _actor_of(supervisor)
        if actor is None:
            raise AgentDeadError(f"{supervisor} has ended")
        self._supervisor = supervisor
        self._reader = TreeReader()
        self._log = EventLog()
        hub = actor.lifecycle.hub
        self._subscription: Subscription | None = Subscription(self._log.add, _CAPACITY, hub)
        hub.add(self._subscription)

    def read(self, since: int) -> Snapshot:
        """Return a snapshot. It never waits for an actor."""
        actor = _actor_of(self._supervisor)
        if actor is None:
            self._reader = TreeReader()  # Nothing that it knows is left.
        nodes = () if actor is None else self._reader.read(actor)
        events, last = self._log.since(since)
        return Snapshot(
            at=current_runtime().monotonic(),
            nodes=nodes,
            events=events,
            last_event=last,
            ended=actor is None,
        )

    def act(self, action: Action, node_id: str) -> str:
        """Carry out an action. It waits for a reply for a second at most."""
        place = self._reader.places.get(node_id)
        if place is None:
            return "it has ended"
        try:
            return _carry_out(action, place)
        except AskTimeout:
            return f"{place.ref} does not answer; it gets the request when it does"
        except pykka.ActorDeadError:
            return f"{place.ref} has ended"
        except AgyActorsError as error:
            return f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """End the subscription, and wait for the last event."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(AskTimeout, pykka.ActorDeadError):
                subscription.end().get(timeout=_PATIENCE)


def _actor_of(supervisor: SupervisorRef) -> OwnerActor | None:
    actor = supervisor._actor_weakref()  # noqa: SLF001 (pykka's, which `ActorRef.proxy` uses)
    alive = actor is not None and supervisor.is_alive()
    return cast("OwnerActor", actor) if alive else None


def _carry_out(action: Action, place: Place) -> str:
    ref, owner = place
    match action:
        case Action.CANCEL if isinstance(ref, AgentRef):
            if ref.ask(Cancel(), block=False).get(timeout=_PATIENCE):
                return f"the turn of {ref} is cancelled"
            return f"{ref} has no turn to cancel"
        case Action.CANCEL:
            return f"{ref} has no turns of its own; select an agent"
        case Action.RESTART:
            if owner is None:
                return f"nothing can restart {ref}: no supervisor is above it"
            owner.ask(RestartAgent(ref), block=False).get(timeout=_PATIENCE)
            return f"{ref} restarts"
        case Action.SHUT_DOWN:
            # Without waiting for the end, which may take long.
            if isinstance(ref, OwnerRef):
                ref.shutdown(block=False)
            elif owner is not None:
                owner.ask(ShutdownAgent(ref), block=False)
            return f"{ref} ends"
