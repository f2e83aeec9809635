"""A program that forks while it has agents. Run by the trial of forks, which kills it.

    python -m tests.soak.chaos._forking_program BASE_URL (before | after)

It forks a child before or after its agent is created, so that the child has the harness's pipes, or
the harness has the child's. The child lives until it is killed. With `after` it uses its own
supervisor first. The facts are printed as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time

import psutil

from agy_actors import Chat, Supervisor
from benchmarks._model import Model

_LIFE = 300.0  # Seconds after which a leftover process ends by itself.


def _main(base_url: str, when: str) -> None:
    before = _fork(base_url) if when == "before" else None
    with Supervisor.start() as supervisor:
        agent = supervisor.create_agent(Model(base_url).config())
        agent.ask(Chat("hello"), timeout=60.0)
        harnesses = [child.pid for child in psutil.Process().children() if child.pid != before]
        child = before or _fork(base_url, own=True)
        facts = {"harnesses": harnesses, "child": child}
        print(json.dumps(facts), flush=True)
        time.sleep(_LIFE)


def _fork(base_url: str, *, own: bool = False) -> int:
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.read(reader, 1)  # The child's own agent replied, or it has no agent.
        os.close(reader)
        return child
    try:
        if own:
            with Supervisor.start(name="of the child") as supervisor:
                supervisor.create_agent(Model(base_url).config()).ask(Chat("hello"), timeout=60.0)
        os.write(writer, b".")
        time.sleep(_LIFE)
    finally:
        os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
