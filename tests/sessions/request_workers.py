"""What the processes of the tests of the index and of the requests do."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from google.antigravity.types import StopReason, UsageMetadata

from agy_actors._agents.agent_messages import Chat, ChatReply
from agy_actors._sessions.request_state import RequestState
from agy_actors._sessions.request_store import RequestStore
from agy_actors._sessions.session_index import SessionIndex
from agy_actors._sessions.session_info import SessionInfo

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

PATIENCE = 60.0
"""Seconds for other processes. Arbitrary; only a test that fails takes this long."""


def info(number: int, turns: int = 0) -> SessionInfo:
    return SessionInfo(
        key=f"user {number:06}",
        conversation_id=f"{number:032x}",
        created=float(number),
        last_used=number + 0.5,
        turns=turns,
        usage=UsageMetadata(prompt_token_count=number, total_token_count=number),
    )


def reply(text: str) -> ChatReply:
    return ChatReply(text=text, stop_reason=StopReason.UNSPECIFIED, conversation_id="c" * 32)


def work_off(folder: Path, log: Path, start: Barrier) -> None:
    """Claim and finish requests until all are finished, and log them at the claim."""
    store = RequestStore(folder)
    start.wait(PATIENCE)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while has_unfinished(store):
        before = store.changes()
        claimed = store.claim(5)
        for request in claimed:
            os.write(descriptor, f"{request.key} {request.number} {os.getpid()}\n".encode())
            store.note_attempt(request.id, 0)
            assert store.finish(request.id, reply(request.id), None)
        while not claimed and store.changes() == before and has_unfinished(store):
            time.sleep(0.002)
    os.close(descriptor)
    store.close()


def has_unfinished(store: RequestStore) -> bool:
    unfinished = (RequestState.QUEUED, RequestState.RUNNING)
    return any(next(store.list(state=state), None) is not None for state in unfinished)


def claim_and_wait(folder: Path, connection: Connection) -> None:
    store = RequestStore(folder)
    claimed = store.claim(10)
    store.note_attempt(claimed[0].id, 7)
    connection.send([request.id for request in claimed])
    connection.recv()  # It is killed here.


def submit_for_ever(folder: Path, connection: Connection) -> None:
    store = RequestStore(folder)
    number = 0
    while True:
        store.submit(f"id {number}", "ada", Chat(f"prompt {number}"))
        connection.send(f"id {number}")
        number += 1


def submit_at_once(folder: Path, start: Barrier, connection: Connection) -> None:
    store = RequestStore(folder)
    start.wait(PATIENCE)
    numbers = [store.submit(f"id {number}", "ada", Chat("hi")).number for number in range(20)]
    connection.send(numbers)
    store.close()


def open_broken(folders: list[Path], start: Barrier, connection: Connection) -> None:
    results = []
    for folder in folders:
        calls: list[None] = []

        def found(calls: list[None] = calls) -> list[SessionInfo]:
            calls.append(None)
            return [info(number) for number in range(500)]

        start.wait(PATIENCE)
        index = SessionIndex(folder, found)
        index.put([info(1000 + os.getpid())])
        results.append((len(calls), len(index)))
        index.close()
    connection.send(results)
