"""Each turn that has started ends with an event, also if its agent's end cuts it off."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgentRef,
    AgyActorsError,
    Backoff,
    Chat,
    Disconnect,
    PoolRef,
    ReplyFuture,
    Send,
    Supervisor,
    TurnEnded,
    TurnStarted,
)
from agy_actors.testing import SimulatedAgent, Simulation, crash, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import Event, SupervisorRef

Ref = AgentRef | PoolRef


def single(supervisor: SupervisorRef, config: SimulatedAgent) -> AgentRef:
    return supervisor.create_agent(config, name="poet")


def pool(supervisor: SupervisorRef, config: SimulatedAgent) -> PoolRef:
    return supervisor.create_pool(config, 1, name="poets")


OWNERS = [single, pool]

GIVEN: dict[str, Callable[[Ref], object]] = {
    "asked-chat": lambda ref: ref.ask(Chat("hello"), block=False),
    "told-chat": lambda ref: ref.tell(Chat("hello")),
    "asked-send": lambda ref: ref.ask(Send("hello"), block=False),
    "told-send": lambda ref: ref.tell(Send("hello")),
}

ENDS: dict[str, Callable[[SupervisorRef, Ref], object]] = {
    "drained": lambda supervisor, ref: supervisor.shutdown_agent(ref, drain=True),
    "shut-down": lambda supervisor, ref: supervisor.shutdown_agent(ref),
    "with-its-supervisor": lambda supervisor, _: supervisor.stop(),
    "with-its-drained-supervisor": lambda supervisor, _: supervisor.shutdown(drain=True),
}


class Turns:
    """The turns that started and ended, by agent and number."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.ended: list[tuple[str, int]] = []

    def note(self, event: Event) -> None:
        if isinstance(event, TurnStarted) and event.attempt == 1:
            self.started.append((event.agent, event.turn))
        elif isinstance(event, TurnEnded):
            self.ended.append((event.agent, event.turn))


def play(
    sim: Simulation,
    owner: Callable[..., Ref],
    given: str,
    then: Callable[[SupervisorRef, Ref, Any], object],
    *,
    max_restarts: int = 3,
) -> Turns:
    turns = Turns()
    backoff = Backoff(wait=lambda _: 5.0)
    supervisor = Supervisor.start(name="root", backoff=backoff, max_restarts=max_restarts)
    crashes = [crash(), reply()] if max_restarts else []
    ref = owner(supervisor, SimulatedAgent([*crashes, crash(after=2.0), reply()]))
    if crashes:
        ref.ask("hello")  # Only the first restart is at once.
    supervisor.subscribe(turns.note)
    future = GIVEN[given](ref)
    then(supervisor, ref, future)
    sim.sleep(60.0)
    if isinstance(future, ReplyFuture):
        with contextlib.suppress(AgyActorsError):
            future.get(timeout=0)
    supervisor.stop()
    return turns


# The agent crashes after two seconds, and is to be started again after seven.
@pytest.mark.parametrize("seconds", [1.0, 3.0], ids=["before-the-crash", "after-the-crash"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("owner", OWNERS, ids=["agent", "pool"])
def test_a_turn_of_an_agent_that_ends_instead_of_being_restarted(
    owner: Callable[..., Ref], given: str, end: str, seconds: float
) -> None:
    def scenario(sim: Simulation) -> Turns:
        def end_it(supervisor: SupervisorRef, ref: Ref, _: Any) -> None:
            sim.sleep(seconds)
            sim.client(lambda: ENDS[end](supervisor, ref))

        return play(sim, owner, given, end_it)

    turns = Simulation().run(scenario)

    assert len(turns.started) == 1
    assert turns.ended == turns.started


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("owner", OWNERS, ids=["agent", "pool"])
def test_a_turn_of_an_agent_that_is_given_up(owner: Callable[..., Ref], given: str) -> None:
    def scenario(sim: Simulation) -> Turns:
        return play(sim, owner, given, lambda *_: None, max_restarts=0)

    turns = Simulation().run(scenario)

    assert len(turns.started) == 1
    assert turns.ended == turns.started


@pytest.mark.parametrize("given", GIVEN)
def test_a_turn_of_a_pools_member_that_is_not_restarted(given: str) -> None:
    def scenario(sim: Simulation) -> Turns:
        def end_member(_: SupervisorRef, ref: Ref, future: Any) -> None:
            del future
            sim.sleep(3.0)
            assert isinstance(ref, PoolRef)
            ref.members()[0].tell(Disconnect())

        return play(sim, pool, given, end_member)

    turns = Simulation().run(scenario)

    if "chat" in given:  # Another member answers it.
        assert [agent for agent, _ in turns.started] == ["poets-1", "poets-2"]
        assert turns.ended == turns.started[1:]
    else:  # A `Send` that has started does not move.
        assert [agent for agent, _ in turns.started] == ["poets-1"]
        assert turns.ended == turns.started


@pytest.mark.parametrize("asked_again", [False, True])
@pytest.mark.parametrize("owner", OWNERS, ids=["agent", "pool"])
def test_a_turn_whose_asker_gives_up_before_the_restart(
    owner: Callable[..., Ref], asked_again: bool
) -> None:
    def scenario(sim: Simulation) -> Turns:
        def give_up(_: SupervisorRef, ref: Ref, future: Any) -> None:
            sim.sleep(3.0)
            future.cancel()
            if asked_again:
                sim.sleep(1.0)
                ref.ask(Chat("again"))

        return play(sim, owner, "asked-chat", give_up)

    turns = Simulation().run(scenario)

    assert len(turns.started) == 1 + asked_again
    assert turns.ended == turns.started
