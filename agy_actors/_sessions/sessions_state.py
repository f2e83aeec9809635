"""The state of sessions: what happens to each key in use, and the turns that wait.

`SessionsState` holds the data and its indexes; `sessions_logic` decides what follows from them.
This module has no effects, reads no clock and knows no threads.

A key is in the state only while something happens to it: its agent exists, or something waits. So
a session that sleeps takes no memory.
"""

from __future__ import annotations

import dataclasses
import enum
import heapq
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from agy_actors._supervision.pool_state import Turn

__all__ = ["KeyPhase", "KeyState", "Place", "SessionsPhase", "SessionsState", "Waiting"]


class SessionsPhase(enum.Enum):
    """The phase of the sessions as a whole."""

    UP = "up"

    DRAINING = "draining"
    """They end when their turns are answered."""

    ENDED = "ended"
    """No turn is given to an agent any more."""


class KeyPhase(enum.Enum):
    """The phase of one session."""

    ASLEEP = "asleep"
    """It has no agent. If something waits for one, it is in the queue for an agent."""

    ELSEWHERE = "elsewhere"
    """It has no agent, and the conversation is open in another program, which was asked for it."""

    STARTING = "starting"
    """Its agent starts or restarts."""

    UP = "up"

    ENDING = "ending"
    """Its agent ends and closes the conversation."""

    DELETING = "deleting"
    """It has no agent, and its files are being removed."""


_AWAKE = (KeyPhase.STARTING, KeyPhase.UP, KeyPhase.ENDING)
"""The phases in which a session has an agent."""


@dataclasses.dataclass(eq=False, slots=True)
class Waiting:
    """A turn, a question or a request to wake that waits for its session."""

    number: int
    """The order of arrival."""

    since: float
    """When it came, on the clock of the events."""

    seconds: float
    """How long it may wait until its session is awake."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a turn or a question without an answer is."""

    state: KeyState
    entry: Waiting
    question: bool

    @property
    def queue(self) -> OrderedDict[Turn, Waiting]:
        """The queue of its session that it waits in, if it waits."""
        return self.state.questions if self.question else self.state.turns


@dataclasses.dataclass(eq=False, slots=True)
class KeyState:
    """One session that is in use."""

    key: str
    phase: KeyPhase = KeyPhase.ASLEEP
    since: float = 0.0
    """Since when it has had no agent that is ready."""

    idle_since: float = 0.0
    """Since when its agent has had no turn."""

    turns: OrderedDict[Turn, Waiting] = dataclasses.field(default_factory=OrderedDict)
    """The turns that wait for it, oldest first."""

    questions: OrderedDict[Turn, Waiting] = dataclasses.field(default_factory=OrderedDict)
    """The questions that wait until it is awake."""

    wakes: dict[Hashable, Waiting] = dataclasses.field(default_factory=dict)
    """The requests to wake it."""

    sleeps: list[Hashable] = dataclasses.field(default_factory=list)
    """The requests to put it to sleep."""

    deletes: list[Hashable] = dataclasses.field(default_factory=list)
    """The requests to delete it."""

    running: Turn | None = None
    """The turn that its agent has."""

    asked: set[Turn] = dataclasses.field(default_factory=set)
    """The questions that its agent has."""

    runs_on: bool = False
    """Whether its agent may be busy with a turn that was answered."""

    was_up: bool = False
    """Whether its present agent was ever ready."""

    served: bool = False
    """Whether its present agent has had a turn."""

    wanted: bool = False
    """Whether another program asks for the conversation."""

    leaving_since: float | None = None
    """Since when its agent is to end and only answers its last questions."""

    not_before: float = -math.inf
    """Until when it is left to the other program that it was handed over to."""

    queued: int | None = None
    """The number by which it is in the queue for an agent."""

    def __repr__(self) -> str:
        words = [f"{self.key!r}:", self.phase.value]
        words += [word for word in ("runs_on", "wanted", "served") if getattr(self, word)]
        words += ["busy"] if self.running is not None else []
        words += [f"{len(self.turns)} turns"] if self.turns else []
        return f"<KeyState {' '.join(words)}>"

    @property
    def is_awake(self) -> bool:
        """Whether it has an agent."""
        return self.phase in _AWAKE

    @property
    def is_free(self) -> bool:
        """Whether its agent can take a turn now."""
        return self.phase is KeyPhase.UP and self.running is None and not self.runs_on

    @property
    def is_idle(self) -> bool:
        """Whether its agent has nothing to do."""
        return self.is_free and not (self.turns or self.questions or self.asked)

    @property
    def first(self) -> int | None:
        """The number of the oldest entry that waits for it; `None` if nothing waits."""
        firsts = [next(iter(queue.values()), None) for queue in self.queues]
        return min((entry.number for entry in firsts if entry is not None), default=None)

    @property
    def queues(self) -> tuple[dict[Turn, Waiting], dict[Turn, Waiting], dict[Hashable, Waiting]]:
        """Everything that waits for it."""
        return self.turns, self.questions, self.wakes

    @property
    def is_unused(self) -> bool:
        """Whether nothing happens to it, so that it can be forgotten."""
        return (
            self.phase is KeyPhase.ASLEEP
            and self.first is None
            and not (self.sleeps or self.deletes or self.asked)
            and self.running is None
        )

    def deadline_of(self, entry: Waiting) -> float:
        """Return until when an entry may wait, if its session does not wake before."""
        if self.phase is KeyPhase.UP:
            return math.inf
        return max(entry.since, self.since) + entry.seconds


class SessionsState:
    """The state of sessions.

    Args:
        name: their name.
        max_awake: how many may have an agent at a time.
        idle_timeout: seconds without a turn after which a session sleeps; `None` for never.
        dead_error: the type of the error for turns that an end interrupts.
        timeout_error: the type of the error for turns that wait too long.
    """

    def __init__(
        self,
        name: str,
        *,
        max_awake: int,
        idle_timeout: float | None,
        dead_error: type[Exception],
        timeout_error: type[Exception],
    ) -> None:
        self.name = name
        self.max_awake = max_awake
        self.idle_timeout = idle_timeout
        self.dead_error = dead_error
        self.timeout_error = timeout_error
        self.phase = SessionsPhase.UP
        self.keys: dict[str, KeyState] = {}
        """The sessions in use, by key."""
        self.turns: dict[Turn, Place] = {}
        """All turns and questions without an answer."""
        self.awake = 0
        """How many sessions have an agent."""
        self.ending = 0
        """How many of them are ending."""
        self.idle: OrderedDict[str, KeyState] = OrderedDict()
        """The sessions whose agent has nothing to do, the least recently used first."""
        self.elsewhere: dict[str, KeyState] = {}
        """The sessions whose conversation is open in another program."""
        self.touched: dict[KeyState, None] = {}
        """The sessions that changed since the last decision."""
        self.waiting = 0
        """How many turns wait for their session or for the turns before them."""
        self.sleeping: dict[str, KeyState] = {}
        """The sessions that wait for an agent."""
        self._numbers = 0
        self._queue: list[tuple[int, str]] = []
        """A heap of the sessions that wait for an agent, by their first entry. Some may no longer
        wait."""

    def __repr__(self) -> str:
        return (
            f"<SessionsState {self.name!r} {self.phase.value}: {self.awake} of {self.max_awake}"
            f" awake, {self.waiting} turns wait, {list(self.keys.values())}>"
        )

    def get(self, key: str, now: float) -> KeyState:
        """Return the state of a key, and add it if it is not in use."""
        state = self.keys.get(key)
        if state is None:
            state = self.keys[key] = KeyState(key, since=now)
        self.touched[state] = None
        return state

    def touch(self, key: str) -> KeyState | None:
        """Return the state of a key that is in use, and note that it changes."""
        state = self.keys.get(key)
        if state is not None:
            self.touched[state] = None
        return state

    def entry(self, now: float, seconds: float) -> Waiting:
        """Make an entry that is younger than all others."""
        self._numbers += 1
        return Waiting(self._numbers, now, seconds)

    def add(self, turn: Turn, place: Place, *, first: bool = False) -> None:
        """Let a turn or a question wait for its session."""
        self.turns[turn] = place
        place.queue[turn] = place.entry
        if first:
            place.queue.move_to_end(turn, last=False)
        self.waiting += not place.question
        self.touched[place.state] = None

    def take(self, turn: Turn) -> bool:
        """Remove a turn or a question from its queue, and return whether it was there."""
        place = self.turns.get(turn)
        if place is None or place.queue.pop(turn, None) is None:
            return False
        self.waiting -= not place.question
        self.touched[place.state] = None
        return True

    def move(self, state: KeyState, phase: KeyPhase, now: float) -> None:
        """Change the phase of a session, and update the indexes."""
        before, was_awake = state.phase, state.is_awake
        state.phase = phase
        if before is KeyPhase.UP:
            state.since = now
        self.awake += state.is_awake - was_awake
        self.ending += (phase is KeyPhase.ENDING) - (before is KeyPhase.ENDING)
        if phase is KeyPhase.ELSEWHERE:
            self.elsewhere[state.key] = state
        else:
            self.elsewhere.pop(state.key, None)
        self.touched[state] = None

    def settle(self, state: KeyState) -> None:
        """Update the indexes of a session after a change, and forget it if it is not in use."""
        if state.is_idle:
            self.idle.setdefault(state.key, state)
        else:
            self.idle.pop(state.key, None)
        first = state.first
        if state.phase is not KeyPhase.ASLEEP or first is None:
            state.queued = None
            self.sleeping.pop(state.key, None)
        elif state.queued != first:
            state.queued = first
            self.sleeping[state.key] = state
            heapq.heappush(self._queue, (first, state.key))
        if state.is_unused:
            self.keys.pop(state.key, None)

    def waiting_since(self) -> float | None:
        """Return when the oldest waiting turn came; `None` if none waits. Callable on any thread.

        The time is of the clock of the decisions.
        """
        # Copies, each made by one call: another thread may change the dictionaries.
        queues = [list(state.turns.values()) for state in list(self.keys.values())]
        return min((queue[0].since for queue in queues if queue), default=None)

    def first_waiting(self) -> KeyState | None:
        """Return the session that waits longest for an agent."""
        while self._queue:
            number, key = self._queue[0]
            state = self.sleeping.get(key)
            if state is not None and state.queued == number:
                return state
            heapq.heappop(self._queue)
        return None
