"""The turns of a pool when its members leave, hang, die and are replaced.

Each test plays one case to its end; drawn histories of all cases are in `test_pool_logic`.
"""

from __future__ import annotations

from typing import Any

import pytest

from agy_actors import AgentDeadError, Routing
from agy_actors._supervision.restart_policy import Limits
from tests.supervision.pool_world import World

QUEUED = [Routing.ROUND_ROBIN, Routing.RANDOM, Routing.CONSISTENT_HASH]
"""The routings in which turns wait for one member each."""

SINGLE = [Routing.SHORTEST_QUEUE, *QUEUED]
MANY = Limits(max_restarts=100, within=1000.0)


def up(size: int, routing: Routing, **options: Any) -> World:
    """Return a pool whose first members are ready."""
    world = World(size, routing, **{"limits": MANY, **options})
    for member in world.all("starting"):
        world.become_ready(member)
    return world


def replace(world: World, member: str, by: str) -> None:
    """End a member, and let its replacement start."""
    world.die(member)
    (number,) = world.scheduled
    world.start_scheduled(number)
    world.become_ready(by)


@pytest.mark.parametrize("routing", SINGLE)
def test_turns_that_wait_for_a_member_that_leaves_go_to_the_others(routing: Routing) -> None:
    world = up(2, routing)
    turns = [world.ask(f"key {number}") for number in range(12)]
    leaves = world.pool.by_member["p-2"]
    assert len(leaves.queue) >= 2 or routing is Routing.SHORTEST_QUEUE

    world.resize(1)
    while world.has:
        world.reply(next(iter(world.has)))

    assert [world.answers[turn] for turn in turns] == [1] * 12
    taken = [member for _, member in world.handed]
    assert taken.count("p-2") == 1
    assert taken.count("p-1") == 11
    assert world.members["p-2"] == "closing"


@pytest.mark.parametrize("routing", SINGLE)
def test_a_turn_whose_member_died_comes_before_the_waiting_turns(routing: Routing) -> None:
    world = up(1, routing)
    first, second, _ = (world.ask("key") for _ in range(3))
    assert world.has["p-1"] is first

    replace(world, "p-1", by="p-2")

    assert world.has["p-2"] is first
    world.reply("p-2")
    assert world.has["p-2"] is second


@pytest.mark.parametrize("routing", SINGLE)
def test_a_turn_that_an_ended_member_refused_comes_before_the_waiting_turns(
    routing: Routing,
) -> None:
    world = up(1, routing)
    _, refused, waits = (world.ask("key") for _ in range(3))
    world.reply("p-1", runs_on=True)
    world.members["p-1"] = "closing"  # It was ended from outside, which the pool does not know yet.
    world.free("p-1")
    assert world.handed[-1] == (refused, "p-1")

    replace(world, "p-1", by="p-2")

    assert world.has["p-2"] is refused
    world.reply("p-2")
    assert world.has["p-2"] is waits


def test_the_part_of_a_broadcast_that_a_hung_member_had_comes_before_the_next() -> None:
    world = up(1, Routing.BROADCAST)
    first, second = world.ask(), world.ask()

    world.hang("p-1")
    world.become_ready("p-1")

    for turn in (first, second):
        broadcast = world.has["p-1"].broadcast
        assert broadcast is not None
        assert broadcast.turn is turn
        world.reply("p-1")
        assert world.answers[turn] == 1


@pytest.mark.parametrize("routing", Routing)
def test_a_turn_has_at_most_four_members(routing: Routing) -> None:
    world = up(1, routing)
    turn = world.ask("key")

    for number in range(1, 5):
        assert not world.answers[turn]
        assert f"p-{number}" in world.has
        replace(world, f"p-{number}", by=f"p-{number + 1}")

    assert isinstance(world.outcomes[turn], AgentDeadError)
    assert not world.has
    assert len(world.handed) == 4


@pytest.mark.parametrize("routing", Routing)
def test_a_turn_that_must_not_move_is_answered_with_its_members_death(routing: Routing) -> None:
    world = up(1, routing)
    turn = world.ask("key")

    world.die("p-1", movable=False)

    assert isinstance(world.outcomes[turn], AgentDeadError)


@pytest.mark.parametrize("routing", Routing)
def test_a_member_gets_its_next_turn_only_when_it_is_idle(routing: Routing) -> None:
    world = up(1, routing)
    first, second = world.ask("key"), world.ask("key")

    world.reply("p-1", runs_on=True)

    assert world.answers[first]
    assert len(world.handed) == 1
    world.free("p-1")
    assert len(world.handed) == 2
    world.reply("p-1")
    assert world.answers[second]


def test_replacements_in_a_row_are_counted_for_their_backoff() -> None:
    world = up(1, Routing.SHORTEST_QUEUE, limits=Limits(max_restarts=100, within=10.0))

    for number in range(1, 4):
        replace(world, f"p-{number}", by=f"p-{number + 1}")
    world.now += 20.0
    replace(world, "p-4", by="p-5")

    assert [delay.failures for delay in world.delays] == [1, 2, 3, 1]


def test_members_that_do_not_start_while_a_pool_grows_are_counted_for_their_backoff() -> None:
    world = up(1, Routing.SHORTEST_QUEUE)
    world.resize(2)

    for number in range(2, 5):
        world.die(f"p-{number}")
        world.start_scheduled(1)

    assert [delay.failures for delay in world.delays] == [1, 2, 3]
    assert all(delay.at_least > 0 for delay in world.delays)


@pytest.mark.parametrize("routing", QUEUED)
def test_turns_that_wait_for_a_slot_whose_member_does_not_start_go_to_the_others(
    routing: Routing,
) -> None:
    world = up(2, routing)
    turns = [world.ask(f"key {number}") for number in range(8)]
    world.die("p-2")
    world.start_scheduled(1)

    world.die("p-3")
    while world.has:
        world.reply(next(iter(world.has)))

    assert [world.answers[turn] for turn in turns] == [1] * 8


def test_a_turn_whose_asker_gave_up_is_sent_to_no_member() -> None:
    world = up(1, Routing.SHORTEST_QUEUE)
    _, given_up, waits = (world.ask() for _ in range(3))

    world.cancel(given_up)
    world.reply("p-1")

    assert world.has["p-1"] is waits


def test_a_broadcast_whose_asker_gave_up_is_cancelled_at_its_members() -> None:
    world = up(2, Routing.BROADCAST)
    turn = world.ask()
    world.reply("p-1")

    world.cancel(turn)

    assert world.stopped == [world.has["p-2"]]
