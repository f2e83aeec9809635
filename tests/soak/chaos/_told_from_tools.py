"""Turns that are told from inside a tool, to pools and agents, some of which are ending.

A told turn is carried out, or a `DeadLetter` reports that it was not. An event does not name the
prompt, so both are counted.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from agy_actors import (
    AgentRef,
    AgyActorsError,
    Chat,
    DeadLetter,
    PoolRef,
    Restart,
    Routing,
    Send,
    TurnEnded,
)
from agy_actors.testing import call_tool, say
from tests.soak.chaos._trial import Ground, Trial, end_of, missing, wait_until
from tests.soak.chaos._world import CHAT_TIMEOUT, STALL_TIMEOUT

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from agy_actors import Event, SupervisorRef
    from agy_actors.testing import ModelRequest

__all__ = ["ToldFromTools", "lost_turns"]

_PATIENCE = 150.0
"""Seconds for a told turn to be carried out. More than a turn may take by default, and a told turn
has no other limit: only the end of its time shows that the saboteur froze its process."""

_END = 120.0
"""Seconds for an end that waits for turns. Arbitrary; only a failure takes as long."""

_AT_ONCE = 2  # The number of turns that one call of a tool tells.


class _Notes:
    """The prompts that reached the model, and the events about told turns. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prompts: set[str] = set()
        self._not_done: Counter[str] = Counter()

    def note_request(self, request: ModelRequest) -> bool:
        """Note a prompt. It is a rule for the model that never matches."""
        if request.prompt.startswith("q"):
            with self._lock:
                self._prompts.add(request.prompt)
        return False

    def note_event(self, event: Event) -> None:
        """Note a turn that was not carried out, or that failed. For the subscription."""
        if isinstance(event, DeadLetter) or (
            isinstance(event, TurnEnded) and event.error is not None
        ):
            with self._lock:
                self._not_done.update({event.supervisor, event.agent})

    def asked(self) -> set[str]:
        """Return the prompts that reached the model."""
        with self._lock:
            return set(self._prompts)

    def not_done(self, name: str) -> int:
        """Return how many turns an agent, or the agents below a supervisor, reported as dead
        letters."""
        with self._lock:
            return self._not_done[name]


def lost_turns(told: list[str], asked: set[str], not_done: int) -> list[str]:
    """Return the told prompts that were neither carried out nor reported, by their number."""
    never_asked = missing(told, asked)
    return never_asked if len(never_asked) > not_done else []


class ToldFromTools(Trial):
    """Lets an agent's tool tell turns to others."""

    fault: ClassVar[str] = "tell from a tool"

    def __init__(
        self,
        number: int,
        ground: Ground,
        chance: random.Random,
        over: threading.Event,
        pause: float,
    ) -> None:
        super().__init__(number, ground, chance, over, pause)
        self._notes = _Notes()
        self._target: AgentRef | PoolRef | None = None
        self._told: list[str] = []
        ground.model.when(self._notes.note_request, say(""))
        for tool in ("tells", "tells_async"):
            ground.model.when(_wants(tool), call_tool(tool))
        ground.root.subscribe(self._notes.note_event, capacity=1_000_000)

    def run_round(self) -> None:
        """Let a tool tell turns, perhaps end their target, and search for the turns."""
        name = f"told-{self.rounds + 1}-{self.without}"
        owner = self._ground.root.create_supervisor(name, restart=Restart.TEMPORARY)
        try:
            self._told = []
            self._target, told_one = self._chance.choice(_TARGETS)(self, owner, name)
            teller = owner.create_agent(
                self._ground.model.openai_config(tools=self._tools()), f"{name}-teller"
            )
            if self._target is None:
                self._target, told_one = teller, f"{name}-teller"
            for _ in range(self._chance.randint(1, 3)):
                self._have_told(teller)
            end = self._chance.choice(_ENDS)
            if end is not None:
                with contextlib.suppress(AgyActorsError):
                    end(owner, self._target)
            self._look_for_turns(told_one)
        finally:
            owner.stop()

    def _have_told(self, teller: AgentRef) -> None:
        tool = self._chance.choice(("tells", "tells_async"))
        chat = Chat(f"use {tool}", timeout=2 * CHAT_TIMEOUT, stall_timeout=STALL_TIMEOUT)
        try:
            teller.ask(chat, timeout=_END)
        except AgyActorsError as error:
            self.outcomes[f"teller's {end_of(error)}"] += 1

    def _look_for_turns(self, told_one: str) -> None:
        told = list(self._told)

        def lost() -> list[str]:
            return lost_turns(told, self._notes.asked(), self._notes.not_done(told_one))

        wait_until(lambda: not missing(told, self._notes.asked()) or not lost(), _PATIENCE)
        for prompt in lost():
            self._blame(f"{prompt!r}, told to {self._target}, was neither done nor a dead letter")
        done = len(told) - len(missing(told, self._notes.asked()))
        self.outcomes["carried out"] += done
        self.outcomes["said not to be"] += len(told) - done - len(lost())

    def _tools(self) -> list[Callable[[], Any]]:
        def tells() -> str:
            """Tell turns to another agent."""
            return self._tell()

        async def tells_async() -> str:
            """Tell turns to another agent, on the agent's loop."""
            return self._tell()

        return [tells, tells_async]

    def _tell(self) -> str:
        target = self._target
        for _ in range(_AT_ONCE):
            text = self._prompt().text
            try:
                if isinstance(target, PoolRef):
                    target.tell(Send(text), key=text)
                elif target is not None:
                    target.tell(Send(text))
            except pykka.ActorDeadError:
                self.outcomes["refused: ended"] += 1
            else:
                self._told.append(text)
        return "told"

    def _own(self, owner: SupervisorRef, name: str) -> tuple[None, str]:
        """Choose the telling agent itself."""
        del owner
        return None, name

    def _agent(self, owner: SupervisorRef, name: str) -> tuple[AgentRef, str]:
        name = f"{name}-agent"
        return owner.create_agent(self._ground.model.openai_config(), name), name

    def _pool(self, owner: SupervisorRef, name: str) -> tuple[PoolRef, str]:
        name = f"{name}-pool"
        routing = self._chance.choice(
            (Routing.SHORTEST_QUEUE, Routing.ROUND_ROBIN, Routing.CONSISTENT_HASH)
        )
        config = self._ground.model.gemini_config()
        return owner.create_pool(config, 2, name, routing=routing), name


def _wants(tool: str) -> Callable[[ModelRequest], bool]:
    def applies(request: ModelRequest) -> bool:
        return request.prompt == f"use {tool}" and request.messages[-1][0] != "tool"

    return applies


_TARGETS: tuple[
    Callable[[ToldFromTools, SupervisorRef, str], tuple[AgentRef | PoolRef | None, str]], ...
] = (
    ToldFromTools._pool,
    ToldFromTools._pool,
    ToldFromTools._agent,
    ToldFromTools._own,
)

_ENDS: tuple[Callable[[SupervisorRef, AgentRef | PoolRef], object] | None, ...] = (
    None,
    None,
    lambda owner, target: owner.shutdown_agent(target, timeout=_END),
    lambda owner, target: owner.shutdown_agent(target, drain=True, timeout=_END),
    lambda owner, _: owner.stop(timeout=_END),
)
