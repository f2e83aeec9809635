"""`Family`: the data about a supervisor's children for its decisions, with indexes.

It holds the children in the order of their first start, each in a phase, and the recoveries in
progress. `restart_logic` decides what follows from an event. This module has no effects, reads no
clock, and knows no threads or kinds of children.
"""

from __future__ import annotations

import dataclasses
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from agy_actors._supervision.restart_policy import Limits, Restart, Strategy
from agy_actors._supervision.restart_steps import Halting, Member, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Family"]


@dataclasses.dataclass(eq=False, slots=True)
class _Recovery:
    """Children that are started again together, one after another."""

    names: dict[str, None] = dataclasses.field(default_factory=dict)
    """The members that are not ready yet, in the order of their first start."""

    unready: int = 0
    """How many of them run, start or wait for a backoff. At 0 the first of them starts."""


class Family:
    """The children of a supervisor, and the recoveries in progress.

    Args:
        strategy: which children are restarted when one fails.
        limits: the restart intensity.
        reset_after: as `Backoff.reset_after`.
        nested: whether failures escalate to a supervisor above.
    """

    def __init__(
        self,
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        limits: Limits | None = None,
        reset_after: float = 30.0,
        nested: bool = False,
    ) -> None:
        self.strategy = strategy
        self.limits = limits or Limits()
        self.reset_after = reset_after
        self.nested = nested
        self.halt = Halting.NO
        self.last_token = 0
        self._members: dict[str, Member] = {}
        """By name, in the order of their first start."""
        self._joined = 0
        """How many were ever added."""
        self._not_down = 0
        """How many are in a phase other than `DOWN`."""
        self._backoffs: dict[int, str] = {}
        """The names of the children that wait for a backoff, by its token."""
        self._recoveries: dict[_Recovery, None] = {}
        """In the order in which they began. Each has at least one member."""
        self._recovery_of: dict[str, _Recovery] = {}
        self._touched: dict[_Recovery, None] = {}
        """The recoveries whose first member may be able to start since the last decision."""

    def __repr__(self) -> str:
        members = ", ".join(f"{m.name}: {m.phase.value}" for m in self._members.values())
        recoveries = [list(recovery.names) for recovery in self._recoveries]
        return f"<Family {members or 'empty'}; recoveries {recoveries}; halt {self.halt.value}>"

    @property
    def members(self) -> tuple[Member, ...]:
        """All children, in the order of their first start."""
        return tuple(self._members.values())

    @property
    def recoveries(self) -> tuple[tuple[str, ...], ...]:
        """The recoveries in progress: the names of the members that are not ready yet."""
        return tuple(tuple(recovery.names) for recovery in self._recoveries)

    @property
    def halted(self) -> bool:
        """Whether the supervisor above has halted this one."""
        return self.halt in (Halting.HALTING, Halting.HALTED)

    @property
    def all_down(self) -> bool:
        """Whether no child runs."""
        return self._not_down == 0

    @property
    def recovers(self) -> bool:
        """Whether a recovery is in progress."""
        return bool(self._recoveries)

    def find(self, name: str) -> Member | None:
        """Return the data about a child; `None` if there is no such child."""
        return self._members.get(name)

    # Changes. Each keeps the indexes, and costs the same for any number of children.

    def add(self, name: str, restart: Restart) -> None:
        """Add a child, as the youngest: it starts, unless this supervisor is halted."""
        phase = Phase.DOWN if self.halted else Phase.STARTING
        self._joined += 1
        self._members[name] = Member(name, restart, self._joined, phase)
        self._not_down += phase is not Phase.DOWN

    def change(self, name: str, **changes: Any) -> None:
        """Change the data about a child. Does nothing if there is no such child."""
        before = self._members.get(name)
        if before is None:
            return
        after = self._members[name] = dataclasses.replace(before, **changes)
        self._not_down += (after.phase is not Phase.DOWN) - (before.phase is not Phase.DOWN)
        if before.backoff is not None:
            self._backoffs.pop(before.backoff, None)
        if after.backoff is not None:
            self._backoffs[after.backoff] = name
        recovery = self._recovery_of.get(name)
        if recovery is not None:
            recovery.unready += before.is_ready - after.is_ready
            self._touched[recovery] = None

    def remove(self, name: str) -> None:
        """Remove a child. Does nothing if there is no such child."""
        self.drop_from_recovery(name)
        member = self._members.pop(name, None)
        if member is not None:
            self._not_down -= member.phase is not Phase.DOWN
            if member.backoff is not None:
                self._backoffs.pop(member.backoff, None)

    def end_backoff(self, token: int) -> None:
        """Note that a backoff is over. Does nothing if no child waits for it."""
        name = self._backoffs.get(token)
        if name is not None:
            self.change(name, backoff=None)

    def drop_from_recovery(self, name: str) -> None:
        """Remove a child from its recovery, if there is one."""
        recovery = self._recovery_of.pop(name, None)
        if recovery is None:
            return
        del recovery.names[name]
        recovery.unready -= not self._members[name].is_ready
        self._touched[recovery] = None
        if not recovery.names:
            self._recoveries.pop(recovery, None)

    def take_startable(self) -> list[str]:
        """Return the first child of each recovery that can start now."""
        touched, self._touched = self._touched, {}
        return [
            next(iter(recovery.names))
            for recovery in touched
            if recovery.names and not recovery.unready and recovery in self._recoveries
        ]

    # Changes that concern several children.

    def younger_than(self, name: str) -> list[str]:
        """Return the children that were first started after a child, oldest first."""
        return list(takewhile(lambda other: other != name, reversed(self._members)))[::-1]

    def recover(self, names: Iterable[str]) -> None:
        """Begin a recovery of children, joined with the recoveries that they are in.

        Without `ONE_FOR_ONE` there is only one recovery at a time.
        """
        recovering = dict.fromkeys(name for name in names if name in self._members)
        if self.strategy is Strategy.ONE_FOR_ONE:
            joining = {self._recovery_of[name] for name in recovering if name in self._recovery_of}
        else:
            joining = set(self._recoveries)
        # They join the largest one, so that the cost does not depend on its size.
        largest = max(joining, key=lambda recovery: len(recovery.names), default=_Recovery())
        for recovery in joining:
            self._recoveries.pop(recovery)
            if recovery is not largest:
                recovering.update(recovery.names)
        added = [self._members[name] for name in recovering if name not in largest.names]
        if added:
            members = [*(self._members[name] for name in largest.names), *added]
            members.sort(key=lambda member: member.number)
            largest.names = {member.name: None for member in members}
            largest.unready += sum(not member.is_ready for member in added)
            self._recovery_of.update((member.name, largest) for member in added)
        if largest.names:
            self._recoveries[largest] = self._touched[largest] = None

    def forget_recoveries(self) -> None:
        """End all recoveries."""
        self._recoveries, self._recovery_of, self._touched = {}, {}, {}
