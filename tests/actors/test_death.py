from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pykka

from agy_actors import Death, DeathReason, watch
from tests.actors.doers import Do, Doer

PATIENCE = 10.0


def test_a_watcher_learns_that_an_actor_stopped() -> None:
    ref = Doer.start()
    death = watch(ref)

    ref.stop()

    assert death.get(timeout=PATIENCE) == Death(ref, DeathReason.STOPPED, None)


def test_a_watcher_of_an_actor_that_has_ended_is_called_at_once() -> None:
    ref = Doer.start()
    ref.stop()

    death = watch(ref)

    assert death.get(timeout=0).reason is DeathReason.STOPPED


def test_a_watcher_gets_the_error_of_an_actor() -> None:
    ref = Doer.start()
    death = watch(ref)

    ref.tell(Do(lambda _: 1 / 0))

    end = death.get(timeout=PATIENCE)
    assert end.reason is DeathReason.FAILED
    assert isinstance(end.cause, ZeroDivisionError)


def test_a_watcher_is_called_when_the_actor_has_ended_completely() -> None:
    ended: list[bool] = []
    ref = Doer.start()
    told = threading.Event()

    def note(_: object) -> None:
        ended.append(ref.is_alive())
        told.set()

    watch(ref).add_done_callback(note)
    ref.stop()

    assert told.wait(PATIENCE)
    assert ended == [False]


def test_a_cancelled_watcher_is_removed() -> None:
    ref = Doer.start()
    kept, forgotten = watch(ref), watch(ref)

    assert forgotten.cancel()

    assert len(ref.actor_stopped._watchers) == 1
    ref.stop()
    assert kept.get(timeout=PATIENCE).ref is ref
    assert forgotten.cancelled()


def test_all_watchers_are_called_once_in_any_race_with_the_end() -> None:
    for _ in range(50):
        ref = Doer.start()
        calls: list[Death] = []

        def look(_: int, ref: pykka.ActorRef[Doer] = ref, calls: list[Death] = calls) -> Death:
            future = watch(ref)  # type: ignore[arg-type]
            future.add_done_callback(lambda future: calls.append(future.get()))
            return future.get(timeout=PATIENCE)

        with ThreadPoolExecutor(4) as threads:
            looking = threads.map(look, range(8))
            ref.stop()
            deaths = list(looking)

        assert [death.reason for death in deaths] == [DeathReason.STOPPED] * 8
        assert len(calls) == 8


def test_the_next_incarnation_keeps_the_watchers() -> None:
    first, second = Doer(), Doer()
    pykka.ActorRegistry.register(first.actor_ref)
    first._begin()
    ref = first.actor_ref
    death = watch(ref)
    ref.ask(Do(lambda actor: actor._retire()))
    assert first.gone.wait(PATIENCE)

    second._take_over(ref)._begin()

    assert ref.ask(Do(lambda actor: actor is second), timeout=PATIENCE)
    assert not death.done()
    ref.stop()
    assert death.get(timeout=PATIENCE).reason is DeathReason.STOPPED


def test_told_messages_that_are_never_handled_are_dead_letters() -> None:
    class Noting(Doer):
        def on_dead_letter(self, message: object) -> None:
            letters.append(message)

    letters: list[object] = []
    gate = threading.Event()
    ref = Noting.start()
    ref.tell(Do(lambda _: gate.wait(PATIENCE) and 1 / 0))

    ref.tell("never")
    asked = ref.ask("neither", block=False)
    gate.set()

    assert watch(ref).get(timeout=PATIENCE).reason is DeathReason.FAILED
    assert letters == ["never"]
    assert asked.done()
