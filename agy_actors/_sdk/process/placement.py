"""Decides which process holds which conversation, and when a process starts or ends. Pure.

It knows no processes, threads or clocks. Each event changes the state and returns actions, which
`ProcessPool` carries out. A lessee is a conversation that has a place on a process or waits for
one.

Guarantees:

*   A conversation is on one process at most, and a process holds at most `max_conversations`.
*   Lessees get places in the order of their requests, or are refused. This assumes that every
    started process is reported as up, failed or dead.
*   At most `max_openings` conversations are opened at the same time, so restarts of many
    conversations are paced.
*   The cost of an event does not depend on the number of processes and conversations.
"""

from __future__ import annotations

import dataclasses
import heapq
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = [
    "Action",
    "Assign",
    "EndIfIdle",
    "EndProcess",
    "Placement",
    "Refuse",
    "StartProcess",
]


@dataclasses.dataclass(frozen=True, slots=True)
class StartProcess:
    """Start a process. Report it as up or failed."""

    process: int


@dataclasses.dataclass(frozen=True, slots=True)
class Assign:
    """Give a lessee its place on a process."""

    lessee: Hashable
    process: int


@dataclasses.dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse a lessee, because a process failed to start."""

    lessee: Hashable


@dataclasses.dataclass(frozen=True, slots=True)
class EndIfIdle:
    """Report the process as idle after the idle time."""

    process: int


@dataclasses.dataclass(frozen=True, slots=True)
class EndProcess:
    """End a process that holds no conversation, or that is still starting."""

    process: int


_PRUNE_AT = 64
"""Entries in the heap of processes with room before outdated ones are removed. Arbitrary."""

Action: TypeAlias = StartProcess | Assign | Refuse | EndIfIdle | EndProcess


@dataclasses.dataclass(slots=True)
class _Process:
    lessees: set[Hashable] = dataclasses.field(default_factory=set)
    is_up: bool = False
    pending_checks: int = 0
    """Health checks after unclean exits that have not passed yet."""

    @property
    def accepts(self) -> bool:
        """Whether it accepts another conversation, if it has room."""
        return self.is_up and not self.pending_checks


class Placement:
    """The processes that conversations of one kind share.

    Args:
        max_conversations: the largest number of conversations on one process.
        max_openings: the largest number of conversations that are opened at the same time.
        max_starts: the largest number of processes that start at the same time.
    """

    def __init__(self, max_conversations: int, *, max_openings: int, max_starts: int) -> None:
        self._max_conversations = max_conversations
        self._max_openings = max_openings
        self._max_starts = max_starts
        self._processes: dict[int, _Process] = {}
        self._process_of: dict[Hashable, int] = {}
        self._opening: set[Hashable] = set()
        self._waiting: dict[Hashable, None] = {}  # In the order of their requests.
        self._last_number = 0
        self._room = 0
        """Free places on all processes, including those that are starting."""
        self._starting: dict[int, None] = {}
        """The processes that are starting, oldest first."""
        self._with_room: list[tuple[int, int]] = []
        """A heap of processes with room, as (free places, number). Each process that accepts
        another conversation has an entry with its current free places. Other entries are
        outdated."""

    def __repr__(self) -> str:
        return (
            f"<Placement: {len(self._processes)} processes ({len(self._starting)} starting),"
            f" {len(self._process_of)} placed ({len(self._opening)} opening),"
            f" {len(self._waiting)} waiting>"
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is no process, and no lessee that waits."""
        return not self._processes and not self._waiting

    def process_of(self, lessee: Hashable) -> int | None:
        """Return the process that a lessee has a place on, or `None`."""
        return self._process_of.get(lessee)

    # Events.

    def request(self, lessee: Hashable) -> list[Action]:
        """A lessee requests a place."""
        self._waiting[lessee] = None
        return self._advance()

    def opened(self, lessee: Hashable) -> list[Action]:
        """The conversation of a lessee is open."""
        self._opening.discard(lessee)
        return self._advance()

    def release(self, lessee: Hashable) -> list[Action]:
        """A lessee gives up its place or its request. Repeating it is safe."""
        if lessee in self._waiting:
            del self._waiting[lessee]
            return self._end_unneeded_starts()
        self._opening.discard(lessee)
        number = self._process_of.pop(lessee, None)
        actions: list[Action] = []
        if number is not None:
            self._processes[number].lessees.discard(lessee)
            self._room += 1
            self._note_room(number)
            actions += self._end_if_empty(number)
        return actions + self._advance()

    def started(self, number: int) -> list[Action]:
        """A process is up."""
        self._processes[number].is_up = True
        self._starting.pop(number, None)
        self._note_room(number)
        return self._end_if_empty(number) + self._advance()

    def failed(self, number: int) -> list[Action]:
        """A process failed to start.

        Lessees that waited for it are refused: the next process would most likely fail, too.
        """
        self._remove(number)
        refused = []
        while len(self._waiting) > self._room:
            lessee, _ = self._waiting.popitem()
            refused.append(Refuse(lessee))
        return [*reversed(refused)]

    def died(self, number: int) -> list[Action]:
        """A process died, with all conversations on it."""
        process = self._remove(number)
        for lessee in () if process is None else process.lessees:
            del self._process_of[lessee]
            self._opening.discard(lessee)
        return self._advance()

    def suspect(self, number: int) -> list[Action]:
        """A conversation left uncleanly: place nothing here until a health check passes."""
        if number in self._processes:
            self._processes[number].pending_checks += 1
        return []

    def clear(self, number: int) -> list[Action]:
        """The health check after an unclean exit passed."""
        if number in self._processes:
            self._processes[number].pending_checks -= 1
            self._note_room(number)
        return self._advance()

    def idle(self, number: int) -> list[Action]:
        """The idle time of a process is over. End it if it is still empty."""
        process = self._processes.get(number)
        if process is None or process.lessees:
            return []
        self._remove(number)
        return [EndProcess(number), *self._advance()]

    # Decisions.

    def _end_if_empty(self, number: int) -> list[Action]:
        process = self._processes.get(number)
        if process is None or process.lessees or not process.is_up:
            return []
        return [EndIfIdle(number)]

    def _advance(self) -> list[Action]:
        actions: list[Action] = []
        while self._waiting and len(self._opening) < self._max_openings:
            number = self._fullest_with_room()
            if number is None:
                break
            lessee = next(iter(self._waiting))
            del self._waiting[lessee]
            self._processes[number].lessees.add(lessee)
            self._room -= 1
            self._note_room(number)
            self._process_of[lessee] = number
            self._opening.add(lessee)
            actions.append(Assign(lessee, number))
        return actions + self._start_more()

    def _fullest_with_room(self) -> int | None:
        """Return the fullest process that has room, so that few processes are needed."""
        while self._with_room:
            free, number = self._with_room[0]
            process = self._processes.get(number)
            if process is not None and process.accepts and self._free_on(process) == free:
                return number
            heapq.heappop(self._with_room)
        return None

    def _note_room(self, number: int) -> None:
        """Add an entry with the free places of a process, if it accepts a conversation."""
        process = self._processes[number]
        free = self._free_on(process)
        if not process.accepts or free <= 0:
            return
        heapq.heappush(self._with_room, (free, number))
        if len(self._with_room) > max(_PRUNE_AT, 2 * len(self._processes)):
            self._with_room = [
                (self._free_on(process), number)
                for number, process in self._processes.items()
                if process.accepts and self._free_on(process) > 0
            ]
            heapq.heapify(self._with_room)

    def _free_on(self, process: _Process) -> int:
        return self._max_conversations - len(process.lessees)

    def _remove(self, number: int) -> _Process | None:
        process = self._processes.pop(number, None)
        if process is not None:
            self._room -= self._free_on(process)
            self._starting.pop(number, None)
        return process

    def _start_more(self) -> list[Action]:
        actions: list[Action] = []
        while self._room < self._needed_room() and len(self._starting) < self._max_starts:
            self._last_number += 1
            self._processes[self._last_number] = _Process()
            self._starting[self._last_number] = None
            self._room += self._max_conversations
            actions.append(StartProcess(self._last_number))
        return actions

    def _end_unneeded_starts(self) -> list[Action]:
        """End processes that are starting and that no lessee waits for any more."""
        spare = self._room - self._needed_room()
        unneeded = list(self._starting)[: max(0, spare // self._max_conversations)]
        for number in unneeded:
            self._remove(number)
        return [EndProcess(number) for number in unneeded]

    def _needed_room(self) -> int:
        """Return how many free places there should be, for those that wait or come next."""
        ahead = self._max_conversations // 4 if self._opening else 0
        return len(self._waiting) or ahead
