"""Sends signals to agents, ends them, and resizes pools.

It also ends agents with long conversations: in each turn, a harness takes about two milliseconds
for each earlier turn of the conversation, so a soak would soon measure little else.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import psutil

from agy_actors import AgentRef, AgyActorsError, Cancel, Disconnect, GetTurnCount, PoolRef
from tests.soak.chaos._callers import Worker

if TYPE_CHECKING:
    import random
    import threading
    from collections.abc import Callable

    from tests.soak.chaos._watch import Watch
    from tests.soak.chaos._world import World

__all__ = ["Gardener", "Saboteur"]

_LONGEST_LIFE = 25
"""The most turns of a conversation. Arbitrary."""


class Saboteur(Worker):
    """Does something to an agent or a pool, repeatedly.

    Args:
        pause: seconds between two actions, on average.
    """

    def __init__(
        self,
        world: World,
        watch: Watch,
        chance: random.Random,
        over: threading.Event,
        pause: float,
    ) -> None:
        super().__init__("saboteur", chance, over)
        self._world = world
        self._watch = watch
        self._pause = pause

    def _work(self) -> None:
        self._over.wait(self._chance.expovariate(1 / self._pause))
        actions, weights = zip(*_ACTIONS, strict=True)
        action: Callable[[Saboteur], str | None] = self._chance.choices(actions, weights)[0]
        done = action(self)
        if done is not None:
            self.actions[done] += 1

    def _kill(self) -> str | None:
        return "SIGKILL" if self._signal(signal.SIGKILL) else None

    def _freeze(self) -> str | None:
        return "SIGSTOP" if self._signal(signal.SIGSTOP) else None

    def _signal(self, number: signal.Signals) -> bool:
        victims = self._watch.harnesses()
        if not victims:
            return False
        agent, pid = self._chance.choice(victims)
        try:
            # The id may belong to another process by now.
            if psutil.Process(pid).ppid() != os.getpid():
                return False
            os.kill(pid, number)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return False
        if number is signal.SIGKILL:
            self._watch.killed(agent)
        return True

    def _shut_down(self) -> str | None:
        home = self._chance.choice(self._world.agents)
        drain = self._chance.random() < 0.5
        ref = home.ref()
        assert isinstance(ref, AgentRef)
        if drain:
            ref.stop(timeout=120.0)
            return "stop, drained"
        ref.ask(Disconnect(), timeout=60.0)
        return "shutdown in mid-turn"

    def _retire_member(self) -> str | None:
        members = self._pool().members()
        if members:
            self._chance.choice(members).ask(Disconnect(), timeout=60.0)
        return "shutdown of a pool's member"

    def _resize(self) -> str | None:
        pool = self._pool()
        pool.resize(self._chance.randint(1, 6), timeout=60.0)
        return "resize of a pool"

    def _pool(self) -> PoolRef:
        ref = self._chance.choice(self._world.pools).ref()
        assert isinstance(ref, PoolRef)
        return ref

    def _end_pool(self) -> str | None:
        ref = self._pool()
        self._world.root.shutdown_agent(ref, drain=self._chance.random() < 0.5, timeout=60.0)
        return "shutdown of a pool"

    def _cancel(self) -> str | None:
        ref = self._chance.choice(self._world.agents).ref()
        assert isinstance(ref, AgentRef)
        ref.ask(Cancel(), timeout=60.0)
        return "cancel"


class Gardener(Worker):
    """Ends agents with long conversations. Callers that need one create it again."""

    def __init__(self, world: World, chance: random.Random, over: threading.Event) -> None:
        super().__init__("gardener", chance, over)
        self._world = world

    def _work(self) -> None:
        self._over.wait(1.0)
        refs = [home.ref() for home in (*self._world.agents, *self._world.pools)]
        agents = [ref for ref in refs if isinstance(ref, AgentRef)]
        for ref in refs:
            if isinstance(ref, PoolRef):
                agents += ref.members()
        counts = [(ref, ref.ask(GetTurnCount(), block=False)) for ref in agents]
        for ref, count in counts:
            with contextlib.suppress(AgyActorsError):
                if count.get(timeout=60.0) > _LONGEST_LIFE:
                    ref.stop(block=False)
                    self.actions["end of an old agent"] += 1


_ACTIONS: tuple[tuple[Callable[[Saboteur], str | None], float], ...] = (
    (Saboteur._kill, 45.0),
    (Saboteur._freeze, 8.0),
    (Saboteur._shut_down, 17.0),
    (Saboteur._retire_member, 8.0),
    (Saboteur._resize, 8.0),
    (Saboteur._end_pool, 1.0),
    (Saboteur._cancel, 13.0),
)
"""Its actions, with their weights. Arbitrary."""
