"""A program that serves sessions, which the soak runs of sessions start several times and kill.

    python -m tests.soak.session_program FOLDER MODEL_URL MAX_AWAKE

It reads one JSON object a line from its standard input, and answers each by one line:

*   `{"n": 1, "do": "ask", "key": ..., "prompt": ...}`: ask a session.
*   `{"n": 1, "do": "submit", "key": ..., "prompt": ..., "id": ...}`: submit a durable request.
*   `{"n": 1, "do": "history", "key": ...}`: return the prompts of a session's conversation.

An answer has the same `n`, and either `ok` or `error`.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.antigravity.types import StepSource

from agy_actors import Chat, GetHistory, Sessions, Supervisor
from agy_actors.testing.scripted_model.configs import openai_config

_THREADS = 32
_TIMEOUT = 60.0


def _carry_out(users: Sessions, order: dict[str, Any]) -> object:
    key = order["key"]
    if order["do"] == "ask":
        return users[key].ask(Chat(order["prompt"], timeout=_TIMEOUT)).text
    if order["do"] == "submit":
        return users.submit(key, Chat(order["prompt"]), id=order["id"]).id
    steps = users[key].ask(GetHistory())
    return [step.content for step in steps if step.source == StepSource.USER]


def main(folder: str, base_url: str, max_awake: str) -> None:
    """Serve until the standard input ends."""
    printing = threading.Lock()

    def answer(order: dict[str, Any]) -> None:
        facts: dict[str, Any] = {"n": order["n"]}
        try:
            facts["ok"] = _carry_out(users, order)
        except Exception as error:  # noqa: BLE001 (the soak run judges it)
            facts["error"] = f"{type(error).__name__}: {error}"
        with printing:
            print(json.dumps(facts), flush=True)

    with Supervisor.start(state_dir=folder) as supervisor, ThreadPoolExecutor(_THREADS) as threads:
        users = supervisor.create_sessions(
            openai_config(base_url, {}), name="users", max_awake=int(max_awake)
        )
        print(json.dumps({"n": -1, "ok": "ready"}), flush=True)
        for line in sys.stdin:
            threads.submit(answer, json.loads(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
