"""The agents of ``agy-actors top --demo``: always asked, with processes that are killed.

The model is scripted. Each agent has a process of its own, so that a kill affects one agent only.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pykka

from agy_actors import AgyActorsError, Chat, GetStatistics, Supervisor
from agy_actors.testing import ScriptedModel, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import AgentRef, PoolRef, SupervisorRef

__all__ = ["running_demo"]

_NAMES = ("north", "east", "south")
_POOL_SIZE = 2
_ASKERS_OF_POOL = 3
"""More than it has members, so that turns wait."""

_PIECES = "The answer of the scripted model comes word by word, like the one of a real model."
_PIECE_DELAY = 0.2
"""Seconds between two words: a turn takes some three seconds, and can be watched."""

_PAUSE = 1.0
"""The mean seconds between two turns of an agent."""

_KILL_EVERY = 8.0
"""Seconds between two kills. Arbitrary: often enough to watch."""

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has only SIGTERM, which kills too.


@contextmanager
def running_demo() -> Iterator[SupervisorRef]:
    """Run the agents during the block.

    Raises:
        AgyActorsError: the agents did not start.
    """
    over = threading.Event()
    with ExitStack() as stack:
        threads: list[threading.Thread] = []
        # The blocks are left in reverse order: the threads end when the agents have ended.
        stack.callback(_join, threads)
        model = stack.enter_context(ScriptedModel())
        model.when("", say(_PIECES, delay=_PIECE_DELAY))
        supervisor = stack.enter_context(
            Supervisor.start(name="demo", max_conversations_per_process=1, max_restarts=1000)
        )
        stack.callback(over.set)
        config = model.openai_config()
        agents = [supervisor.create_agent(config, name) for name in _NAMES]
        team = supervisor.create_supervisor("team")
        pool = team.create_pool(config, size=_POOL_SIZE, name="writers")
        threads += [
            threading.Thread(target=_ask, args=(ref, over), daemon=True)
            for ref in [*agents, *[pool] * _ASKERS_OF_POOL]
        ]
        threads.append(threading.Thread(target=_kill, args=(agents, over), daemon=True))
        for thread in threads:
            thread.start()
        yield supervisor


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        if thread.ident is not None:  # It was started.
            thread.join()


def _ask(ref: AgentRef | PoolRef, over: threading.Event) -> None:
    """Ask until the demonstration is over, or the agent has ended."""
    for number in itertools.count(1):
        if over.wait(random.uniform(0, 2 * _PAUSE)):  # noqa: S311 (only to vary what is seen)
            return
        try:
            ref.ask(Chat(f"Question {number}"))
        except pykka.ActorDeadError:
            return
        except AgyActorsError:
            continue  # `top` shows it.


def _kill(agents: list[AgentRef], over: threading.Event) -> None:
    """Kill the process of one agent after another."""
    for agent in itertools.cycle(agents):
        if over.wait(_KILL_EVERY):
            return
        with contextlib.suppress(AgyActorsError, OSError):
            pid = agent.ask(GetStatistics(), timeout=_KILL_EVERY).harness_pid
            if pid is not None:
                os.kill(pid, _KILL)
