"""What a supervisor decides: a pure function, (state, event) → (state, actions).

The state is a `Family`: the children in the order of their start, each in a phase, and
the recoveries under way. Whoever carries the actions out reports what comes of them as
the next events; nothing here knows threads, clocks or agents.

A turn that crashes its agent twice is ended by the agent (`MOST_CRASHES`); here its crashes
count as one failure.

The semantics are those of Erlang/OTP's supervisors (its "Supervisor Behaviour"), where
they can be: refs and mailboxes outlive restarts here, and restart intensity is counted
for each child. Neither siblings that start again nor `AllGone` wait for a child that ends
for good: it shares nothing with them, and nobody gets its name before its end.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, NamedTuple

import tenacity

from agy_actors._agent import InvalidConfig
from agy_actors._kernel import check_seconds, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenacity.wait import WaitBaseT

__all__ = [
    "Action",
    "AllGone",
    "AllUp",
    "Backoff",
    "BackoffOver",
    "CameUp",
    "End",
    "Escalate",
    "Event",
    "Failed",
    "Family",
    "GiveUp",
    "Gone",
    "Halt",
    "Joined",
    "Left",
    "Limits",
    "Member",
    "Phase",
    "Recall",
    "Renewed",
    "Restart",
    "Resume",
    "Start",
    "Strategy",
    "Wait",
    "decide",
]


_LONGEST_ROW = 100
"""Failures in a row that are counted. Arbitrary: any backoff is at its end long before."""


class Strategy(enum.Enum):
    """Whom a supervisor restarts when a child ends in failure."""

    ONE_FOR_ONE = "one_for_one"
    """The child alone."""

    ONE_FOR_ALL = "one_for_all"
    """All of its children: none can do without the others."""

    REST_FOR_ONE = "rest_for_one"
    """The child and those that were started after it, which may rest on it."""


class Restart(enum.Enum):
    """When a child is restarted. A graceful stop is never a reason."""

    PERMANENT = "permanent"
    """After every failure."""

    TRANSIENT = "transient"
    """After every failure; as `PERMANENT`, since an agent ends without one only when asked."""

    TEMPORARY = "temporary"
    """After no failure: neither one of its own, which concerns no sibling, nor with its
    siblings: where they are restarted together, it is ended. An error of the model is no
    failure: like any child, it is renewed after one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long a supervisor waits before a restart.

    The first restart after a quiet time comes at once: a lone crash is best forgotten
    soon. Those after it wait as `wait` says.
    """

    wait: WaitBaseT = dataclasses.field(
        default_factory=lambda: tenacity.wait_exponential_jitter(
            initial=0.25, max=30.0, jitter=0.25
        )
    )
    """A tenacity wait, asked with the number of failures in a row, less the first."""

    reset_after: float = 30.0
    """Seconds without a failure after which the next one counts as the first again."""

    def __post_init__(self) -> None:
        if not callable(self.wait):
            raise InvalidConfig(f"wait is a wait of tenacity, got {shown(self.wait)}")
        seconds = check_seconds("reset_after", self.reset_after, error=InvalidConfig)
        object.__setattr__(self, "reset_after", seconds)

    def delay(self, failures: int) -> float:
        """Return the seconds to wait before the restart after the n-th failure in a row."""
        if failures <= 1:
            return 0.0
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = failures - 1
        return max(0.0, float(self.wait(state)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The restart intensity: more restarts than this, and the child is given up."""

    max_restarts: int = 5
    within: float = 60.0


class Phase(enum.Enum):
    """Where a child stands."""

    STARTING = "starting"
    UP = "up"

    RECALLED = "recalled"
    """It was told to end, in order to start again."""

    DOWN = "down"
    """Nothing of it runs; it is to start, mostly again."""


class Failure(NamedTuple):
    """A failure of a child."""

    at: float
    turn: object | None
    """As `Failed.turn`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """What is known of a child."""

    name: str
    restart: Restart
    phase: Phase = Phase.STARTING
    failures: tuple[Failure, ...] = ()
    """The failures that count, oldest first."""
    backoff: int | None = None
    """The token of the backoff that it waits for, and with it all that recover together."""


class Halting(enum.Enum):
    """Whether the supervisor above has halted this one."""

    NO = "no"
    HALTING = "halting"
    HALTED = "halted"
    RESUMING = "resuming"


# Events.


@dataclasses.dataclass(frozen=True, slots=True)
class Joined:
    """There is a new child. Whoever reports it starts it; if halted, `Start` will say when."""

    name: str
    restart: Restart


@dataclasses.dataclass(frozen=True, slots=True)
class CameUp:
    """A child is ready."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """A child ended in failure, at a time of the clock of all failures."""

    name: str
    now: float
    turn: object | None = None
    """Which turn crashed it, if one did. All crashes of a turn count once towards the restart
    intensity, since a turn that crashes its child does so again when it is retried. Each of
    them counts for the backoff."""


@dataclasses.dataclass(frozen=True, slots=True)
class Renewed:
    """A child ended to start afresh, through no fault of its own."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Gone:
    """A child that was recalled has ended."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Left:
    """A child has ended for good, or is ending."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class BackoffOver:
    """A backoff is over."""

    token: int


@dataclasses.dataclass(frozen=True, slots=True)
class Halt:
    """The supervisor above recalls this one, and so all children."""


@dataclasses.dataclass(frozen=True, slots=True)
class Resume:
    """The supervisor above starts this one again."""


Event = Joined | CameUp | Failed | Renewed | Gone | Left | BackoffOver | Halt | Resume


# Actions.


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """Start a child, mostly again, behind its ref."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Recall:
    """End a child, to start it again; then report `Gone`."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """End a child for good."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Report `BackoffOver` after the backoff for this many failures in a row."""

    token: int
    name: str
    failures: int


@dataclasses.dataclass(frozen=True, slots=True)
class GiveUp:
    """Declare a child dead."""

    name: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Escalate:
    """Tell the supervisor above that this one fails, when `AllGone` comes."""

    name: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class AllGone:
    """Tell the supervisor above that nothing runs here any more."""


@dataclasses.dataclass(frozen=True, slots=True)
class AllUp:
    """Tell the supervisor above that all children are up again."""


Action = Start | Recall | End | Wait | GiveUp | Escalate | AllGone | AllUp


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The children of a supervisor, and what is being done about them."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    limits: Limits = dataclasses.field(default_factory=Limits)
    reset_after: float = 30.0
    """As `Backoff.reset_after`."""
    nested: bool = False
    """Whether there is a supervisor above, to whom failures escalate."""
    members: tuple[Member, ...] = ()
    """In the order of their first start."""
    recoveries: tuple[tuple[str, ...], ...] = ()
    """Children that start again together, one after another, in the order of their first
    start: the names of those that are not up yet."""
    halt: Halting = Halting.NO
    last_token: int = 0

    def find(self, name: str) -> Member | None:
        """Return what is known of a child, if anything."""
        return next((member for member in self.members if member.name == name), None)


def decide(family: Family, event: Event) -> tuple[Family, tuple[Action, ...]]:
    """Decide what is to be done about an event, in the order of the actions."""
    change = _Change(family)
    change.take(event)
    change.proceed()
    return change.family, tuple(change.actions)


class _Change:
    """A family on its way from one state to the next."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.actions: list[Action] = []

    def take(self, event: Event) -> None:
        match event:
            case Joined(name, restart):
                phase = Phase.DOWN if self._halted else Phase.STARTING
                self._update(members=(*self.family.members, Member(name, restart, phase)))
            case CameUp(name):
                self._came_up(name)
            case Failed(name, now, turn):
                self._failed(name, Failure(now, turn))
            case Renewed(name):
                self._renewed(name)
            case Gone(name):
                self._set(name, phase=Phase.DOWN)
            case Left(name):
                self._remove(name)
            case BackoffOver(token):
                self._backoff_over(token)
            case Halt():
                self._halt()
            case Resume():
                self._resume()

    def proceed(self) -> None:
        """Start whom nothing holds back any more."""
        kept: list[tuple[str, ...]] = []
        for recovery in self.family.recoveries:
            members = [member for member in self.family.members if member.name in recovery]
            if not members:
                continue
            kept.append(tuple(member.name for member in members))
            if all(member.phase is Phase.DOWN and member.backoff is None for member in members):
                self._set(members[0].name, phase=Phase.STARTING)
                self.actions.append(Start(members[0].name))
        self._update(recoveries=tuple(kept))
        halt = self.family.halt
        if halt is Halting.HALTING and all(m.phase is Phase.DOWN for m in self.family.members):
            self._update(halt=Halting.HALTED)
            self.actions.append(AllGone())
        elif halt is Halting.RESUMING and not kept:
            self._update(halt=Halting.NO)
            self.actions.append(AllUp())

    def _came_up(self, name: str) -> None:
        member = self.family.find(name)
        if member is None or member.phase is not Phase.STARTING:
            return  # It was recalled meanwhile.
        self._set(name, phase=Phase.UP)
        self._drop_from_recoveries(name)

    def _renewed(self, name: str) -> None:
        member = self.family.find(name)
        if member is None:
            return
        if member.phase is Phase.RECALLED or self._halted:
            self._set(name, phase=Phase.DOWN)
            return
        self._set(name, phase=Phase.STARTING)
        self.actions.append(Start(name))

    def _failed(self, name: str, failure: Failure) -> None:
        member = self.family.find(name)
        if member is None:
            return
        if member.phase is Phase.RECALLED or self._halted:
            self._set(name, phase=Phase.DOWN)  # It has ended, as it was told to.
            return
        if member.restart is Restart.TEMPORARY:
            self._remove(name)
            self.actions.append(GiveUp(name, "it is temporary, and is not restarted"))
            return
        limits = self.family.limits
        failures = (*member.failures, failure)
        recent = [one for one in failures if one.at > failure.at - limits.within]
        count = _count_turns_once(recent)
        if count > limits.max_restarts:
            self._exceeded(
                name,
                f"it failed {count} times within {limits.within:g} s, and"
                f" {limits.max_restarts} restarts are allowed",
            )
            return
        row = _in_a_row(tuple(one.at for one in failures), self.family.reset_after)
        # The failures in a row may reach further back than the window, and without end.
        kept = failures[-min(len(failures), max(len(recent), min(row, _LONGEST_ROW))) :]
        token = self.family.last_token + 1
        self._update(last_token=token)
        self._set(name, phase=Phase.DOWN, failures=kept, backoff=token)
        self._recover(self._concerned(name))
        self.actions.append(Wait(token, name, row))

    def _exceeded(self, name: str, why: str) -> None:
        if self.family.nested:
            self._set(name, phase=Phase.DOWN)
            self.actions.append(Escalate(name, why))
            self._halt()
            return
        siblings = [other for other in self._concerned(name) if other != name]
        self._remove(name)
        self.actions.append(GiveUp(name, why))
        if siblings:
            self._recover(siblings)  # They did nothing wrong: no backoff of theirs begins.

    def _concerned(self, name: str) -> list[str]:
        names = [member.name for member in self.family.members]
        match self.family.strategy:
            case Strategy.ONE_FOR_ONE:
                return [name]
            case Strategy.ONE_FOR_ALL:
                return names
            case Strategy.REST_FOR_ONE:
                return names[names.index(name) :]

    def _recover(self, names: Sequence[str]) -> None:
        """Begin a recovery of these children, all the running ones of which are recalled.

        It takes in those under way that it concerns, whose backoffs go on.
        """
        self._recall(names)
        recovering = set(names)
        others = []
        for recovery in self.family.recoveries:
            if self.family.strategy is not Strategy.ONE_FOR_ONE or (
                recovering.intersection(recovery)
            ):
                recovering.update(recovery)
            else:
                others.append(recovery)
        ordered = tuple(m.name for m in self.family.members if m.name in recovering)
        self._update(recoveries=(*others, ordered))

    def _recall(self, names: Sequence[str]) -> None:
        for name in reversed(names):
            member = self.family.find(name)
            if member is None or member.phase not in (Phase.STARTING, Phase.UP):
                continue
            if member.restart is Restart.TEMPORARY:
                self._remove(name)
                self.actions.append(End(name))
            else:
                self._set(name, phase=Phase.RECALLED)
                self.actions.append(Recall(name))

    def _backoff_over(self, token: int) -> None:
        for member in self.family.members:
            if member.backoff == token:
                self._set(member.name, backoff=None)

    @property
    def _halted(self) -> bool:
        return self.family.halt in (Halting.HALTING, Halting.HALTED)

    def _halt(self) -> None:
        if self._halted:
            return
        self._update(halt=Halting.HALTING, recoveries=())
        self._recall([member.name for member in self.family.members])

    def _resume(self) -> None:
        if self.family.halt is not Halting.HALTED:
            return
        members = tuple(
            dataclasses.replace(m, failures=(), backoff=None) for m in self.family.members
        )
        names = tuple(member.name for member in members)  # All of them are down.
        self._update(members=members, halt=Halting.RESUMING, recoveries=(names,))

    def _drop_from_recoveries(self, name: str) -> None:
        self._update(
            recoveries=tuple(
                tuple(other for other in recovery if other != name)
                for recovery in self.family.recoveries
            )
        )

    def _remove(self, name: str) -> None:
        self._update(members=tuple(m for m in self.family.members if m.name != name))

    def _set(self, name: str, **changes: Any) -> None:
        self._update(
            members=tuple(
                dataclasses.replace(m, **changes) if m.name == name else m
                for m in self.family.members
            )
        )

    def _update(self, **changes: Any) -> None:
        self.family = dataclasses.replace(self.family, **changes)


def _count_turns_once(failures: Sequence[Failure]) -> int:
    """Count failures, those that one turn caused as one."""
    turns = {id(failure.turn) for failure in failures if failure.turn is not None}
    return len(turns) + sum(failure.turn is None for failure in failures)


def _in_a_row(times: tuple[float, ...], reset_after: float) -> int:
    count = 1
    for later, earlier in zip(reversed(times), reversed(times[:-1]), strict=False):
        if later - earlier > reset_after:
            break
        count += 1
    return count
