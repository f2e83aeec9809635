"""A program that serves `top`: it prints the address, and does what its standard input says.

    python -m tests.telemetry.top.watched [PORT]

Commands, one a line: ``ask PROMPT`` asks the agent north, ``kill`` kills its process, ``hang``
blocks the thread of the actor blocker, ``go`` releases it, and the end of the input ends the
program.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from agy_actors import AsyncioActor, Chat, GetStatistics, Supervisor
from agy_actors.telemetry.top import serve_top
from agy_actors.testing import ScriptedModel, say

TOKEN = "the-t0ken"


class Blocker(AsyncioActor):
    """Its thread waits for an event."""

    def on_receive(self, message: threading.Event) -> None:
        message.wait()


def main(port: int) -> None:
    release = threading.Event()
    slow = threading.Event()
    with (
        ScriptedModel() as model,
        Supervisor.start(name="shop", max_conversations_per_process=1) as supervisor,
        serve_top(supervisor, port=port, token=TOKEN) as server,
    ):
        model.when("slow", say("done", gate=slow))
        north = supervisor.create_agent(model.openai_config(), "north")
        supervisor.create_agent(model.openai_config(), "süd")
        blocker = supervisor.create_actor(Blocker, name="blocker")
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            command, _, prompt = line.strip().partition(" ")
            match command:
                case "ask":
                    north.ask(Chat(prompt), block=False)
                case "kill":
                    pid = north.ask(GetStatistics()).harness_pid
                    assert pid is not None
                    os.kill(pid, signal.SIGKILL)
                case "hang":
                    blocker.tell(release)
                case "go":
                    release.set()
        release.set()
        slow.set()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
