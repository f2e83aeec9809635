"""The index lists the sessions of a folder, and is rebuilt from the folder if it is broken."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.types import ServiceTier, UsageMetadata
from loguru import logger

from agy_actors._actors.errors import AgyActorsError, ForkedProcessError
from agy_actors._sessions.session_index import SessionIndex
from agy_actors._sessions.session_info import SessionInfo
from agy_actors._sessions.stored_errors import SessionStorageError
from tests.forked import in_child, outcome
from tests.sessions.request_workers import info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """The package's warnings."""
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="WARNING", format="{message}")
    logger.enable("agy_actors")
    yield lines
    logger.disable("agy_actors")
    logger.remove(sink)


def nothing() -> Iterable[SessionInfo]:
    return []


def some() -> Iterable[SessionInfo]:
    return [info(number) for number in range(3)]


def test_a_session_is_returned_as_it_was_put(tmp_path: Path) -> None:
    usage = UsageMetadata(thoughts_token_count=0, service_tier=ServiceTier.PRIORITY)
    ada = SessionInfo(
        key="Ada \N{GRINNING FACE}\0",
        conversation_id="a" * 32,
        created=1.25,
        last_used=2.5,
        turns=7,
        usage=usage,
    )

    with closing(SessionIndex(tmp_path / "users", nothing)) as index:
        index.put([ada, info(1)])

    with closing(SessionIndex(tmp_path / "users", nothing)) as index:
        assert index.get(ada.key) == ada
        assert index.get("user 000001") == info(1)
        assert index.get("nobody") is None


def test_a_session_is_replaced_and_removed(tmp_path: Path) -> None:
    with closing(SessionIndex(tmp_path, nothing)) as index:
        index.put(info(number) for number in range(2))
        index.put([info(1, turns=5)])
        index.put([])

        assert index.get("user 000001") == info(1, turns=5)
        assert len(index) == 2
        assert "user 000001" in index
        assert index.remove("user 000001")
        assert not index.remove("user 000001")
        assert "user 000001" not in index
        assert 1 not in index
        assert len(index) == 1


def test_put_adds_all_sessions_or_none(tmp_path: Path) -> None:
    broken = dataclasses.replace(info(1), conversation_id=None)  # type: ignore[arg-type]

    with closing(SessionIndex(tmp_path, nothing)) as index:
        with pytest.raises(AgyActorsError):
            index.put([info(0), broken])

        assert len(index) == 0


def test_keys_are_sorted_by_code_point_and_read_in_pages(tmp_path: Path) -> None:
    keys = ["z", "Z", "é", "\uffff", "\U0001f600", *(f"user {number:06}" for number in range(2500))]

    with closing(SessionIndex(tmp_path, nothing)) as index:
        index.put(keyed(key) for key in keys)

        assert list(index.keys()) == sorted(keys)


def test_sessions_may_be_added_and_removed_while_keys_are_read(tmp_path: Path) -> None:
    with closing(SessionIndex(tmp_path, nothing)) as index:
        index.put(info(number) for number in range(2500))
        keys = index.keys()

        first = next(keys)
        index.remove("user 002000")
        index.put([keyed("zoe")])
        rest = list(keys)

    assert first == "user 000000"
    assert "user 002000" not in rest
    assert rest[-1] == "zoe"
    assert len(rest) == 2499


def keyed(key: str) -> SessionInfo:
    return SessionInfo(
        key=key, conversation_id="c", created=0.0, last_used=0.0, turns=0, usage=UsageMetadata()
    )


def test_the_files_are_private(tmp_path: Path) -> None:
    with closing(SessionIndex(tmp_path / "users", nothing)) as index:
        index.put([info(1)])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in index_files(tmp_path)}

    assert modes == dict.fromkeys(
        ("index.sqlite3", "index.sqlite3-wal", "index.sqlite3-shm"), 0o600
    )
    assert [path.name for path in index_files(tmp_path)] == ["index.sqlite3"]
    assert stat.S_IMODE((tmp_path / "users").stat().st_mode) == 0o700


def index_files(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "users").iterdir())


def test_a_new_folder_causes_no_warning(tmp_path: Path, warnings: list[str]) -> None:
    with closing(SessionIndex(tmp_path / "users", nothing)) as index:
        assert len(index) == 0

    assert warnings == []


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def spoil(page: int) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(4096 * page)
            file.write(b"\xff" * 4096)

    return spoil


def sql(statement: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
            connection.commit()

    return run


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: os.truncate(path, 0),
    "truncated": truncate,
    "truncated after its header": lambda path: os.truncate(path, 4096),
    "cut in the header": lambda path: os.truncate(path, 50),
    "no database": lambda path: path.write_text("This is no database. " * 1000),
    "a wrong table": sql("ALTER TABLE sessions RENAME COLUMN turns TO rounds"),
    "no table": sql("DROP TABLE sessions"),
    "an older format": sql("PRAGMA user_version = 0"),
    "a further column": sql("ALTER TABLE sessions ADD COLUMN more TEXT"),
    "a spoilt root page": spoil(1),
    "a spoilt later page": spoil(30),
    "an invalid row": sql("UPDATE sessions SET usage = '{'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
def test_a_damaged_index_is_rebuilt_with_one_warning(
    damage: str, is_open: bool, tmp_path: Path, warnings: list[str]
) -> None:
    many = [info(number) for number in range(2000)]
    index = SessionIndex(tmp_path, nothing)
    index.put(many)
    index.close()
    found = [*many, info(9999)]
    if is_open:
        index = SessionIndex(tmp_path, lambda: found)
        len(index)

    DAMAGE[damage](tmp_path / "index.sqlite3")
    if not is_open:
        index = SessionIndex(tmp_path, lambda: found)
    infos = [index.get(info.key) for info in found]
    keys = list(index.keys())
    index.close()

    # SQLite keeps the pages of a connection that is open, as long as no other one changes them.
    if is_open and not warnings:
        index = SessionIndex(tmp_path, lambda: found)
        infos = [index.get(info.key) for info in found]
        keys = list(index.keys())
        index.close()
    assert infos == found
    assert keys == [info.key for info in found]
    assert [line for line in warnings if "Rebuilt" in line and "2001 sessions" in line] == warnings
    assert len(warnings) == 1


def test_an_index_that_is_damaged_while_it_is_open_is_rebuilt_at_its_next_use(
    tmp_path: Path, warnings: list[str]
) -> None:
    with closing(SessionIndex(tmp_path, some)) as index:
        warnings.clear()
        DAMAGE["missing"](tmp_path / "index.sqlite3")

        index.put([info(7)])

        assert len(index) == 4
        assert len(warnings) == 1
    with closing(SessionIndex(tmp_path, some)) as index:
        assert len(index) == 4


def test_an_index_whose_folder_was_deleted_while_it_is_open_starts_again(tmp_path: Path) -> None:
    with closing(SessionIndex(tmp_path / "users", nothing)) as index:
        index.put([info(1)])
        shutil.rmtree(tmp_path / "users")

        assert len(index) == 0
        index.put([info(2)])
        assert list(index.keys()) == ["user 000002"]


def test_an_index_that_cannot_be_rebuilt_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    SessionIndex(tmp_path, nothing).close()
    (tmp_path / "index.sqlite3").write_text("no database")

    def fail() -> Iterable[SessionInfo]:
        yield info(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        SessionIndex(tmp_path, fail)

    assert (tmp_path / "index.sqlite3").read_text() == "no database"
    with closing(SessionIndex(tmp_path, some)) as index:
        assert len(index) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.sqlite3"]


def test_an_index_of_a_newer_release_is_refused_and_kept(tmp_path: Path) -> None:
    SessionIndex(tmp_path, some).close()
    path = tmp_path / "index.sqlite3"
    sql("PRAGMA user_version = 2")(path)
    before = path.read_bytes()

    with pytest.raises(
        SessionStorageError, match="upgrade agy_actors, or delete the file"
    ) as caught:
        SessionIndex(tmp_path, some)

    assert caught.value.path == str(path)
    assert not caught.value.retryable
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_full_disk_raises_a_typed_error_and_the_index_stays_usable(tmp_path: Path) -> None:
    with closing(SessionIndex(tmp_path, nothing)) as index:
        index.put([info(1)])
        connection: Any = index._database._connection
        connection.execute("PRAGMA max_page_count = 4")

        with pytest.raises(SessionStorageError, match="full; free some space") as caught:
            index.put(info(number) for number in range(5000))
        connection.execute("PRAGMA max_page_count = 100000")

        assert caught.value.retryable
        assert len(index) == 1
        index.put(info(number) for number in range(5000))
        assert len(index) == 5000


def test_a_folder_that_cannot_be_made_raises_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("a file")

    with pytest.raises(SessionStorageError, match="check that the folder exists") as caught:
        SessionIndex(tmp_path / "users", nothing)

    assert not caught.value.retryable


def test_a_use_waits_for_the_transaction_of_another_process(tmp_path: Path) -> None:
    with closing(SessionIndex(tmp_path, nothing)) as index:
        other = sqlite3.connect(
            tmp_path / "index.sqlite3", isolation_level=None, check_same_thread=False
        )
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.2, lambda: other.execute("COMMIT"))
        timer.start()

        index.put([info(1)])

        timer.join()
        other.close()
        assert len(index) == 1


def test_threads_share_an_index(tmp_path: Path) -> None:
    with closing(SessionIndex(tmp_path, nothing)) as index, ThreadPoolExecutor(8) as threads:

        def use(number: int) -> bool:
            index.put([info(number)])
            return index.get(info(number).key) == info(number) and info(number).key in index

        assert all(threads.map(use, range(200)))
        assert len(index) == 200


def test_a_closed_index_raises_a_typed_error(tmp_path: Path) -> None:
    index = SessionIndex(tmp_path, nothing)
    index.close()
    index.close()

    with pytest.raises(SessionStorageError, match="it is closed"):
        len(index)


def test_an_index_works_in_the_parent_and_not_in_the_child_after_a_fork(tmp_path: Path) -> None:
    with closing(SessionIndex(tmp_path, nothing)) as index:
        index.put([info(1)])

        def use() -> list[str]:
            results = [outcome(lambda: len(index)), outcome(index.close)]
            with closing(SessionIndex(tmp_path, nothing)) as own:
                own.put([info(2)])
                # A second connection of the child finds the locks of its first one.
                return [*results, outcome(lambda: len(own))]

        results = in_child(use)

        assert results == [f"ForkedProcessError {os.getpid()}", "returned None", "returned 2"]
        index.put([info(3)])
        assert len(index) == 3
    assert issubclass(ForkedProcessError, AgyActorsError)


def test_no_descriptor_of_the_database_is_open_in_a_forked_child(tmp_path: Path) -> None:
    def descriptors() -> list[str]:
        with os.scandir("/proc/self/fd") as entries:
            names = [os.path.realpath(entry.path) for entry in entries]
        return [name for name in names if "index.sqlite3" in name]

    with closing(SessionIndex(tmp_path, nothing)) as index:
        index.put([info(1)])
        before = descriptors()

        assert in_child(descriptors) == []

    assert len(before) == 3


def test_a_fork_waits_for_the_end_of_a_transaction(tmp_path: Path) -> None:
    begun, forked = threading.Event(), threading.Event()
    with closing(SessionIndex(tmp_path, nothing)) as index, ThreadPoolExecutor(1) as threads:

        def work(connection: sqlite3.Connection) -> bool:
            begun.set()
            return forked.wait(0.2)

        written = threads.submit(index._database.write, work)
        begun.wait()
        in_child(lambda: None)
        forked.set()

        assert written.result() is False
        assert len(index) == 0


@pytest.mark.slow
def test_an_index_of_100_000_sessions_opens_at_once(tmp_path: Path) -> None:
    SessionIndex(tmp_path, lambda: map(info, range(100_000))).close()
    seconds = []

    for _ in range(3):
        start = time.perf_counter()
        SessionIndex(tmp_path, nothing).close()
        seconds.append(time.perf_counter() - start)

    assert min(seconds) < 0.2


def test_found_is_called_only_for_a_rebuild(tmp_path: Path) -> None:
    calls = count()
    SessionIndex(tmp_path, some).close()

    SessionIndex(tmp_path, lambda: [info(next(calls))]).close()

    assert next(calls) == 0
