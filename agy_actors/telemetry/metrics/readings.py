"""`Readings`: the numbers of a supervisor and everything below it, at one moment.

They are plain attributes of agents, pools, sessions and supervisors, and exact counts that the
actors update. No message is sent, so nothing here waits for an actor that hangs, starts or is busy.
The numbers of sessions and of their requests are in files; if another thread uses one for long, the
last known number is reported. Each number is correct for one moment, but not all for the same
moment.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

from loguru import logger

from agy_actors._actors.responsiveness import LagProbe, loop_of
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.agent_child import AgentChild
from agy_actors._sessions.sessions_actor import SessionsActor
from agy_actors._sessions.stored_errors import SessionStorageError
from agy_actors._supervision.supervisor_child import SupervisorChild
from agy_actors.telemetry.metrics.owner_names import OwnerNames

if TYPE_CHECKING:
    import asyncio

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._agents.agent_resources import AgentResources
    from agy_actors._agents.budget import Budget
    from agy_actors._agents.budgets import Budgets
    from agy_actors._supervision.counts import Count
    from agy_actors._supervision.owner_actor import OwnerActor

__all__ = ["Readings", "TreeReader"]

_PATIENCE = 0.05
"""Seconds to wait for a thread that uses the database of sessions. Arbitrary: longer than its usual
transactions, and short enough for a collection. After that the last known number is reported."""


@dataclasses.dataclass(slots=True)
class Readings:
    """The numbers of a supervisor and everything below it.

    A dictionary by owner has the label (`OwnerNames`) of a supervisor, a pool or sessions as its
    key.
    """

    counts: Counter[Count]
    """What has happened so far, also to children that have ended."""
    turns: Counter[str]
    """How many turns have ended, by outcome, also of agents that have ended."""
    agents: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    """How many agents there are, by owner and state."""
    actors: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    """How many actors there are, by owner and kind."""
    messages: Counter[str] = dataclasses.field(default_factory=Counter)
    """How many messages wait for an actor, by owner."""
    oldest: dict[str, float] = dataclasses.field(default_factory=dict)
    """For how many seconds the oldest turn waits, by owner."""
    lags: dict[str, float] = dataclasses.field(default_factory=dict)
    """The longest lag of an event loop in seconds, by owner."""
    sessions: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    """How many sessions there are, by owner, `awake` or `asleep`."""
    requests: Counter[str] = dataclasses.field(default_factory=Counter)
    """How many durable requests are queued, by owner."""
    tokens_used: Counter[str] = dataclasses.field(default_factory=Counter)
    """The tokens in the windows of budgets, by owner."""
    tokens_allowed: Counter[str] = dataclasses.field(default_factory=Counter)
    """How many tokens the budgets allow within their windows, by owner."""
    processes: int = 0
    """How many harness processes run."""


class TreeReader:
    """Reads the numbers of a supervisor and everything below it. For one thread at a time.

    Args:
        root: the actor of the supervisor. It is not kept alive; when it has ended, only its counts
            are left.
    """

    def __init__(self, root: OwnerActor) -> None:
        self.name = root.name
        self._root = weakref.ref(root)
        resources: AgentResources = root.context.kinds.shared
        self._counts = root.lifecycle.hub.counts
        self._tally = resources.tally
        self.owners = OwnerNames()
        self._probes: dict[asyncio.AbstractEventLoop, LagProbe] = {}
        """The probes of the loops that the last reading found."""
        self._stored: dict[str, tuple[int, int]] = {}
        """How many sessions and queued requests were found last, by the URN of the sessions."""

    def read(self) -> Readings:
        """Return the numbers."""
        readings = Readings(self._counts.read(), self._tally.read().turns)
        root = self._root()
        if root is not None and not root.actor_stopped.is_set():
            self._read_tree(root, readings)
        return readings

    def forget(self) -> None:
        """Drop everything that refers to actors."""
        self._probes = {}
        self._stored = {}

    def _read_tree(self, root: OwnerActor, readings: Readings) -> None:
        probes: dict[asyncio.AbstractEventLoop, LagProbe] = {}
        pids = set(root.context.kinds.shared.shared_pids)
        readings.actors[self.owners.label(root.name), root.noun] += 1
        urns: set[str] = set()
        budgets: set[Budget] = set()
        left = [root]
        while left:
            owner = left.pop()
            urns.add(owner.actor_urn)
            label = self.owners.label(owner.name)
            self._read_actor(label, owner, owner.actor_ref, readings, probes)
            self._read_owner(label, owner, readings)
            _read_budgets(label, owner.context.kinds.shared.budgets, readings, budgets)
            # A copy, made by one call: another thread may change the dictionary.
            for child in list(owner.lifecycle.children.values()):
                readings.actors[label, child.kind] += 1
                if isinstance(child, SupervisorChild):
                    left.append(child.actor)
                    continue
                self._read_actor(label, child.actor, child.ref, readings, probes)
                if isinstance(child, AgentChild):
                    readings.agents[label, child.state] += 1
                    pids.add(child.actor.harness_pid or 0)
                    _read_budgets(label, child.spec.budgets, readings, budgets)
        readings.processes = len(pids - {0})
        self._probes = probes
        self._stored = {urn: found for urn, found in self._stored.items() if urn in urns}

    def _read_actor(
        self,
        owner: str,
        actor: Any,
        ref: AsyncioActorRef,
        readings: Readings,
        probes: dict[asyncio.AbstractEventLoop, LagProbe],
    ) -> None:
        inbox = ref.actor_inbox
        readings.messages[owner] += len(inbox)
        turns = inbox.waiting_turns()
        sent_at = getattr(turns[0], "sent_at", None) if turns else None
        if sent_at is not None:
            _raise_to(readings.oldest, owner, current_runtime().time() - sent_at)
        loop = loop_of(actor)
        if loop is not None and not loop.is_closed():
            probe = probes[loop] = self._probes.get(loop) or LagProbe(loop)
            _raise_to(readings.lags, owner, probe.measure())

    def _read_owner(self, label: str, owner: OwnerActor, readings: Readings) -> None:
        # The actor may take a turn from its mailbox between the two.
        taken = owner.turns_queued - owner.actor_inbox.turns_waiting
        readings.messages[label] += max(0, taken)
        if not isinstance(owner, SessionsActor):
            return
        since = owner.state.waiting_since()
        loop = loop_of(owner)
        if since is not None and loop is not None:
            _raise_to(readings.oldest, label, loop.time() - since)
        total, queued = self._count_stored(owner)
        awake = owner.state.awake
        readings.sessions[label, "awake"] += awake
        readings.sessions[label, "asleep"] += max(0, total - awake)
        readings.requests[label] += queued

    def _count_stored(self, owner: SessionsActor) -> tuple[int, int]:
        """Return the number of sessions and of queued requests, or what was known last."""
        total, queued = self._stored.get(owner.actor_urn, (0, 0))
        storage = owner.storage
        if storage is None:
            return total, queued
        try:
            found, waiting = storage.count_soon(_PATIENCE)
        except SessionStorageError as error:  # Perhaps they end just now.
            logger.debug("The sessions {!r} cannot be counted: {}", owner.name, error)
            return total, queued
        total = total if found is None else found
        queued = queued if waiting is None else waiting
        self._stored[owner.actor_urn] = total, queued
        return total, queued


def _read_budgets(owner: str, budgets: Budgets, readings: Readings, already: set[Budget]) -> None:
    """Add the budgets that were not added at an owner above."""
    for budget in {owned.budget for owned in budgets.owned} - already:
        already.add(budget)
        readings.tokens_used[owner] += budget.used
        readings.tokens_allowed[owner] += budget.tokens


def _raise_to(greatest: dict[str, float], owner: str, value: float) -> None:
    greatest[owner] = max(greatest.get(owner, 0.0), value)
