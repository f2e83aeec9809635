"""The decisions of a supervisor about its children: `decide`, a function of a family and an event.

It changes the `Family` and returns the actions that follow. The results of the actions are reported
as the next events. This module has no effects, reads no clock, and knows no threads or kinds of
children.

The semantics are those of Erlang/OTP's supervisors (its "Supervisor Behaviour"), with two
differences: refs and mailboxes outlive restarts, and restart intensity is counted for each child.
Neither restarting siblings nor `AllExited` wait for a child that ends for good, since it shares
nothing with them, and its name is not free before its end.

Guarantee: the cost of an event does not depend on the number of children. It depends on the number
of children that it concerns: the children that restart together, or all children of a supervisor
that is halted or resumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._supervision.restart_policy import Restart, Strategy
from agy_actors._supervision.restart_steps import (
    Action,
    Added,
    AllExited,
    AllReady,
    BackoffOver,
    BecameReady,
    End,
    Escalate,
    Event,
    Exited,
    Failed,
    Failure,
    GiveUp,
    Halt,
    Halting,
    Leaving,
    Phase,
    Renewed,
    RequestRestart,
    RestartAsked,
    Resume,
    Start,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agy_actors._supervision.family import Family

__all__ = ["decide"]

_LONGEST_ROW = 100
"""The most consecutive failures that are counted. Arbitrary: a backoff reaches its maximum long
before."""


def decide(family: Family, event: Event) -> tuple[Action, ...]:
    """Change a family by an event, and return the actions that follow, in their order."""
    change = _Change(family)
    change.take(event)
    change.proceed()
    return tuple(change.actions)


class _Change:
    """One event, and the actions that follow from it."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.actions: list[Action] = []

    def take(self, event: Event) -> None:
        family = self.family
        match event:
            case Added(name, restart):
                family.add(name, restart)
            case BecameReady(name):
                self._became_ready(name)
            case Failed(name, now, turn):
                self._failed(name, Failure(now, turn))
            case Renewed(name):
                self._renewed(name)
            case RestartAsked(name):
                self._restart_asked(name)
            case Exited(name):
                family.change(name, phase=Phase.DOWN)
            case Leaving(name):
                family.remove(name)
            case BackoffOver(token):
                family.end_backoff(token)
            case Halt() | Resume():
                self._obey(event)

    def proceed(self) -> None:
        """Start the children that can start now."""
        family = self.family
        for name in family.take_startable():
            family.change(name, phase=Phase.STARTING)
            self.actions.append(Start(name))
        if family.halt is Halting.HALTING and family.all_down:
            family.halt = Halting.HALTED
            self.actions.append(AllExited())
        elif family.halt is Halting.RESUMING and not family.recovers:
            family.halt = Halting.NO
            self.actions.append(AllReady())

    def _became_ready(self, name: str) -> None:
        member = self.family.find(name)
        if member is None or member.phase is not Phase.STARTING:
            return  # It was asked to restart meanwhile.
        self.family.change(name, phase=Phase.UP)
        self.family.drop_from_recovery(name)

    def _renewed(self, name: str) -> None:
        member = self.family.find(name)
        if member is None:
            return
        if member.phase is Phase.STOPPING or self.family.halted:
            self.family.change(name, phase=Phase.DOWN)
            return
        self.family.change(name, phase=Phase.STARTING)
        self.actions.append(Start(name))

    def _restart_asked(self, name: str) -> None:
        member = self.family.find(name)
        if member is None or self.family.halted:
            return
        if member.phase is Phase.UP:
            # Not its siblings, whatever the strategy: nothing failed.
            self.family.change(name, phase=Phase.STOPPING)
            self.actions.append(RequestRestart(name))
            self.family.recover([name])
        else:
            self.family.change(name, backoff=None)  # It starts again anyway: now.

    def _failed(self, name: str, failure: Failure) -> None:
        family = self.family
        member = family.find(name)
        if member is None:
            return
        if member.phase is Phase.STOPPING or family.halted:
            family.change(name, phase=Phase.DOWN)  # It was asked to end.
            return
        if member.restart is Restart.TEMPORARY:
            family.remove(name)
            self.actions.append(GiveUp(name, "it is temporary, and is not restarted"))
            return
        limits = family.limits
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
        row = _in_a_row(tuple(one.at for one in failures), family.reset_after)
        # The consecutive failures may reach further back than the window, without limit.
        kept = failures[-min(len(failures), max(len(recent), min(row, _LONGEST_ROW))) :]
        family.last_token = token = family.last_token + 1
        family.change(name, phase=Phase.DOWN, failures=kept, backoff=token)
        self._recover(self._concerned(name))
        self.actions.append(Wait(token, name, row))

    def _exceeded(self, name: str, why: str) -> None:
        family = self.family
        if family.nested:
            family.change(name, phase=Phase.DOWN)
            self.actions.append(Escalate(name, why))
            self._halt()
            return
        siblings = [other for other in self._concerned(name) if other != name]
        family.remove(name)
        self.actions.append(GiveUp(name, why))
        if siblings:
            self._recover(siblings)  # They did not fail, so they wait for no backoff.

    def _concerned(self, name: str) -> list[str]:
        match self.family.strategy:
            case Strategy.ONE_FOR_ONE:
                return [name]
            case Strategy.ONE_FOR_ALL:
                return [member.name for member in self.family.members]
            case Strategy.REST_FOR_ONE:
                return [name, *self.family.younger_than(name)]

    def _recover(self, names: Sequence[str]) -> None:
        """Restart these children together; running ones are asked to end.

        Existing recoveries of these children become part of the new one, and their backoffs
        continue.
        """
        self._request_restart(names)
        self.family.recover(names)

    def _request_restart(self, names: Sequence[str]) -> None:
        for name in reversed(names):
            member = self.family.find(name)
            if member is None or member.phase not in (Phase.STARTING, Phase.UP):
                continue
            if member.restart is Restart.TEMPORARY:
                self.family.remove(name)
                self.actions.append(End(name))
            else:
                self.family.change(name, phase=Phase.STOPPING)
                self.actions.append(RequestRestart(name))

    def _obey(self, event: Halt | Resume) -> None:
        if isinstance(event, Halt):
            self._halt()
        else:
            self._resume()

    def _halt(self) -> None:
        if self.family.halted:
            return
        self.family.halt = Halting.HALTING
        self.family.forget_recoveries()
        self._request_restart([member.name for member in self.family.members])

    def _resume(self) -> None:
        family = self.family
        if family.halt is not Halting.HALTED:
            return
        names = [member.name for member in family.members]  # All of them are down.
        for name in names:
            family.change(name, failures=(), backoff=None)
        family.halt = Halting.RESUMING
        family.recover(names)


def _count_turns_once(failures: Sequence[Failure]) -> int:
    """Count failures; failures that the same turn caused count once."""
    turns = {id(failure.turn) for failure in failures if failure.turn is not None}
    return len(turns) + sum(failure.turn is None for failure in failures)


def _in_a_row(times: tuple[float, ...], reset_after: float) -> int:
    count = 1
    for later, earlier in zip(reversed(times), reversed(times[:-1]), strict=False):
        if later - earlier > reset_after:
            break
        count += 1
    return count
