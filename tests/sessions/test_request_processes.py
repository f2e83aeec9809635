"""Several processes share the index and the requests of a folder, and any of them may be killed."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import Counter, defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import Chat
from agy_actors._sessions.request_state import RequestState
from agy_actors._sessions.request_store import RequestStore
from tests.sessions.request_workers import (
    PATIENCE,
    claim_and_wait,
    open_broken,
    reply,
    submit_at_once,
    submit_for_ever,
    work_off,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess
    from pathlib import Path

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def start() -> Iterator[Callable[..., BaseProcess]]:
    """Start a process that calls a function."""
    started: list[Any] = []

    def start(function: Callable[..., None], *arguments: object) -> BaseProcess:
        process = SPAWN.Process(target=function, args=arguments)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
        process.close()


def ends_well(process: BaseProcess) -> bool:
    process.join(PATIENCE)
    return process.exitcode == 0


def received(connection: Any) -> Any:
    assert connection.poll(PATIENCE)
    return connection.recv()


def test_processes_finish_each_request_once_and_those_of_a_key_in_order(
    start: Callable[..., BaseProcess], tmp_path: Path
) -> None:
    folder, log = tmp_path / "users", tmp_path / "log"
    with closing(RequestStore(folder)) as store:
        for number in range(200):
            store.submit(f"id {number}", f"key{number % 20}", Chat(f"prompt {number}"))
    barrier = SPAWN.Barrier(4)

    processes = [start(work_off, folder, log, barrier) for _ in range(4)]

    assert all(map(ends_well, processes))
    numbers = defaultdict(list)
    for key, accepted, _ in map(str.split, log.read_text().splitlines()):
        numbers[key].append(int(accepted))
    assert all(of_key == sorted(of_key) for of_key in numbers.values())
    assert Counter(map(len, numbers.values())) == {10: 20}
    with closing(RequestStore(folder)) as store:
        requests = list(store.list())
    assert [request.state for request in requests] == [RequestState.DONE] * 200
    assert [request.reply for request in requests] == [reply(f"id {n}") for n in range(200)]
    assert {request.attempts for request in requests} == {1}


def test_requests_of_a_killed_process_are_taken_over(
    start: Callable[..., BaseProcess], tmp_path: Path
) -> None:
    with closing(RequestStore(tmp_path)) as store:
        for name in ("a1", "a2", "b1"):
            store.submit(name, name[0], Chat("hi"))
        ours, theirs = SPAWN.Pipe()
        with ours, theirs:
            process = start(claim_and_wait, tmp_path, theirs)
            claimed = received(ours)
            while_alive = store.take_over()

            process.kill()
            process.join()

        assert claimed == ["a1", "b1"]
        assert while_alive == 0
        assert store.take_over() == 2
        first, second, third = store.list()
        assert (first.interrupted, first.attempts, first.history_length) == (True, 1, 7)
        assert not second.interrupted
        assert (third.interrupted, third.attempts) == (True, 0)
        assert [request.id for request in store.claim(9)] == claimed


def test_each_accepted_request_is_there_after_its_process_was_killed(
    start: Callable[..., BaseProcess], tmp_path: Path
) -> None:
    ours, theirs = SPAWN.Pipe()
    with ours:
        process = start(submit_for_ever, tmp_path, theirs)
        theirs.close()
        accepted = [received(ours) for _ in range(100)]

        process.kill()
        process.join()
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                accepted.append(ours.recv())

    with closing(RequestStore(tmp_path)) as store:
        found = list(store.list("ada", RequestState.QUEUED))
    # The last one may have been saved just before the kill.
    assert [request.id for request in found][: len(accepted)] == accepted
    assert len(found) <= len(accepted) + 1
    assert [request.number for request in found] == list(range(1, len(found) + 1))


@pytest.mark.slow
def test_processes_that_submit_the_same_request_at_once_get_the_same_one(
    start: Callable[..., BaseProcess], tmp_path: Path
) -> None:
    barrier = SPAWN.Barrier(2)
    ours, theirs = SPAWN.Pipe()
    with ours, theirs:
        processes = [start(submit_at_once, tmp_path, barrier, theirs) for _ in range(2)]
        numbers = [received(ours) for _ in range(2)]
        assert all(map(ends_well, processes))

    assert numbers == [list(range(1, 21))] * 2


def test_processes_that_open_a_broken_index_at_once_all_succeed(
    start: Callable[..., BaseProcess], tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("missing", "empty", "no database")]
    for folder in folders[1:]:
        folder.mkdir()
        (folder / "index.sqlite3").write_text("" if folder.name == "empty" else "no database")
    barrier = SPAWN.Barrier(2)
    ours, theirs = SPAWN.Pipe()
    with ours, theirs:
        processes = [start(open_broken, folders, barrier, theirs) for _ in range(2)]
        results = [received(ours) for _ in range(2)]
        assert all(map(ends_well, processes))

    for of_folder in zip(*results, strict=True):
        assert sorted(calls for calls, _ in of_folder) == [0, 1]
        # Each has added one session, and the second one saw both.
        assert max(size for _, size in of_folder) == 502
