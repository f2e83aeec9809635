"""Shortens lists of lines that repeat. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Block", "blocks", "group_similar", "without_numbers"]

_LONGEST = 500
"""The most lines in a repeated block. Arbitrary: a few lines for each of a hundred actors that take
turns."""

_TRIES = 20
"""How many lengths to try for a block that begins at a line. Arbitrary: it limits the time that
is spent where a line repeats and the lines after it do not."""

_SAVED = 3
"""The fewest lines that shortening a repetition must save. Arbitrary."""

_SHOWN = 3
"""Lines to show of each group of similar lines. Arbitrary."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class Block(NamedTuple):
    """A range of lines, and how many times in a row it occurs."""

    start: int
    length: int
    times: int


def blocks(lines: Sequence[str]) -> Iterator[Block]:
    """Divide lines into blocks. Blocks that repeat are as short as possible.

    >>> list(blocks("abxyxyxyxyc"))
    [Block(start=0, length=2, times=1), Block(start=2, length=2, times=4), Block(start=10, length=1, times=1)]
    """  # noqa: E501 (one line of output)
    numbers: dict[str, int] = {}
    keys = [numbers.setdefault(line, len(numbers)) for line in lines]
    following = _next_of_each(keys)
    start = position = 0
    while position < len(keys):
        length, times = _repetition(keys, following, position)
        if times == 1:
            position += 1
            continue
        if start < position:
            yield Block(start, position - start, 1)
        yield Block(position, length, times)
        start = position = position + length * times
    if start < position:
        yield Block(start, position - start, 1)


def _next_of_each(keys: Sequence[int]) -> list[int]:
    """Return, for each position, the next one with the same key, or the end."""
    latest: dict[int, int] = {}
    following = [len(keys)] * len(keys)
    for position in range(len(keys) - 1, -1, -1):
        following[position] = latest.get(keys[position], len(keys))
        latest[keys[position]] = position
    return following


def _repetition(keys: Sequence[int], following: Sequence[int], position: int) -> tuple[int, int]:
    """Return the length of the shortest repeated block here, and how many times it occurs."""
    other = position
    for _ in range(_TRIES):
        other = following[other]
        length = other - position
        if other == len(keys) or length > _LONGEST:
            break
        block = keys[position:other]
        times = 1
        while keys[position + times * length : position + (times + 1) * length] == block:
            times += 1
        if (times - 1) * length >= _SAVED:
            return length, times
    return 1, 1


def without_numbers(line: str) -> str:
    """Return a line with its numbers replaced. Similar lines have the same result."""
    return _NUMBER.sub("#", line)


def group_similar(lines: Sequence[str]) -> list[str]:
    """Keep the first of the lines that differ only in numbers, and count the others.

    >>> group_similar(["a 1 waits", "b waits", "a 2 waits", "a 3 waits", "a 4 waits", "a 5 waits"])
    ['a 1 waits', 'a 2 waits', 'a 3 waits', '(2 more like the last)', 'b waits']
    """
    groups: dict[str, list[str]] = {}
    for line in lines:
        groups.setdefault(without_numbers(line), []).append(line)
    shown = []
    for group in groups.values():
        more = len(group) - _SHOWN
        shown += group if more <= 1 else [*group[:_SHOWN], f"({more} more like the last)"]
    return shown
