"""`Counts`: exact numbers, on any thread and in signal handlers."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from agy_actors._supervision.counts import Count, Counts, What

if TYPE_CHECKING:
    import pytest


def test_counts_are_by_kind() -> None:
    counts = Counts()

    counts.add(What.RESTARTS, "agent")
    counts.add(What.RESTARTS, "agent")
    counts.add(What.RESTARTS, "actor")

    assert counts.read() == {
        Count(What.RESTARTS, "agent"): 2,
        Count(What.RESTARTS, "actor"): 1,
    }


def test_counts_are_added_to_the_counts_above() -> None:
    top = Counts()
    middle = Counts(top)

    Counts(middle).add(What.HANGS, "agent")
    middle.add(What.HANGS, "agent")

    assert middle.read() == top.read() == {Count(What.HANGS, "agent"): 2}


def test_no_count_of_many_threads_is_lost() -> None:
    top = Counts()
    below = [Counts(top), Counts(top)]
    read: list[Counter[Count]] = []

    def add(counts: Counts) -> None:
        for _ in range(5_000):
            counts.add(What.ASKS, "answered")

    threads = [threading.Thread(target=add, args=(counts,)) for counts in below * 2]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        read.append(top.read())
    for thread in threads:
        thread.join()

    assert top.read() == {Count(What.ASKS, "answered"): 20_000}
    totals = [sums.total() for sums in read]
    assert totals == sorted(totals)


def test_a_count_that_interrupts_the_sum_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts()

    class Interrupted(Counter[Count]):
        def __setitem__(self, key: Count, value: int) -> None:
            if key.detail == "first":
                for _ in range(1_000):
                    counts.add(What.ASKS, "second")
            super().__setitem__(key, value)

    monkeypatch.setattr(counts, "_sums", Interrupted())
    counts.add(What.ASKS, "first")

    counts.read()

    assert counts.read() == {Count(What.ASKS, "first"): 1, Count(What.ASKS, "second"): 1_000}


def test_counts_take_bounded_memory() -> None:
    counts = Counts()

    for _ in range(10_000):
        counts.add(What.DEAD_LETTERS)

    assert len(counts._new) < 256
