"""Removing actors from pykka's registry: the right ones, at the same cost for any number."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from agy_actors._actors import registry
from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.actor_ref import AsyncioActorRef

if TYPE_CHECKING:
    from collections.abc import Iterator

_comparisons: list[object] = []


class CountedRef(AsyncioActorRef):
    """A ref that notes each comparison with another."""

    def __eq__(self, other: object) -> bool:
        _comparisons.append(other)
        return self is other

    __hash__ = AsyncioActorRef.__hash__


class ForeignRef(pykka.ActorRef[Any]):
    """A ref of an actor of another library."""


class Foreign(pykka.ThreadingActor):
    """An actor of pykka's own, which never starts."""


@pytest.fixture(name="refs")
def refs_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[pykka.ActorRef[Any]]]:
    """Give pykka's registry a separate list, without the actors of other tests."""
    refs: list[pykka.ActorRef[Any]] = []
    monkeypatch.setattr(pykka.ActorRegistry, "_actor_refs", refs)
    _comparisons.clear()
    yield refs
    refs.clear()  # Their actors never ran, and cannot be stopped.


def register(count: int) -> list[CountedRef]:
    """Register actors that never start."""
    refs = [CountedRef(AsyncioActor()) for _ in range(count)]
    for ref in refs:
        registry.register(ref)
    return refs


def register_foreign(count: int) -> list[ForeignRef]:
    refs = [ForeignRef(Foreign()) for _ in range(count)]
    for ref in refs:
        pykka.ActorRegistry.register(ref)
    return refs


@pytest.mark.parametrize("order", ["oldest first", "youngest first", "in any order"])
def test_removing_an_actor_reads_no_other_actor(
    refs: list[pykka.ActorRef[Any]], order: str
) -> None:
    registered = register(500)
    leaving = registered[::-1] if order == "youngest first" else list(registered)
    if order == "in any order":
        random.Random(1).shuffle(leaving)

    for number, ref in enumerate(leaving, start=1):
        registry.unregister(ref)
        assert ref not in set(refs)
        assert len(refs) == 500 - number

    # The sets compare only items with the same hash.
    assert len(_comparisons) < 50


def test_the_remaining_actors_keep_their_order(refs: list[pykka.ActorRef[Any]]) -> None:
    registered = register(100)
    leaving = random.Random(2).sample(registered, 50)

    for ref in leaving:
        registry.unregister(ref)

    assert refs == [ref for ref in registered if ref not in set(leaving)]


@pytest.mark.parametrize("foreign", [1, 100])
def test_actors_of_pykka_do_not_prevent_a_removal(
    refs: list[pykka.ActorRef[Any]], foreign: int
) -> None:
    ours: list[AsyncioActorRef] = []
    others: list[ForeignRef] = []
    for _ in range(10):
        ours += register(10)
        others += register_foreign(foreign)
    random.Random(3).shuffle(ours)

    for ref in ours:
        registry.unregister(ref)

    assert list(map(id, refs)) == list(map(id, others))


def test_an_actor_is_found_that_another_thread_has_overtaken(
    refs: list[pykka.ActorRef[Any]],
) -> None:
    early, late = register(2)
    refs[:] = [*register(20), late, early, *register(20)]
    early._registration, late._registration = late._registration, early._registration

    registry.unregister(early)
    registry.unregister(late)

    assert len(refs) == 40


def test_an_actor_that_is_far_from_its_place_is_found(
    refs: list[pykka.ActorRef[Any]],
) -> None:
    registered = register(100)
    refs.append(refs.pop(0))

    registry.unregister(registered[0])

    assert list(map(id, refs)) == list(map(id, registered[1:]))


def test_removing_an_actor_that_is_not_there_does_nothing(
    refs: list[pykka.ActorRef[Any]],
) -> None:
    (ref,) = register(1)
    kept = register(10)
    registry.unregister(ref)

    registry.unregister(ref)

    assert refs == kept


def test_a_registry_of_another_make_is_left_to_pykka(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[object] = []
    ref = AsyncioActor().actor_ref

    with monkeypatch.context() as patch:  # The checks after a test need the removed list.
        patch.delattr(pykka.ActorRegistry, "_actor_refs_lock")
        patch.setattr(pykka.ActorRegistry, "unregister", removed.append)
        registry.unregister(ref)

    assert removed == [ref]
