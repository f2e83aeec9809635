"""Submitted requests are saved, taken up in order, and finished once."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import Chat, InvalidArgument, InvalidPrompt, ModelError
from agy_actors._sessions.request_state import RequestState
from agy_actors._sessions.request_store import RequestStore
from agy_actors._sessions.stored_errors import (
    RequestConflict,
    RequestNotSaved,
    SessionStorageError,
)
from tests.forked import in_child, outcome
from tests.sessions.request_workers import reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agy_actors._sessions.stored_request import StoredRequest

QUEUED, RUNNING, DONE, FAILED, CANCELLED = RequestState


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RequestStore]:
    with closing(RequestStore(tmp_path)) as store:
        yield store


@pytest.fixture
def other(tmp_path: Path) -> Iterator[RequestStore]:
    """A store that other sessions have on the same folder."""
    with closing(RequestStore(tmp_path)) as store:
        yield store


def submit(store: RequestStore, *names: str) -> None:
    """Submit requests whose ids begin with their key, as in "a1"."""
    for name in names:
        store.submit(name, name[0], Chat(f"prompt {name}"))


def claimed(store: RequestStore, limit: int = 9, skip: str = "") -> list[str]:
    return [request.id for request in store.claim(limit, skip)]


def state(store: RequestStore, name: str) -> RequestState:
    return got(store, name).state


def got(store: RequestStore, name: str) -> StoredRequest:
    request = store.get(name)
    assert request is not None
    return request


def test_a_request_is_accepted_and_comes_back(store: RequestStore, other: RequestStore) -> None:
    chat = Chat("hi", timeout=3.0, stall_timeout=math.inf, metadata={"row": 7})

    accepted = store.submit("id", "ada", chat)

    assert accepted.number == 1
    assert accepted.chat == chat
    assert accepted.chat.metadata == {"row": 7}
    assert (accepted.id, accepted.key, accepted.state) == ("id", "ada", QUEUED)
    assert (accepted.attempts, accepted.interrupted, accepted.history_length) == (0, False, None)
    assert (accepted.reply, accepted.error, accepted.finished) == (None, None, None)
    assert accepted.created > 0
    assert other.get("id") == accepted
    assert other.get("other") is None


def test_the_same_request_is_accepted_once(store: RequestStore, other: RequestStore) -> None:
    first = store.submit("id", "ada", Chat("hi", metadata=1))
    store.claim(1)

    again = other.submit("id", "ada", Chat("hi", metadata=2, timeout=1))

    assert again.number == first.number
    assert again.state is RUNNING
    assert again.chat.metadata == 1
    assert len(list(store.list())) == 1


@pytest.mark.parametrize(("key", "prompt"), [("bob", "hi"), ("ada", "ho"), ("ada", ["hi"])])
def test_an_id_of_another_request_is_refused(store: RequestStore, key: str, prompt: Any) -> None:
    store.submit("id", "ada", Chat("hi"))

    with pytest.raises(RequestConflict, match="use an id once"):
        store.submit("id", key, Chat(prompt))

    assert [request.chat for request in store.list()] == [Chat("hi")]


def test_a_request_that_cannot_be_saved_is_refused(store: RequestStore) -> None:
    with pytest.raises(InvalidPrompt):
        store.submit("id", "ada", Chat("hi", metadata=object()))
    with pytest.raises(InvalidArgument, match="the id of a request"):
        store.submit("\ud800", "ada", Chat("hi"))
    with pytest.raises(InvalidArgument, match="the key of a request"):
        store.submit("id", "\ud800", Chat("hi"))

    assert list(store.list()) == []


def test_requests_of_a_key_are_taken_up_one_after_another(
    store: RequestStore, other: RequestStore
) -> None:
    submit(store, "a1", "a2", "b1", "c1")

    assert claimed(store, 2) == ["a1", "b1"]
    assert claimed(other) == ["c1"]
    assert claimed(other) == []
    store.finish("a1", reply("yes"), None)
    assert claimed(other) == ["a2"]


def test_a_request_is_taken_up_if_all_earlier_ones_of_its_key_have_finished(
    store: RequestStore,
) -> None:
    submit(store, "a1", "a2")
    store.claim(1)
    store.finish("a1", reply("yes"), None)
    store.cancel("a2")

    submit(store, "a3")

    assert claimed(store) == ["a3"]


def test_claim_returns_running_requests(store: RequestStore) -> None:
    submit(store, "a1")

    (request,) = store.claim(1)

    assert request == store.get("a1")
    assert request.state is RUNNING


def test_keys_can_be_skipped(store: RequestStore) -> None:
    submit(store, "a1", "b1", "c1")

    assert claimed(store, 1, skip="ac") == ["b1"]
    assert claimed(store, 0) == []
    assert claimed(store) == ["a1", "c1"]


def test_a_reply_is_saved_once(store: RequestStore, other: RequestStore) -> None:
    submit(store, "a1")
    store.claim(1)

    results = [
        other.finish("a1", reply("no"), None),
        store.finish("a1", reply("yes"), None),
        store.finish("a1", reply("late"), None),
        store.finish("unknown", reply("?"), None),
    ]

    done = got(other, "a1")
    assert results == [False, True, False, False]
    assert (done.state, done.reply, done.error) == (DONE, reply("yes"), None)
    assert done.finished is not None
    assert done.finished >= done.created


def test_an_error_is_saved(store: RequestStore, other: RequestStore) -> None:
    submit(store, "a1")
    store.claim(1)

    store.finish("a1", None, ModelError("HTTP 500", status=500))

    failed = got(other, "a1")
    assert failed.state is FAILED
    assert isinstance(failed.error, ModelError)
    assert failed.error.status == 500
    assert failed.reply is None


def test_a_request_finishes_with_a_reply_or_an_error(store: RequestStore) -> None:
    with pytest.raises(InvalidArgument):
        store.finish("a1", None, None)
    with pytest.raises(InvalidArgument):
        store.finish("a1", reply("yes"), ValueError())


def test_attempts_are_counted_by_the_owner_only(store: RequestStore, other: RequestStore) -> None:
    submit(store, "a1")

    results = [store.note_attempt("a1", 1)]
    store.claim(1)
    results += [other.note_attempt("a1", 2), *(store.note_attempt("a1", n) for n in (3, 4))]

    assert results == [False, False, True, True]
    assert (got(store, "a1").attempts, got(store, "a1").history_length) == (2, 4)


def test_a_request_that_is_put_back_keeps_its_place(
    store: RequestStore, other: RequestStore
) -> None:
    submit(store, "a1", "a2", "b1")
    store.claim(9)
    store.note_attempt("a1", 5)

    assert not other.put_back("a1")
    assert store.put_back("a1")
    assert not store.put_back("a1")

    assert got(store, "a1").attempts == 1
    assert not got(store, "a1").interrupted
    assert claimed(other) == ["a1"]


def test_only_a_queued_request_can_be_cancelled(store: RequestStore, other: RequestStore) -> None:
    submit(store, "a1", "a2", "a3")
    store.claim(1)

    results = [other.cancel(name) for name in ("a1", "a2", "a2", "unknown")]
    store.finish("a1", reply("yes"), None)

    assert results == [False, True, False, False]
    assert got(store, "a2").state is CANCELLED
    assert got(store, "a2").finished is not None
    assert claimed(other) == ["a3"]


def test_the_next_request_is_taken_up_after_the_first_one_is_cancelled(store: RequestStore) -> None:
    submit(store, "a1", "a2")

    store.cancel("a1")

    assert claimed(store) == ["a2"]


def test_requests_are_listed_in_order(store: RequestStore) -> None:
    submit(store, "a1", "b1", "a2", "c1")
    store.claim(9, "c")

    def listed(*arguments: Any) -> list[str]:
        return [request.id for request in store.list(*arguments)]

    assert listed() == ["a1", "b1", "a2", "c1"]
    assert listed("a") == ["a1", "a2"]
    assert listed(None, RUNNING) == ["a1", "b1"]
    assert listed("a", QUEUED) == ["a2"]
    assert listed("nobody") == []


def test_a_list_is_lazy(store: RequestStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agy_actors._sessions.request_store._PAGE", 2)
    submit(store, "a1", "b1", "c1", "d1", "e1")

    requests = store.list(state=QUEUED)
    first = next(requests).id
    store.cancel("b1")
    store.cancel("d1")
    submit(store, "f1")

    assert [first, *(request.id for request in requests)] == ["a1", "c1", "e1", "f1"]


def test_requests_of_a_live_store_are_not_taken_over(
    store: RequestStore, other: RequestStore
) -> None:
    submit(store, "a1")
    store.claim(1)

    assert other.take_over() == 0
    assert store.take_over() == 0
    assert state(store, "a1") is RUNNING


def test_requests_of_a_closed_store_are_taken_over(tmp_path: Path, other: RequestStore) -> None:
    store = RequestStore(tmp_path)
    submit(store, "a1", "a2", "b1", "c1")
    store.claim(2)
    store.note_attempt("a1", 7)
    store.close()

    assert other.take_over() == 2
    assert other.take_over() == 0

    a1 = got(other, "a1")
    assert (a1.state, a1.interrupted, a1.attempts, a1.history_length) == (QUEUED, True, 1, 7)
    assert not got(other, "c1").interrupted
    assert claimed(other) == ["a1", "b1", "c1"]
    assert got(other, "a1").interrupted
    other.finish("a1", reply("yes"), None)
    assert not got(other, "a1").interrupted
    assert list((tmp_path / "owners").iterdir()) == [
        tmp_path / "owners" / f"{other._owner.name}.lock"
    ]


def test_old_requests_are_forgotten_and_their_numbers_not_used_again(
    store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agy_actors._sessions.request_store._PAGE", 2)
    submit(store, *(f"{letter}1" for letter in "abcdef"))
    for request in store.claim(4):
        store.finish(request.id, reply("yes"), None)
    store.cancel("f1")
    end = max(request.finished or 0 for request in store.list())

    assert store.forget(0.0) == 0
    assert store.forget(math.nextafter(end, math.inf)) == 5
    assert [request.id for request in store.list()] == ["e1"]
    store.cancel("e1")
    store.forget(math.inf)
    assert store.submit("a1", "a", Chat("another prompt")).number == 7


CHANGES: dict[str, Callable[[RequestStore], object]] = {
    "submit": lambda store: submit(store, "b1"),
    "claim": lambda store: store.claim(1),
    "cancel": lambda store: store.cancel("a1"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("who", ["itself", "another"])
def test_each_change_changes_the_value_of_changes(
    change: str, who: str, store: RequestStore, other: RequestStore
) -> None:
    submit(store, "a1")
    before = store.changes()
    assert store.changes() == before

    CHANGES[change](store if who == "itself" else other)

    assert store.changes() != before


def limit_pages(store: RequestStore) -> Callable[[], object]:
    connection: Any = store._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return lambda: connection.execute("PRAGMA max_page_count = 1000000")


def make_read_only(store: RequestStore) -> Callable[[], object]:
    connection: Any = store._database._connection
    connection.execute("PRAGMA query_only = 1")
    return lambda: connection.execute("PRAGMA query_only = 0")


def submit_many(store: RequestStore, number: int) -> None:
    for current in range(number):
        store.submit(f"id {current}", "ada", Chat("x" * 10_000))


@pytest.mark.parametrize(
    ("hinder", "remedy", "retryable"),
    [(limit_pages, "free some space", True), (make_read_only, "permissions", False)],
    ids=["full", "read-only"],
)
def test_a_request_that_does_not_reach_the_disk_is_not_accepted(
    hinder: Callable[[RequestStore], Callable[[], object]],
    remedy: str,
    retryable: bool,
    store: RequestStore,
    other: RequestStore,
) -> None:
    submit(store, "a1")
    store.claim(1)
    recover = hinder(store)

    with pytest.raises(RequestNotSaved, match=remedy) as caught:
        submit_many(store, 100)
    accepted = [request.id for request in other.list()]
    recover()
    store.submit(f"id {len(accepted) - 1}", "ada", Chat("x" * 10_000))

    assert "submit it again with the same id" in str(caught.value)
    assert caught.value.path.endswith("requests.sqlite3")
    assert caught.value.retryable is retryable
    assert accepted == ["a1", *(f"id {number}" for number in range(len(accepted) - 1))]
    assert len(list(other.list())) == len(accepted) + 1
    assert store.finish("a1", reply("yes"), None)


def test_other_failures_are_typed(store: RequestStore) -> None:
    submit(store, "a1")
    recover = make_read_only(store)

    for use in (lambda: store.claim(1), lambda: store.cancel("a1"), lambda: store.forget(math.inf)):
        with pytest.raises(SessionStorageError, match=r"requests\.sqlite3.*permissions"):
            use()

    recover()
    assert state(store, "a1") is QUEUED


def make_other_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (number INTEGER)")


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: os.truncate(path, 0),
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1000),
    "no database": lambda path: path.write_text("This is no database. " * 1000),
    "another database": make_other_database,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_database_is_refused_and_kept(damage: str, tmp_path: Path) -> None:
    with closing(RequestStore(tmp_path)) as store:
        for number in range(200):
            store.submit(f"id {number}", "ada", Chat(f"{number}" * 300))
    path = tmp_path / "requests.sqlite3"
    DAMAGE[damage](path)
    before = path.read_bytes()

    with pytest.raises(SessionStorageError, match="restore it from a backup, or move it") as caught:
        RequestStore(tmp_path)

    assert caught.value.path == str(path)
    assert path.read_bytes() == before
    assert list((tmp_path / "owners").iterdir()) == []


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    RequestStore(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "requests.sqlite3")) as connection:
        connection.execute("PRAGMA user_version = 2")

    with pytest.raises(SessionStorageError, match="upgrade agy_actors, or move the file"):
        RequestStore(tmp_path)


def test_a_request_that_cannot_be_read_fails_and_does_not_block_its_key(
    store: RequestStore,
) -> None:
    submit(store, "a1", "a2")
    store._database.write(
        lambda connection: connection.execute("UPDATE requests SET chat = '{' WHERE id = 'a1'")
    )

    assert claimed(store) == []
    assert claimed(store) == ["a2"]
    with pytest.raises(SessionStorageError, match="request 'a1' cannot be read"):
        store.get("a1")


def test_a_deleted_database_is_made_again(store: RequestStore, tmp_path: Path) -> None:
    submit(store, "a1")
    (tmp_path / "requests.sqlite3").unlink()

    submit(store, "a2")

    with closing(RequestStore(tmp_path)) as other:
        assert [request.id for request in other.list()] == ["a2"]


def test_a_folder_that_cannot_be_made_raises_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("a file")

    with pytest.raises(SessionStorageError, match="check that the folder exists"):
        RequestStore(tmp_path / "users")


def test_the_files_are_private(store: RequestStore, tmp_path: Path) -> None:
    submit(store, "a1")

    files = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert len(files) == 4


def test_accepted_requests_are_synchronised_with_the_disk(store: RequestStore) -> None:
    connection: Any = store._database._connection

    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_threads_share_a_store(store: RequestStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        numbers = list(
            threads.map(lambda n: store.submit(f"{n}", f"{n % 5}", Chat("hi")).number, range(100))
        )
        batches = list(threads.map(lambda _: store.claim(1), range(8)))

    assert sorted(numbers) == list(range(1, 101))
    keys = [request.key for batch in batches for request in batch]
    assert sorted(keys) == ["0", "1", "2", "3", "4"]


def test_the_same_request_submitted_at_once_to_two_stores_is_accepted_once(
    store: RequestStore, other: RequestStore
) -> None:
    start = threading.Barrier(2)

    def submit_at_once(store: RequestStore) -> list[int]:
        start.wait()
        return [store.submit(f"id {n}", "ada", Chat("hi")).number for n in range(20)]

    with ThreadPoolExecutor(2) as threads:
        numbers = list(threads.map(submit_at_once, [store, other]))

    assert numbers == [list(range(1, 21))] * 2


def test_a_forked_child_does_not_own_the_requests_of_its_parent(
    store: RequestStore, tmp_path: Path
) -> None:
    submit(store, "a1", "b1")
    store.claim(1)

    def use() -> list[str]:
        results = [outcome(lambda: store.get("a1")), outcome(store.close)]
        with closing(RequestStore(tmp_path)) as own:
            return [*results, outcome(own.take_over), outcome(lambda: claimed(own))]

    results = in_child(use)

    assert results == [
        f"ForkedProcessError {os.getpid()}",
        "returned None",
        "returned 0",
        "returned ['b1']",
    ]
    assert store.take_over() == 1
    assert store.finish("a1", reply("yes"), None)


def test_a_closed_store_raises_a_typed_error(tmp_path: Path) -> None:
    store = RequestStore(tmp_path)
    store.close()
    store.close()

    with pytest.raises(RequestNotSaved, match="it is closed"):
        submit(store, "a1")
    with pytest.raises(SessionStorageError, match="it is closed"):
        store.changes()
