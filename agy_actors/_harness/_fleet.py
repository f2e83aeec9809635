"""Decides which process holds which conversation, and when one begins or ends.

It knows nothing of processes, threads or time: events go in, actions come out, and the
`HarnessHost` carries them out. So it can be tested without any of them.

Guarantees:

*   A conversation is on one process at most, a process has room for as many as there may be.
*   Who wants a place gets one in the order of asking, or is told why there is none. That
    rests on each process that was begun being told of as up, failed or dead.
*   No more conversations are opened at once than `openings`: the restart of many is paced.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = [
    "Action",
    "Begin",
    "End",
    "EndIfQuiet",
    "Fleet",
    "Place",
    "Refuse",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Begin:
    """Begin a process."""

    process: int


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Tell who wants a place that it has one."""

    who: Hashable
    process: int


@dataclasses.dataclass(frozen=True, slots=True)
class Refuse:
    """Tell who wants a place that there is none, for the reason that was given."""

    who: Hashable


@dataclasses.dataclass(frozen=True, slots=True)
class EndIfQuiet:
    """End a process if it is still empty after the quiet time: report that as `quiet`."""

    process: int


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """End a process, in which there is nothing any more, or that is not up yet."""

    process: int


Action: TypeAlias = Begin | Place | Refuse | EndIfQuiet | End


@dataclasses.dataclass(slots=True)
class _Process:
    holds: set[Hashable] = dataclasses.field(default_factory=set)
    up: bool = False
    doubts: int = 0
    """How many have left it in strife, and nobody knows yet whether it still works."""


class Fleet:
    """The processes that conversations of one kind may share.

    Args:
        most: how many conversations one process holds at most.
        openings: how many are opened at the same time at most.
        beginnings: how many processes begin at the same time at most.
    """

    def __init__(self, most: int, *, openings: int, beginnings: int) -> None:
        self._most = most
        self._openings = openings
        self._beginnings = beginnings
        self._processes: dict[int, _Process] = {}
        self._where: dict[Hashable, int] = {}
        self._opening: set[Hashable] = set()
        self._waiting: dict[Hashable, None] = {}  # In the order of asking.
        self._numbers = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is no process, and nobody who wants one."""
        return not self._processes and not self._waiting

    def process_of(self, who: Hashable) -> int | None:
        """Return the process that somebody has a place in."""
        return self._where.get(who)

    # Events.

    def want(self, who: Hashable) -> list[Action]:
        """Somebody wants a place."""
        self._waiting[who] = None
        return self._advance()

    def opened(self, who: Hashable) -> list[Action]:
        """Somebody's conversation is open."""
        self._opening.discard(who)
        return self._advance()

    def leave(self, who: Hashable) -> list[Action]:
        """Somebody leaves, or wants a place no more. Safe to tell more than once."""
        if who in self._waiting:
            del self._waiting[who]
            return self._end_beginnings()
        self._opening.discard(who)
        number = self._where.pop(who, None)
        actions: list[Action] = []
        if number is not None:
            self._processes[number].holds.discard(who)
            actions += self._see_to_empty(number)
        return actions + self._advance()

    def is_up(self, number: int) -> list[Action]:
        """A process that was begun can hold conversations."""
        self._processes[number].up = True
        return self._see_to_empty(number) + self._advance()

    def failed(self, number: int) -> list[Action]:
        """A process that was begun did not come up.

        Who has waited for it is refused: the next one would most likely fail, too.
        """
        del self._processes[number]
        refused = list(self._waiting)[self._room() :]
        for who in refused:
            del self._waiting[who]
        return [Refuse(who) for who in refused]

    def died(self, number: int) -> list[Action]:
        """A process is gone, and all that it held."""
        process = self._processes.pop(number, None)
        for who in () if process is None else process.holds:
            del self._where[who]
            self._opening.discard(who)
        return self._advance()

    def doubt(self, number: int) -> list[Action]:
        """Somebody leaves a process in strife: it gets nothing new until it is trusted again."""
        if number in self._processes:
            self._processes[number].doubts += 1
        return []

    def trust(self, number: int) -> list[Action]:
        """A process that was doubted works."""
        if number in self._processes:
            self._processes[number].doubts -= 1
        return self._advance()

    def quiet(self, number: int) -> list[Action]:
        """A process was empty for the quiet time, if it still is."""
        process = self._processes.get(number)
        if process is None or process.holds:
            return []
        del self._processes[number]
        return [End(number), *self._advance()]

    # Decisions.

    def _see_to_empty(self, number: int) -> list[Action]:
        process = self._processes.get(number)
        if process is None or process.holds or not process.up:
            return []
        return [EndIfQuiet(number)]

    def _advance(self) -> list[Action]:
        actions: list[Action] = []
        while self._waiting and len(self._opening) < self._openings:
            number = self._with_room()
            if number is None:
                break
            who = next(iter(self._waiting))
            del self._waiting[who]
            self._processes[number].holds.add(who)
            self._where[who] = number
            self._opening.add(who)
            actions.append(Place(who, number))
        return actions + self._begin_more()

    def _with_room(self) -> int | None:
        """Return the fullest process that has room, so that few of them are needed."""
        with_room = [
            (len(process.holds), -number)
            for number, process in self._processes.items()
            if process.up and not process.doubts and len(process.holds) < self._most
        ]
        return -max(with_room)[1] if with_room else None

    def _begin_more(self) -> list[Action]:
        actions: list[Action] = []
        room = self._room()
        beginning = sum(not process.up for process in self._processes.values())
        while room < self._needed() and beginning < self._beginnings:
            self._numbers += 1
            self._processes[self._numbers] = _Process()
            actions.append(Begin(self._numbers))
            room += self._most
            beginning += 1
        return actions

    def _end_beginnings(self) -> list[Action]:
        """End processes that nobody waits for any more before they are up."""
        spare = self._room() - self._needed()
        beginning = [number for number, process in self._processes.items() if not process.up]
        unneeded = beginning[: max(0, spare // self._most)]
        for number in unneeded:
            del self._processes[number]
        return [End(number) for number in unneeded]

    def _room(self) -> int:
        return sum(self._most - len(process.holds) for process in self._processes.values())

    def _needed(self) -> int:
        """Return how much room there should be: for those who wait, or for who comes next."""
        ahead = self._most // 4 if self._opening else 0
        return len(self._waiting) or ahead
