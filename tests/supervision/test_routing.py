from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agy_actors import Routing
from agy_actors._supervision.routing import Load, Router

LOADS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=8).map(
    lambda found: [Load(number, *load) for number, load in enumerate(found)]
)
CHOOSING = [routing for routing in Routing if routing is not Routing.BROADCAST]


def idle(size: int) -> list[Load]:
    return [Load(number, 0, up=True) for number in range(size)]


@given(loads=LOADS, routing=st.sampled_from(CHOOSING), key=st.text())
def test_a_choice_is_one_of_the_members(loads: list[Load], routing: Routing, key: str) -> None:
    number = Router(routing).choose(loads, key)

    assert number is None or number in [load.number for load in loads]
    assert Router(routing).choose([], key) is None


@given(loads=LOADS)
def test_by_shortest_queue_only_the_free_are_chosen(loads: list[Load]) -> None:
    number = Router(Routing.SHORTEST_QUEUE).choose(loads)

    free = [load.number for load in loads if load.up and not load.waiting]
    assert (number in free) if free else (number is None)


@given(loads=LOADS, routing=st.sampled_from([Routing.ROUND_ROBIN, Routing.RANDOM]))
def test_members_that_are_down_are_skipped_unless_all_are(
    loads: list[Load], routing: Routing
) -> None:
    number = Router(routing).choose(loads)

    assert number is not None
    assert loads[number].up or not any(load.up for load in loads)


@given(size=st.integers(1, 8), rounds=st.integers(1, 4))
def test_by_round_robin_all_members_have_the_same_number(size: int, rounds: int) -> None:
    router = Router(Routing.ROUND_ROBIN)

    chosen = [router.choose(idle(size)) for _ in range(size * rounds)]

    assert chosen == [*range(size)] * rounds


def test_by_chance_all_members_have_about_the_same_number() -> None:
    router = Router(Routing.RANDOM, random.Random(7))

    counts = Counter(router.choose(idle(4)) for _ in range(4000))

    assert all(900 < counts[number] < 1100 for number in range(4))


@given(size=st.integers(1, 8), key=st.text())
def test_by_consistent_hash_a_key_keeps_its_member(size: int, key: str) -> None:
    one, other = Router(Routing.CONSISTENT_HASH), Router(Routing.CONSISTENT_HASH)

    chosen = one.choose(idle(size), key)

    assert other.choose([load._replace(waiting=5) for load in idle(size)], key) == chosen
    assert one.choose(idle(size + 1), key) in (chosen, size)  # It may move to the new one.


def test_by_consistent_hash_keys_are_spread() -> None:
    router = Router(Routing.CONSISTENT_HASH)

    counts = Counter(router.choose(idle(4), str(key)) for key in range(4000))

    assert all(850 < counts[number] < 1150 for number in range(4))
