"""The agents and pools of the soak, under a tree of supervisors.

The soak ends agents, and supervisors give some up. A caller that needs one creates it again, with
the same name.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar

import tenacity

from agy_actors import (
    AgentRef,
    Backoff,
    PoolRef,
    Routing,
    Strategy,
    Supervisor,
    SupervisorRef,
)
from tests.soak.chaos._tools import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors.testing import ScriptedModel

__all__ = ["CHAT_TIMEOUT", "HANG_TIMEOUT", "STALL_TIMEOUT", "Home", "World"]

CHAT_TIMEOUT = 5.0
STALL_TIMEOUT = 2.0
HANG_TIMEOUT = 3.0
"""Seconds. Short, so that many faults fit into a soak, and much longer than a healthy turn on a
busy machine."""

_KEYS = 4  # API keys that the agents share, so that a 429 does not hold all of them.

_BACKOFF = Backoff(wait=tenacity.wait_exponential_jitter(initial=0.1, max=1.0, jitter=0.1))


class Home:
    """An agent or a pool, by name, created again when it has ended."""

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self.name = name
        self._make = make
        self._lock = threading.Lock()
        self._ref: Any = None
        self.made = 0

    def ref(self) -> AgentRef | PoolRef | SupervisorRef:
        """Return the ref; create the agent or pool again if it has ended.

        Raises:
            AgyActorsError: it cannot be created now.
        """
        with self._lock:
            if self._ref is None or not self._ref.is_alive():
                self._ref = self._make()
                self.made += 1
            ref: AgentRef | PoolRef | SupervisorRef = self._ref
            return ref


class World:
    """The tree: single agents, two families, and two pools."""

    without_memory: ClassVar[frozenset[str]] = frozenset({"queue"})
    """The pools that open a new conversation for each turn."""

    def __init__(self, model: ScriptedModel, agents: int) -> None:
        self._model = model
        pooled = max(2, agents // 6)
        related = max(2, agents // 8)
        single = max(1, agents - 2 * pooled - 2 * related)
        self.root = Supervisor.start(
            name="root",
            max_restarts=8,
            within=30.0,
            backoff=_BACKOFF,
            hang_timeout=HANG_TIMEOUT,
        )
        self._families = [
            Home(strategy.value, self._family_maker(strategy))
            for strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)
        ]
        self.agents = [
            *(self._agent_home(f"single-{n}", n, None) for n in range(single)),
            *(
                self._agent_home(f"{family.name}-{n}", n, family)
                for family in self._families
                for n in range(related)
            ),
        ]
        self.pools = [
            Home("queue", self._pool_maker("queue", pooled, Routing.SHORTEST_QUEUE, pooled + 2)),
            Home("hash", self._pool_maker("hash", pooled, Routing.CONSISTENT_HASH, None)),
        ]

    def open(self) -> None:
        """Create all agents and pools."""
        for home in (*self.agents, *self.pools):
            home.ref()

    def close(self) -> None:
        """End all supervisors."""
        self.root.stop()

    def _config(self, number: int) -> Any:
        make = (self._model.openai_config, self._model.gemini_config)[number % 2]
        return make(api_key=f"secret-key-{number // 2 % _KEYS}", tools=list(TOOLS.values()))

    def _agent_home(self, name: str, number: int, family: Home | None) -> Home:
        def make() -> AgentRef:
            owner = self.root if family is None else family.ref()
            assert isinstance(owner, SupervisorRef)
            # A restarted family restarts its agents by itself.
            known = owner.children().get(name)
            if known is not None and known.is_alive():
                return known
            return owner.create_agent(
                self._config(number), name, idle_timeout=None if number % 3 else 10.0
            )

        return Home(name, make)

    def _family_maker(self, strategy: Strategy) -> Callable[[], SupervisorRef]:
        return lambda: self.root.create_supervisor(
            strategy.value, strategy=strategy, max_restarts=5, within=20.0
        )

    def _pool_maker(
        self, name: str, size: int, routing: Routing, most: int | None
    ) -> Callable[[], PoolRef]:
        return lambda: self.root.create_pool(
            self._config(len(name)),
            size,
            name,
            routing=routing,
            max_size=most,
            shrink_after=2.0,
            max_restarts=10,
            within=20.0,
        )
