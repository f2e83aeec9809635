"""Plays what is around the logic of a pool: members, clocks and askers, as a test wants them.

It checks after each event what must hold of any pool at any time.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from agy_actors import AgentDeadError, AgentStartError, Routing
from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision.pool_logic import decide
from agy_actors._supervision.pool_state import PoolPhase, PoolState, SlotPhase, Turn
from agy_actors._supervision.restart_policy import Limits
from agy_actors._supervision.routing import Router

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["World"]


class World:
    """A pool whose members do what the test says.

    Args:
        size: how many members it has at first.
        routing: how it chooses the member for a turn.
        options: of `PoolState`.
    """

    def __init__(
        self, size: int = 2, routing: Routing = Routing.SHORTEST_QUEUE, **options: Any
    ) -> None:
        options.setdefault("limits", Limits(max_restarts=2, within=10.0))
        router = Router(routing, random.Random(1))
        self.pool = PoolState("p", size=size, routing=routing, router=router, **options)
        self.now = 0.0
        self.members: dict[str, str] = {}
        """The state of each member: starting, up, down (it restarts) or closing."""
        self.has: dict[str, Turn] = {}
        """The turn of each busy member."""
        self.runs_on: set[str] = set()
        """The members that are still busy with an answered turn."""
        self.scheduled: dict[int, int] = {}
        """The tokens of the starts that are scheduled, by slot."""
        self.delays: list[steps.DelayStart] = []
        """All starts that were scheduled so far."""
        self.asked: list[Turn] = []
        self.answers: Counter[Turn] = Counter()
        self.outcomes: dict[Turn, object] = {}
        self.handed: list[tuple[Turn, str]] = []
        self.stopped: list[Turn] = []
        """The parts of broadcasts that were cancelled while a member had them."""
        self.requests = 0
        self.settled: dict[object, Exception | None] = {}
        self.ready = False
        self.failed: str | Exception | None = None
        self.lane = False
        self.tell(steps.Began(self.now))

    # Events.

    def tell(self, event: steps.Event) -> list[steps.Action]:
        """Send an event to the pool, and carry out its actions."""
        actions = decide(self.pool, event)
        for action in actions:
            self._carry_out(action)
        self.check()
        return actions

    def ask(self, key: str | None = None, *waiting: str) -> Turn:
        turn = Turn(work=f"turn {len(self.asked)}", key=key, waited_for_by=frozenset(waiting))
        self.asked.append(turn)
        self.tell(steps.Accepted(turn))
        return turn

    def become_ready(self, member: str) -> None:
        self.members[member] = "up"
        self.tell(steps.MemberReady(member, self.now))

    def go_down(self, member: str) -> None:
        self.members[member] = "down"
        self.tell(steps.MemberDown(member))

    def die(
        self, member: str, *, late: bool = False, movable: bool = True, by_turn: bool = False
    ) -> None:
        """End a member; its turn is reported as lost before its end, or after it."""
        how = self.members.pop(member)
        error = AgentStartError("no luck") if how == "starting" else AgentDeadError("died")
        turn = self.has.pop(member, None)
        answered = member in self.runs_on
        self.runs_on.discard(member)
        lost = None
        if turn is not None and not answered:
            lost = steps.Lost(turn, member, error, movable=movable)
        gone = steps.MemberEnded(member, error, self.now, by_turn)
        for event in (gone, lost) if late else (lost, gone):
            if event is not None:
                self.tell(event)

    def hang(self, member: str) -> None:
        """Replace the thread of a busy member: its turn is lost, and the member restarts."""
        turn = self.has.pop(member)
        self.members[member] = "down"
        self.tell(steps.MemberDown(member))
        if member in self.runs_on:
            self.runs_on.discard(member)
            self.tell(steps.Freed(member, self.now))
        else:
            self.tell(steps.Lost(turn, member, AgentDeadError("hung"), for_good=False))

    def reply(
        self, member: str, *, error: BaseException | None = None, runs_on: bool = False
    ) -> None:
        turn = self.has[member]
        if not turn.is_part and not self.answers[turn]:  # A future accepts one reply.
            self._answer(turn, error or f"reply to {turn.work}")
        if runs_on:
            self.runs_on.add(member)
        else:
            del self.has[member]
        self.tell(steps.Finished(turn, member, f"{member}: {turn.work}", error, runs_on, self.now))

    def free(self, member: str) -> None:
        self.runs_on.discard(member)
        del self.has[member]
        self.tell(steps.Freed(member, self.now))

    def start_scheduled(self, number: int) -> None:
        self.tell(steps.BackoffOver(number, self.scheduled.pop(number)))

    def resize(self, size: int) -> int:
        self.requests += 1
        self.tell(steps.Resized(self.requests, size, self.now))
        return self.requests

    def cancel(self, turn: Turn) -> None:
        if not self.answers[turn]:
            self._answer(turn, "cancelled")
        self.tell(steps.Cancelled(turn))

    def end(self) -> None:
        """End the pool at once, in the order in which the actor does."""
        self.tell(steps.Ending(drain=False))
        for member in list(self.members):
            if member in self.members:
                self.die(member)
        self.tell(steps.Ended())

    # The targets of possible events.

    def all(self, *states: str) -> list[str]:
        return [member for member, state in self.members.items() if state in states]

    def busy(self) -> list[str]:
        return [member for member in self.has if member not in self.runs_on]

    # Actions.

    def _answer(self, turn: Turn, outcome: object) -> None:
        self.answers[turn] += 1
        self.outcomes[turn] = outcome

    def _carry_out(self, action: steps.Action) -> None:
        carry_out: Callable[[Any], None] = getattr(self, f"_do_{type(action).__name__}")
        carry_out(action)

    def _do_StartMember(self, action: steps.StartMember) -> None:  # noqa: N802 (named after it)
        assert action.member not in self.members
        self.members[action.member] = "starting"

    def _do_DelayStart(self, action: steps.DelayStart) -> None:  # noqa: N802
        assert action.failures >= 1
        self.scheduled[action.number] = action.token
        self.delays.append(action)

    def _do_EndMember(self, action: steps.EndMember) -> None:  # noqa: N802
        assert action.member not in self.has
        self.members[action.member] = "closing"

    def _do_HandOver(self, action: steps.HandOver) -> None:  # noqa: N802
        assert action.member not in self.has, "a member has one turn at a time"
        assert action.member not in action.turn.waited_for_by, "it waits for this turn"
        self.handed.append((action.turn, action.member))
        if self.members.get(action.member) == "closing":
            self.tell(steps.Refused(action.turn, action.member))
            return
        assert self.members[action.member] in ("up", "down")
        self.has[action.member] = action.turn

    def _do_Answer(self, action: steps.Answer) -> None:  # noqa: N802
        self._answer(action.turn, action.replies)

    def _do_FailTurn(self, action: steps.FailTurn) -> None:  # noqa: N802
        self._answer(action.turn, action.error)

    def _do_RejectTurn(self, action: steps.RejectTurn) -> None:  # noqa: N802
        self._answer(action.turn, AgentDeadError("the pool has ended"))

    def _do_CancelTurn(self, action: steps.CancelTurn) -> None:  # noqa: N802
        assert action.turn in self.has.values() or action.turn not in self.pool.turns
        self.stopped.append(action.turn)

    def _do_SetLane(self, action: steps.SetLane) -> None:  # noqa: N802
        assert action.open is not self.lane
        self.lane = action.open

    def _do_AnswerResize(self, action: steps.AnswerResize) -> None:  # noqa: N802
        assert action.request not in self.settled
        self.settled[action.request] = action.error

    def _do_Ready(self, _: steps.Ready) -> None:  # noqa: N802
        assert not self.ready
        self.ready = True

    def _do_FailPool(self, action: steps.FailPool) -> None:  # noqa: N802
        assert self.failed is None
        self.failed = action.why

    # Invariants.

    def check(self) -> None:
        pool = self.pool
        repr(pool)
        assert all(self.answers[turn] <= 1 for turn in self.asked)
        unanswered = [turn for turn in self.asked if not self.answers[turn]]
        assert list(pool.turns) == [turn for turn in pool.turns if turn in unanswered]
        assert len(pool.turns) == len(unanswered), "a turn was lost"
        queues = [pool.unassigned, *(s.queue for s in pool.slots.values())]
        queues += [slot.queue for slot in pool.leaving.values()]
        assert pool.queued == sum(map(len, queues))
        if pool.phase is PoolPhase.ENDED:
            assert not pool.queued, "no member takes it"
            assert not self.lane
            return
        for slot in pool.slots.values():
            if slot.member is None:
                assert slot.token is not None
                assert self.scheduled[slot.number] == slot.token, "a slot without a member"
            else:
                assert pool.by_member[slot.member] is slot
                assert slot.member in self.members or slot.phase is SlotPhase.ENDING
            assert slot.routable or all(turn.is_part for turn in slot.queue)
            if slot.is_free:
                assert not slot.queue
                assert all(slot.member in turn.waited_for_by for turn in pool.unassigned)
        if pool.phase is not PoolPhase.DRAINING:
            assert len(pool.slots) == pool.wanted
