"""The waits that can never end: the pure part of deadlock detection."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import hypothesis
from hypothesis import strategies as st

from agy_actors._actors.deadlock import CAN_COME, AllOf, AnyOf, Need, Wait, find_stuck

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WAITS = [Wait(None, (), math.inf, lambda: None) for _ in range(5)]  # type: ignore[arg-type] # of nobody

needs = st.recursive(
    st.sampled_from([*WAITS, CAN_COME, AnyOf(())]),
    lambda parts: st.builds(
        lambda kind, chosen: kind(tuple(chosen)),
        st.sampled_from([AllOf, AnyOf]),
        st.lists(parts, min_size=1, max_size=3),
    ),
    max_leaves=4,
)


def can_come(need: Need, ended: Sequence[Wait]) -> bool:
    if isinstance(need, Wait):
        return need in ended
    results = [can_come(part, ended) for part in need.parts]
    return all(results) if isinstance(need, AllOf) else any(results)


def can_end(wait: Wait, graph: Mapping[Wait, Need]) -> bool:
    """Return whether there is an order in which waits end one after another, including this one."""
    for size in range(len(WAITS) + 1):
        for order in itertools.permutations(WAITS, size):
            if wait in order and all(
                can_come(graph[other], order[:position]) for position, other in enumerate(order)
            ):
                return True
    return False


@hypothesis.given(graph=st.fixed_dictionaries(dict.fromkeys(WAITS, needs)))
def test_a_wait_is_stuck_if_no_order_ends_it(graph: dict[Wait, Any]) -> None:
    for wait in WAITS:
        stuck = find_stuck(graph, wait)

        assert bool(stuck) is not can_end(wait, graph)
        assert not stuck or stuck[0] is wait
        assert not any(can_end(other, graph) for other in stuck)


def test_a_circle_is_stuck_and_unrelated_waits_are_left_out() -> None:
    first, second, third, fourth, fifth = WAITS
    graph: dict[Wait, Need] = {
        first: AllOf((second, fourth)),
        second: AnyOf((third,)),
        third: AllOf((first,)),
        fourth: CAN_COME,
        fifth: AllOf((first,)),
    }

    assert set(find_stuck(graph, first)) == {first, second, third}
    assert set(find_stuck(graph, fifth)) == {first, second, third, fifth}
    assert find_stuck(graph, fourth) == []


def test_one_way_out_is_enough() -> None:
    first, second, third, fourth, fifth = WAITS
    graph: dict[Wait, Need] = {
        first: AnyOf((second, third)),
        second: AllOf((first,)),
        third: AllOf((fourth, fifth)),
        fourth: CAN_COME,
        fifth: AnyOf((first, CAN_COME)),
    }

    assert all(find_stuck(graph, wait) == [] for wait in WAITS)
