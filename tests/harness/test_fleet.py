"""Who gets a place on which process, without any process."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agy_actors._harness._fleet import Action, Begin, End, EndIfQuiet, Fleet, Place, Refuse


def fleet(most: int = 4, openings: int = 100, beginnings: int = 100) -> Fleet:
    return Fleet(most, openings=openings, beginnings=beginnings)


def full(most: int = 2) -> Fleet:
    """Make a fleet of one process, full of "a", "b", and so on."""
    it = fleet(most)
    it.want("a")
    it.is_up(1)
    it.opened("a")
    for who in "bcdefgh"[: most - 1]:
        assert it.want(who) == [Place(who, 1)]
        it.opened(who)
    return it


def test_the_first_who_wants_a_place_has_a_process_begun() -> None:
    it = fleet()

    assert it.want("a") == [Begin(1)]
    assert it.want("b") == []
    assert it.is_up(1) == [EndIfQuiet(1), Place("a", 1), Place("b", 1)]


def test_no_more_processes_begin_than_are_needed() -> None:
    it = fleet(most=2)

    began = [it.want(who) for who in "abcde"]

    assert began == [[Begin(1)], [], [Begin(2)], [], [Begin(3)]]


def test_no_more_processes_begin_at_once_than_may() -> None:
    it = fleet(most=1, beginnings=2)

    began = [it.want(who) for who in "abcd"]

    assert began == [[Begin(1)], [Begin(2)], [], []]
    assert it.is_up(1) == [EndIfQuiet(1), Place("a", 1), Begin(3)]


def test_a_full_process_takes_nobody_in() -> None:
    assert full().want("c") == [Begin(2)]


def test_places_are_given_in_the_order_of_asking() -> None:
    it = fleet(openings=1)
    for who in "abc":
        it.want(who)

    assert it.is_up(1) == [EndIfQuiet(1), Place("a", 1)]
    assert it.opened("a") == [Place("b", 1)]
    assert it.leave("b") == [Place("c", 1)]


def test_the_fullest_process_with_room_is_taken() -> None:
    it = fleet(most=3)
    for who in "abcdef":
        it.want(who)
    it.is_up(1)
    it.is_up(2)
    it.leave("a")
    it.leave("d")
    it.leave("e")

    assert it.want("g") == [Place("g", 1)]


def test_a_process_is_begun_ahead_of_demand_while_conversations_come() -> None:
    it = fleet(most=4)
    it.want("a")
    it.is_up(1)

    assert [it.want(who) for who in "bcd"] == [
        [Place("b", 1)],
        [Place("c", 1)],
        [Place("d", 1), Begin(2)],
    ]


def test_one_who_leaves_makes_room() -> None:
    it = full()

    it.leave("a")

    assert it.want("c") == [Place("c", 1)]


def test_leaving_twice_is_leaving_once() -> None:
    it = full()
    it.leave("a")

    assert it.leave("a") == []
    assert it.process_of("b") == 1


def test_an_empty_process_ends_when_it_was_quiet() -> None:
    it = full()
    it.leave("a")

    assert it.leave("b") == [EndIfQuiet(1)]
    assert it.quiet(1) == [End(1)]
    assert it.is_empty


def test_a_process_that_is_used_again_does_not_end() -> None:
    it = full()
    it.leave("a")
    it.leave("b")
    it.want("c")

    assert it.quiet(1) == []
    assert not it.is_empty


def test_a_dead_process_holds_nobody() -> None:
    it = full()

    it.died(1)

    assert it.process_of("a") is None
    assert it.want("a") == [Begin(2)]


def test_who_wants_to_come_back_from_a_dead_process_is_paced() -> None:
    it = fleet(most=4, openings=2)
    for who in "abcd":
        it.want(who)
    it.is_up(1)
    for who in "abcd":
        it.opened(who)
    it.died(1)
    for who in "abcd":
        it.want(who)

    assert it.is_up(2) == [EndIfQuiet(2), Place("a", 2), Place("b", 2)]


def test_a_failed_start_refuses_those_who_waited_for_it() -> None:
    it = fleet()
    it.want("a")
    it.want("b")

    assert it.failed(1) == [Refuse("a"), Refuse("b")]
    assert it.is_empty
    assert it.want("c") == [Begin(2)]


def test_a_failed_start_refuses_nobody_who_has_room_elsewhere() -> None:
    it = fleet(most=4, openings=3)
    for who in "abcde":
        it.want(who)
    it.is_up(1)  # And "d" waits for its turn to open, as "e" for the second process.

    assert it.failed(2) == [Refuse("e")]


def test_a_process_that_nobody_waits_for_any_more_ends_before_it_is_up() -> None:
    it = fleet(most=1)
    it.want("a")
    it.want("b")

    assert it.leave("a") == [End(1)]
    assert it.is_up(2) == [EndIfQuiet(2), Place("b", 2)]


def test_a_doubted_process_gets_nobody_until_it_is_trusted() -> None:
    it = full()
    assert it.doubt(1) == []
    it.leave("a")

    assert it.want("c") == []
    assert it.trust(1) == [Place("c", 1)]


def test_a_process_is_doubted_as_long_as_anybody_doubts_it() -> None:
    it = full()
    it.doubt(1)
    it.doubt(1)
    it.leave("a")
    it.want("c")

    assert it.trust(1) == []
    assert it.trust(1) == [Place("c", 1)]


@pytest.mark.parametrize("event", ["died", "quiet", "doubt", "trust"])
def test_what_is_told_of_a_process_that_is_gone_is_ignored(event: str) -> None:
    assert getattr(fleet(), event)(7) == []


class Machine(RuleBasedStateMachine):
    """Any events in any order: nobody is forgotten, and no bound is passed."""

    @initialize(most=st.integers(1, 4), openings=st.integers(1, 3), beginnings=st.integers(1, 3))
    def begin(self, most: int, openings: int, beginnings: int) -> None:
        self.most, self.openings, self.beginnings = most, openings, beginnings
        self.fleet = Fleet(most, openings=openings, beginnings=beginnings)
        self.beginning: set[int] = set()
        self.up: set[int] = set()
        self.where: dict[int, int] = {}
        self.opening: set[int] = set()
        self.waiting: list[int] = []
        self.doubts: list[int] = []
        self.guests = 0

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Begin(process):
                    assert process not in self.beginning | self.up
                    self.beginning.add(process)
                case Place(int() as who, process):
                    assert process in self.up
                    assert who == self.waiting.pop(0)
                    self.where[who] = process
                    self.opening.add(who)
                case Refuse(int() as who):
                    self.waiting.remove(who)
                case End(process):
                    assert process not in self.where.values()
                    assert process in self.beginning | self.up
                    self.beginning.discard(process)
                    self.up.discard(process)

    @rule()
    def want(self) -> None:
        self.guests += 1
        self.waiting.append(self.guests)
        self.take(self.fleet.want(self.guests))

    @precondition(lambda self: self.guests)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        who = data.draw(st.integers(1, self.guests))
        if who in self.waiting:
            self.waiting.remove(who)
        self.where.pop(who, None)
        self.opening.discard(who)
        self.take(self.fleet.leave(who))

    @precondition(lambda self: self.opening)
    @rule(data=st.data())
    def opened(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(self.opening)))
        self.opening.remove(who)
        self.take(self.fleet.opened(who))

    @precondition(lambda self: self.beginning)
    @rule(data=st.data(), well=st.booleans())
    def come_up(self, data: st.DataObject, well: bool) -> None:
        process = data.draw(st.sampled_from(sorted(self.beginning)))
        self.beginning.remove(process)
        if well:
            self.up.add(process)
        self.take(self.fleet.is_up(process) if well else self.fleet.failed(process))

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.up)))
        self.up.remove(process)
        for who in [who for who, where in self.where.items() if where == process]:
            del self.where[who]
            self.opening.discard(who)
        self.doubts = [doubted for doubted in self.doubts if doubted != process]
        self.take(self.fleet.died(process))

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def quiet(self, data: st.DataObject) -> None:
        self.take(self.fleet.quiet(data.draw(st.sampled_from(sorted(self.up)))))

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def doubt(self, data: st.DataObject) -> None:
        self.doubts.append(data.draw(st.sampled_from(sorted(self.up))))
        self.take(self.fleet.doubt(self.doubts[-1]))

    @precondition(lambda self: self.doubts)
    @rule()
    def trust(self) -> None:
        self.take(self.fleet.trust(self.doubts.pop()))

    @invariant()
    def bounds_are_kept(self) -> None:
        held = list(self.where.values())
        assert all(held.count(process) <= self.most for process in self.up)
        assert len(self.opening) <= self.openings
        assert len(self.beginning) <= self.beginnings

    @invariant()
    def nobody_is_forgotten(self) -> None:
        can_come = self.beginning or self.opening or self.doubts
        assert not self.waiting or can_come, "they wait, and nothing will happen"


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_whatever_happens = Machine.TestCase
