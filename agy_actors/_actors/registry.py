"""Registers actors with pykka, and removes them in a time that does not grow with their number.

`pykka.ActorRegistry` has a list, and `unregister` goes through it twice (pykka 4.5). With 4,000
actors that takes a third of a millisecond, under a lock that all actors share: more than the rest
of an actor's end.

The list is in the order of registration. Each of our refs has a number that grows in that order,
so that a binary search finds it. Two threads that register at the same moment may do so in the
other order, so the neighbouring places are checked, too. If it is not there, pykka removes it.

It rests on two private attributes of `pykka.ActorRegistry`, its list and its lock. If they are
missing, pykka does all the work.
"""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING, Any

import pykka

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["new_number", "register", "unregister"]

_logger = logging.getLogger("pykka")


_numbers = count(1)

_NUMBER = "_registration"
"""The attribute of our refs that holds their number."""

_BESIDE = 8
"""The most places that are checked on either side, and refs of other kinds that are skipped.
Arbitrary: usually more than the threads that register at the same moment."""


def new_number() -> int:
    """Return the number of the next ref that is registered."""
    return next(_numbers)


def register(ref: pykka.ActorRef[Any]) -> None:
    """Add an actor to pykka's registry."""
    setattr(ref, _NUMBER, new_number())
    pykka.ActorRegistry.register(ref)


def unregister(ref: pykka.ActorRef[Any]) -> None:
    """Remove an actor from pykka's registry, if it is there."""
    if _remove(ref):
        _logger.debug("Unregistered %s", ref)  # pykka's words
    else:
        pykka.ActorRegistry.unregister(ref)


def _remove(ref: pykka.ActorRef[Any]) -> bool:
    lock = getattr(pykka.ActorRegistry, "_actor_refs_lock", None)
    refs = getattr(pykka.ActorRegistry, "_actor_refs", None)
    if lock is None or not isinstance(refs, list):
        return False
    with lock:
        position = _find(refs, ref)
        if position is not None:
            del refs[position]
    return position is not None


def _find(refs: Sequence[pykka.ActorRef[Any]], ref: pykka.ActorRef[Any]) -> int | None:
    if refs and refs[-1] is ref:  # An actor that lives briefly is often the youngest.
        return len(refs) - 1
    low, high = 0, len(refs)
    wanted: int = getattr(ref, _NUMBER)
    while low < high:
        middle = (low + high) // 2
        number = _number_at(refs, middle, low)
        if number is None:
            return None
        if number < wanted:
            low = middle + 1
        else:
            high = middle
    for position in range(max(0, low - _BESIDE), min(len(refs), low + _BESIDE + 1)):
        if refs[position] is ref:
            return position
    return None


def _number_at(refs: Sequence[pykka.ActorRef[Any]], position: int, low: int) -> int | None:
    """Return the number of the ref there, or of the last one before it that has one."""
    for before in range(position, max(low, position - _BESIDE) - 1, -1):
        number: int | None = getattr(refs[before], _NUMBER, None)
        if number is not None:
            return number
    return None
