"""What a pool decides, without threads: examples, and drawn histories of all that may happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors import AgentDeadError, DeadlockError, ModelError, Routing
from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision._decisions import Limits
from agy_actors._supervision.pool_state import PoolPhase
from tests.simulation.effort import times
from tests.supervision.pool_world import World

if TYPE_CHECKING:
    from collections.abc import Callable

HISTORIES = times(2000)
"""Drawn histories of each property, in the default suite."""

ROUTINGS = list(Routing)


def up(size: int = 2, routing: Routing = Routing.SHORTEST_QUEUE, **options: Any) -> World:
    """Return a pool whose first members are up."""
    world = World(size, routing, **options)
    for member in world.all("starting"):
        world.come_up(member)
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
    world.come_up("p-5")
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
        world.come_up(f"p-{number + 1}")

    assert (world.failed is None) == by_turn


# Drawn histories.


def _pick(candidates: list[Any], number: int) -> list[Any]:
    return [candidates[number % len(candidates)]] if candidates else []


def _ask(world: World, number: int) -> None:
    if world.lane:  # As the mailbox: it waits there otherwise.
        world.ask(f"key {number % 7}")


def _ask_nested(world: World, number: int) -> None:
    for member in _pick(world.busy(), number):
        world.ask(f"key {number % 7}", member)


def _come_up(world: World, number: int) -> None:
    for member in _pick(world.all("starting", "down"), number):
        world.come_up(member)


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
    """Have somebody end a member, which the pool learns when it hands it a turn."""
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


def _tick(world: World, number: int) -> None:
    world.tell(steps.Tick(number % 8, world.now))


def _wait(world: World, number: int) -> None:
    world.now += number / 3


def _drain(world: World, number: int) -> None:
    if number % 4 == 0:
        world.tell(steps.Ending(drain=True))


DEEDS: list[Callable[[World, int], None]] = [
    _ask,
    _ask,
    _ask,
    _ask_nested,
    _cancel,
    _come_up,
    _come_up,
    _come_up,
    _die,
    _disconnect,
    _drain,
    _fail_start,
    _free,
    _go_down,
    _hang,
    _reply,
    _reply,
    _resize,
    _start_scheduled,
    _start_scheduled,
    _tick,
    _wait,
]

HISTORY = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 31)), max_size=40)
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
    for deed, number in history:
        deed(world, number)
    return world


def to_start(world: World) -> bool:
    return bool(world.scheduled or world.all("starting", "down"))


def go_on(world: World, *, starts: bool) -> None:
    """Have everything go well from now on, or all but the starts of members."""
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
                world.come_up(member)
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
def test_a_pool_whose_members_start_again_answers_all_and_has_the_size_that_was_asked_for(
    routing: Routing, size: int, history: list[Any]
) -> None:
    world = drawn(routing, size, history)

    go_on(world, starts=True)

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

    go_on(world, starts=False)

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
