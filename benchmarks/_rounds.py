"""Peers take turns, so that what else the machine does weighs on all of them."""

from __future__ import annotations

import collections
import gc
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Values", "alternate", "in_turn"]

Values = dict[tuple[str, str], list[float]]
"""The values of (what, peer), one for each round."""

_T = TypeVar("_T")


def in_turn(peers: Sequence[_T], rounds: int) -> Iterator[list[_T]]:
    """Iterate over the orders in which rounds take the peers: another one is first each time.

    >>> list(in_turn("abc", 2))
    [['a', 'b', 'c'], ['b', 'c', 'a']]
    """
    for number in range(rounds):
        first = number % len(peers)
        yield [*peers[first:], *peers[:first]]


def alternate(peers: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int) -> Values:
    """Measure each peer once in each round.

    Args:
        peers: by name, what measures one: it returns its values by what they are of.
        rounds: how many.
    """
    values: Values = collections.defaultdict(list)
    for order in in_turn(list(peers), rounds):
        for peer in order:
            gc.collect()  # Nobody pays for what another one left.
            for what, value in peers[peer]().items():
                values[what, peer].append(value)
    # In the order of the measures and the peers, whoever came first.
    whats = list(dict.fromkeys(what for what, _ in values))
    return {
        (what, peer): values[what, peer]
        for what in whats
        for peer in peers
        if (what, peer) in values
    }
