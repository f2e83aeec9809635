"""Which process each conversation gets: the decisions, without processes."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agy_actors._sdk.process.placement import (
    Action,
    Assign,
    EndIfIdle,
    EndProcess,
    Placement,
    Refuse,
    StartProcess,
)
from tests.looks import count_looks


def placement(size: int = 4, openings: int = 100, starts: int = 100) -> Placement:
    return Placement(size, max_openings=openings, max_starts=starts)


def full(size: int = 2) -> Placement:
    """Return a placement with one process that is full of "a", "b", and so on."""
    it = placement(size)
    it.request("a")
    it.started(1)
    it.opened("a")
    for lessee in "bcdefgh"[: size - 1]:
        assert it.request(lessee) == [Assign(lessee, 1)]
        it.opened(lessee)
    return it


def test_the_first_request_starts_a_process() -> None:
    it = placement()

    assert it.request("a") == [StartProcess(1)]
    assert it.request("b") == []
    assert it.started(1) == [EndIfIdle(1), Assign("a", 1), Assign("b", 1)]


def test_no_more_processes_start_than_are_needed() -> None:
    it = placement(size=2)

    actions = [it.request(lessee) for lessee in "abcde"]

    assert actions == [[StartProcess(1)], [], [StartProcess(2)], [], [StartProcess(3)]]


def test_the_number_of_processes_that_start_at_once_is_limited() -> None:
    it = placement(size=1, starts=2)

    actions = [it.request(lessee) for lessee in "abcd"]

    assert actions == [[StartProcess(1)], [StartProcess(2)], [], []]
    assert it.started(1) == [EndIfIdle(1), Assign("a", 1), StartProcess(3)]


def test_a_full_process_accepts_no_conversation() -> None:
    assert full().request("c") == [StartProcess(2)]


def test_places_are_assigned_in_the_order_of_the_requests() -> None:
    it = placement(openings=1)
    for lessee in "abc":
        it.request(lessee)

    assert it.started(1) == [EndIfIdle(1), Assign("a", 1)]
    assert it.opened("a") == [Assign("b", 1)]
    assert it.release("b") == [Assign("c", 1)]


def test_the_fullest_process_with_room_is_used() -> None:
    it = placement(size=3)
    for lessee in "abcdef":
        it.request(lessee)
    it.started(1)
    it.started(2)
    it.release("a")
    it.release("d")
    it.release("e")

    assert it.request("g") == [Assign("g", 1)]


def test_a_process_starts_ahead_of_demand_while_conversations_open() -> None:
    it = placement(size=4)
    it.request("a")
    it.started(1)

    assert [it.request(lessee) for lessee in "bcd"] == [
        [Assign("b", 1)],
        [Assign("c", 1)],
        [Assign("d", 1), StartProcess(2)],
    ]


def test_a_release_makes_room() -> None:
    it = full()

    it.release("a")

    assert it.request("c") == [Assign("c", 1)]


def test_a_second_release_changes_nothing() -> None:
    it = full()
    it.release("a")

    assert it.release("a") == []
    assert it.process_of("b") == 1


def test_an_empty_process_ends_after_the_idle_time() -> None:
    it = full()
    it.release("a")

    assert it.release("b") == [EndIfIdle(1)]
    assert it.idle(1) == [EndProcess(1)]
    assert it.is_empty


def test_a_process_that_is_used_again_does_not_end() -> None:
    it = full()
    it.release("a")
    it.release("b")
    it.request("c")

    assert it.idle(1) == []
    assert not it.is_empty


def test_a_dead_process_holds_no_conversation() -> None:
    it = full()

    it.died(1)

    assert it.process_of("a") is None
    assert it.request("a") == [StartProcess(2)]


def test_conversations_of_a_dead_process_reopen_a_few_at_a_time() -> None:
    it = placement(size=4, openings=2)
    for lessee in "abcd":
        it.request(lessee)
    it.started(1)
    for lessee in "abcd":
        it.opened(lessee)
    it.died(1)
    for lessee in "abcd":
        it.request(lessee)

    assert it.started(2) == [EndIfIdle(2), Assign("a", 2), Assign("b", 2)]


def test_a_failed_start_refuses_the_requests_that_waited_for_it() -> None:
    it = placement()
    it.request("a")
    it.request("b")

    assert it.failed(1) == [Refuse("a"), Refuse("b")]
    assert it.is_empty
    assert it.request("c") == [StartProcess(2)]


def test_a_failed_start_refuses_no_request_that_has_room_elsewhere() -> None:
    it = placement(size=4, openings=3)
    for lessee in "abcde":
        it.request(lessee)
    it.started(1)  # "d" may not open yet, and "e" waits for the second process.

    assert it.failed(2) == [Refuse("e")]


def test_a_starting_process_without_requests_is_ended() -> None:
    it = placement(size=1)
    it.request("a")
    it.request("b")

    assert it.release("a") == [EndProcess(1)]
    assert it.started(2) == [EndIfIdle(2), Assign("b", 2)]


def test_a_suspect_process_gets_no_conversation_until_its_check_passes() -> None:
    it = full()
    assert it.suspect(1) == []
    it.release("a")

    assert it.request("c") == []
    assert it.clear(1) == [Assign("c", 1)]


def test_a_process_is_suspect_until_all_its_checks_pass() -> None:
    it = full()
    it.suspect(1)
    it.suspect(1)
    it.release("a")
    it.request("c")

    assert it.clear(1) == []
    assert it.clear(1) == [Assign("c", 1)]


@pytest.mark.parametrize("event", ["died", "idle", "suspect", "clear"])
def test_events_of_a_process_that_is_gone_are_ignored(event: str) -> None:
    assert getattr(placement(), event)(7) == []


def test_an_event_reads_no_other_process_and_no_other_conversation() -> None:
    looks = []
    for others in (16, 1600):
        it = placement(size=4)
        for lessee in range(others):
            open_new(it, lessee)
        looks.append(count_looks(partial(send_each_event, it)))

    assert looks[0] == looks[1]


def open_new(it: Placement, lessee: object) -> None:
    """Open a conversation; started processes are up at once."""
    actions = [*it.request(lessee), *it.opened(lessee)]
    while actions:
        action = actions.pop(0)
        if isinstance(action, StartProcess):
            actions += it.started(action.process)
        elif isinstance(action, Assign):
            actions += it.opened(action.lessee)


def send_each_event(it: Placement) -> None:
    """Send each event for a conversation and its process."""
    open_new(it, "new")
    process = it.process_of("new")
    assert process is not None
    it.suspect(process)
    it.clear(process)
    it.release("new")
    it.idle(process)
    open_new(it, "new")
    process = it.process_of("new")
    assert process is not None
    it.died(process)
    (start,) = (action for action in it.request("other") if isinstance(action, StartProcess))
    it.failed(start.process)


class Machine(RuleBasedStateMachine):
    """Events in any order: every request is granted or refused, within the limits."""

    @initialize(size=st.integers(1, 4), openings=st.integers(1, 3), starts=st.integers(1, 3))
    def set_up(self, size: int, openings: int, starts: int) -> None:
        self.size, self.max_openings, self.max_starts = size, openings, starts
        self.placement = placement(size, openings, starts)
        self.starting: set[int] = set()
        self.up: set[int] = set()
        self.where: dict[int, int] = {}
        self.opening: set[int] = set()
        self.waiting: list[int] = []
        self.checks: list[int] = []
        self.requests = 0

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case StartProcess(process):
                    assert process not in self.starting | self.up
                    self.starting.add(process)
                case Assign(int() as lessee, process):
                    assert process in self.up
                    assert lessee == self.waiting.pop(0)
                    self.where[lessee] = process
                    self.opening.add(lessee)
                case Refuse(int() as lessee):
                    self.waiting.remove(lessee)
                case EndProcess(process):
                    assert process not in self.where.values()
                    assert process in self.starting | self.up
                    self.starting.discard(process)
                    self.up.discard(process)

    @rule()
    def request(self) -> None:
        self.requests += 1
        self.waiting.append(self.requests)
        self.take(self.placement.request(self.requests))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lessee = data.draw(st.integers(1, self.requests))
        if lessee in self.waiting:
            self.waiting.remove(lessee)
        self.where.pop(lessee, None)
        self.opening.discard(lessee)
        self.take(self.placement.release(lessee))

    @precondition(lambda self: self.opening)
    @rule(data=st.data())
    def opened(self, data: st.DataObject) -> None:
        lessee = data.draw(st.sampled_from(sorted(self.opening)))
        self.opening.remove(lessee)
        self.take(self.placement.opened(lessee))

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), up=st.booleans())
    def start(self, data: st.DataObject, up: bool) -> None:
        process = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.remove(process)
        if up:
            self.up.add(process)
        self.take(self.placement.started(process) if up else self.placement.failed(process))

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.up)))
        self.up.remove(process)
        for lessee in [lessee for lessee, where in self.where.items() if where == process]:
            del self.where[lessee]
            self.opening.discard(lessee)
        self.checks = [checked for checked in self.checks if checked != process]
        self.take(self.placement.died(process))

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def idle(self, data: st.DataObject) -> None:
        self.take(self.placement.idle(data.draw(st.sampled_from(sorted(self.up)))))

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def suspect(self, data: st.DataObject) -> None:
        self.checks.append(data.draw(st.sampled_from(sorted(self.up))))
        self.take(self.placement.suspect(self.checks[-1]))

    @precondition(lambda self: self.checks)
    @rule()
    def clear(self) -> None:
        self.take(self.placement.clear(self.checks.pop()))

    @invariant()
    def limits_are_kept(self) -> None:
        held = list(self.where.values())
        assert all(held.count(process) <= self.size for process in self.up)
        assert len(self.opening) <= self.max_openings
        assert len(self.starting) <= self.max_starts

    @invariant()
    def no_request_is_forgotten(self) -> None:
        can_continue = self.starting or self.opening or self.checks
        assert not self.waiting or can_continue, "requests wait, and nothing will happen"


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_whatever_happens = Machine.TestCase
