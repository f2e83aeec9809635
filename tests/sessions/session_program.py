"""A program with sessions, which `session_programs.Program` starts and may kill.

    python -m tests.sessions.session_program FOLDER MODEL_URL OPTIONS

It reads one JSON object a line from its standard input, each with a number `n`, and writes one with
the same `n` and either `ok` or `error` for it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from agy_actors import Chat, ClearHistory, GetStatistics, Supervisor
from agy_actors._sessions.request_store import RequestStore
from agy_actors._sessions.session_events import SessionEvent
from agy_actors.testing.scripted_model.configs import openai_config

if TYPE_CHECKING:
    from agy_actors import Event, Sessions

NAME = "users"
"""The name of the sessions."""

READY, HELD = -1, -2
"""The numbers of the lines about the start, and about a result that is not saved."""

_THREADS = 16


def book(city: str) -> str:
    """Book a trip.

    Args:
        city: where to.
    """
    return f"booked {city}"


class _Program:
    def __init__(self) -> None:
        self._printing = threading.Lock()
        self.events: list[Event] = []

    def say(self, number: int, **facts: Any) -> None:
        with self._printing:
            sys.stdout.write(json.dumps({"n": number, **facts}) + "\n")
            sys.stdout.flush()

    def answer(self, users: Sessions, order: dict[str, Any]) -> None:
        try:
            self.say(order["n"], ok=getattr(self, order["do"])(users, order))
        except Exception as error:  # noqa: BLE001 (the test judges it)
            self.say(order["n"], error=type(error).__name__, text=str(error))

    def ask(self, users: Sessions, order: dict[str, Any]) -> str:
        chat = Chat(order["prompt"], timeout=order.get("timeout", 60.0))
        return users[order["key"]].ask(chat).text

    def submit(self, users: Sessions, order: dict[str, Any]) -> str:
        return users.submit(order["key"], order["prompt"], id=order["id"]).id

    def result(self, users: Sessions, order: dict[str, Any]) -> str:
        receipt = users.receipt(order["id"])
        assert receipt is not None
        return receipt.result(timeout=60.0).text

    def find_harness(self, users: Sessions, order: dict[str, Any]) -> int | None:
        return users[order["key"]].ask(GetStatistics(), timeout=60.0).harness_pid

    def clear_history(self, users: Sessions, order: dict[str, Any]) -> None:
        users[order["key"]].ask(ClearHistory(), timeout=60.0)

    def wake(self, users: Sessions, order: dict[str, Any]) -> None:
        users.wake(order["key"])

    def sleep(self, users: Sessions, order: dict[str, Any]) -> None:
        users.sleep(order["key"])

    def list_events(self, users: Sessions, order: dict[str, Any]) -> list[list[str]]:
        seen = [event for event in self.events if isinstance(event, SessionEvent)]
        return [[type(event).__name__, event.key] for event in seen]

    def hold_results(self, users: Sessions, order: dict[str, Any]) -> None:
        """Let no result of a request be saved; say so instead."""

        def finish(store: RequestStore, request_id: str, *_: Any) -> bool:
            self.say(HELD, ok=request_id)
            threading.Event().wait()
            return False

        RequestStore.finish = finish  # type: ignore[method-assign,assignment]


def main(folder: str, base_url: str, options: str) -> None:
    """Serve until the standard input ends."""
    program = _Program()
    with Supervisor.start(state_dir=folder) as supervisor, ThreadPoolExecutor(_THREADS) as threads:
        supervisor.subscribe(program.events.append)
        config = openai_config(base_url, {"tools": [book]})
        users = supervisor.create_sessions(config, name=NAME, **json.loads(options))
        program.say(READY, ok=os.getpid())
        for line in sys.stdin:
            threads.submit(program.answer, users, json.loads(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
