"""Measures peers alternately, so that other load on the machine affects all of them."""

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
    """Iterate over the orders of the peers in the rounds: another one is first each time.

    >>> list(in_turn("abc", 2))
    [['a', 'b', 'c'], ['b', 'c', 'a']]
    """
    for number in range(rounds):
        first = number % len(peers)
        yield [*peers[first:], *peers[:first]]


def alternate(peers: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int) -> Values:
    """Measure each peer once in each round.

    Args:
        peers: the functions that measure a peer, by its name. They return values by measure.
        rounds: the number of rounds.
    """
    values: Values = collections.defaultdict(list)
    for order in in_turn(list(peers), rounds):
        for peer in order:
            gc.collect()  # No peer pays for the garbage of another.
            for what, value in peers[peer]().items():
                values[what, peer].append(value)
    # In the order of the measures and the peers, not of the round.
    whats = list(dict.fromkeys(what for what, _ in values))
    return {
        (what, peer): values[what, peer]
        for what in whats
        for peer in peers
        if (what, peer) in values
    }
