"""The decisions of a pool, without threads: examples, and drawn histories of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors import AgentDeadError, DeadlockError, ModelError, Routing, TurnTimeout
from agy_actors._agents.pool_overdue import held_up_turns
from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision.pool_state import PoolPhase
from agy_actors._supervision.restart_policy import Limits
from tests.simulation.effort import times
from tests.supervision.pool_world import World

if TYPE_CHECKING:
    from collections.abc import Callable

HISTORIES = times(2000)
"""Drawn histories of each property, in the default suite."""

ROUTINGS = list(Routing)


def up(size: int = 2, routing: Routing = Routing.SHORTEST_QUEUE, **options: Any) -> World:
    """Return a pool whose first members are ready."""
    world = World(size, routing, **options)
    for member in world.all("starting"):
        world.become_ready(member)
    assert world.ready
    return world


def test_a_nested_turn_that_only_a_growth_could_take_fails_after_three_failed_starts() -> None:
    world = up(1, max_size=2)
    world.ask()
    world.tell(steps.Tick(1, world.now))
    nested = world.ask(None, "p-1")

    for member in ("p-2", "p-3"):
        world.die(member)
        world.start_scheduled(1)
    assert not world.answers[nested]
    world.die("p-4")

    assert isinstance(world.outcomes[nested], DeadlockError)
    world.start_scheduled(1)
    world.become_ready("p-5")
    late = world.ask(None, "p-1")
    assert world.has["p-5"] is late


@pytest.mark.parametrize("by_turn", [True, False])
def test_members_that_turns_crash_do_not_count_towards_the_end_of_a_pool(*, by_turn: bool) -> None:
    world = up(1, limits=Limits(max_restarts=0, within=10.0))

    for number in range(1, 6):
        world.die(f"p-{number}", by_turn=by_turn)
        if world.failed is not None:
            break
        world.start_scheduled(0)
        world.become_ready(f"p-{number + 1}")

    assert (world.failed is None) == by_turn


def test_a_turn_whose_time_is_over_is_answered_while_it_waits_and_not_while_a_member_has_it() -> (
    None
):
    world = up(1)
    running, waiting = world.ask(), world.ask()
    world.go_down("p-1")
    error = TurnTimeout("its time is over")
    assert held_up_turns(world.pool) == [waiting]

    for turn in (running, waiting):
        world.tell(steps.Overdue(turn, error))

    assert world.outcomes == {waiting: error}
    world.become_ready("p-1")
    assert held_up_turns(world.pool) == []
    world.reply("p-1")
    assert world.answers[running] == 1


# Drawn histories.


def _pick(candidates: list[Any], number: int) -> list[Any]:
    return [candidates[number % len(candidates)]] if candidates else []


def _ask(world: World, number: int) -> None:
    if world.lane:  # As in the mailbox, where it waits otherwise.
        world.ask(f"key {number % 7}")


def _ask_nested(world: World, number: int) -> None:
    for member in _pick(world.busy(), number):
        world.ask(f"key {number % 7}", member)


def _become_ready(world: World, number: int) -> None:
    for member in _pick(world.all("starting", "down"), number):
        world.become_ready(member)


def _fail_start(world: World, number: int) -> None:
    for member in _pick(world.all("starting"), number):
        world.die(member)


def _die(world: World, number: int) -> None:
    for member in _pick(world.all("up", "down", "closing"), number):
        world.die(member, late=bool(number % 2), movable=number % 3 > 0)


def _go_down(world: World, number: int) -> None:
    for member in _pick(world.all("up"), number):
        world.go_down(member)


def _hang(world: World, number: int) -> None:
    for member in _pick([m for m in world.has if world.members[m] == "up"], number):
        world.hang(member)


def _disconnect(world: World, number: int) -> None:
    """End a member from outside, which the pool learns when it sends it a turn."""
    for member in _pick([m for m in world.all("up") if m not in world.has], number):
        world.members[member] = "closing"


def _reply(world: World, number: int) -> None:
    for member in _pick(world.busy(), number):
        error = ModelError("refused") if number % 5 == 0 else None
        world.reply(member, error=error, runs_on=number % 3 == 0)


def _free(world: World, number: int) -> None:
    for member in _pick(sorted(world.runs_on), number):
        world.free(member)


def _start_scheduled(world: World, number: int) -> None:
    for slot in _pick(list(world.scheduled), number):
        world.start_scheduled(slot)


def _resize(world: World, number: int) -> None:
    world.resize(1 + number % 5)


def _cancel(world: World, number: int) -> None:
    for turn in _pick(list(world.pool.turns), number):
        world.cancel(turn)


def _overdue(world: World, number: int) -> None:
    held_up = held_up_turns(world.pool)
    for turn in _pick([*held_up, *world.has.values()], number):
        world.tell(steps.Overdue(turn, TurnTimeout("its time is over")))


def _tick(world: World, number: int) -> None:
    world.tell(steps.Tick(number % 8, world.now))


def _wait(world: World, number: int) -> None:
    world.now += number / 3


def _drain(world: World, number: int) -> None:
    if number % 4 == 0:
        world.tell(steps.Ending(drain=True))


STEPS: list[Callable[[World, int], None]] = [
    _ask,
    _ask,
    _ask,
    _ask_nested,
    _cancel,
    _become_ready,
    _become_ready,
    _become_ready,
    _die,
    _disconnect,
    _drain,
    _fail_start,
    _free,
    _go_down,
    _hang,
    _overdue,
    _reply,
    _reply,
    _resize,
    _start_scheduled,
    _start_scheduled,
    _tick,
    _wait,
]

HISTORY = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 31)), max_size=40)
PROPERTY = hypothesis.settings(
    max_examples=HISTORIES,
    deadline=None,
    print_blob=False,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


def drawn(routing: Routing, size: int, history: list[Any]) -> World:
    """Return a pool after a history."""
    scales = None if routing is Routing.BROADCAST else size + 3
    world = World(size, routing, max_size=scales, shrink_after=5.0)
    for step, number in history:
        step(world, number)
    return world


def to_start(world: World) -> bool:
    return bool(world.scheduled or world.all("starting", "down"))


def let_finish(world: World, *, starts: bool) -> None:
    """Let everything succeed from now on, or everything but the starts of members."""
    for _ in range(200):
        steady = not world.pool.turns and not world.has and len(world.settled) == world.requests
        if steady and not world.all("closing") and (not starts or not to_start(world)):
            break
        for member in world.all("closing"):
            world.die(member)
        for member in world.all("down", "starting"):
            if member not in world.members:
                continue
            if world.members[member] == "down" or starts:
                world.become_ready(member)
            else:
                world.die(member)
        for number in list(world.scheduled):
            world.start_scheduled(number)
        for member in sorted(world.runs_on):
            world.free(member)
        for member in world.busy():
            world.reply(member)
        world.now += 0.1
    else:
        pytest.fail(f"it goes on for ever: {world.pool}")


@PROPERTY
@given(routing=st.sampled_from(ROUTINGS), size=st.integers(1, 4), history=HISTORY)
def test_a_pool_whose_members_start_again_answers_all_turns_and_has_the_requested_size(
    routing: Routing, size: int, history: list[Any]
) -> None:
    world = drawn(routing, size, history)

    let_finish(world, starts=True)

    assert [world.answers[turn] for turn in world.asked] == [1] * len(world.asked)
    assert len(world.settled) == world.requests
    pool = world.pool
    if pool.phase is PoolPhase.UP:
        assert sorted(world.members) == sorted(str(s.member) for s in pool.slots.values())
        assert len(world.all("up")) == pool.wanted
        assert pool.least <= pool.wanted
    else:
        assert pool.phase in (PoolPhase.DRAINING, PoolPhase.ENDED)


@PROPERTY
@given(routing=st.sampled_from(ROUTINGS), size=st.integers(1, 4), history=HISTORY)
def test_no_turn_waits_for_members_that_never_start(
    routing: Routing, size: int, history: list[Any]
) -> None:
    world = drawn(routing, size, history)

    let_finish(world, starts=False)

    assert [world.answers[turn] for turn in world.asked] == [1] * len(world.asked)
    assert len(world.settled) == world.requests


@PROPERTY
@given(routing=st.sampled_from(ROUTINGS), size=st.integers(1, 4), history=HISTORY)
def test_a_pool_that_ends_at_any_moment_answers_all(
    routing: Routing, size: int, history: list[Any]
) -> None:
    world = drawn(routing, size, history)

    world.end()

    assert [world.answers[turn] for turn in world.asked] == [1] * len(world.asked)
    assert len(world.settled) == world.requests
    assert not world.members
    late = world.ask("late")
    assert isinstance(world.outcomes[late], AgentDeadError)
