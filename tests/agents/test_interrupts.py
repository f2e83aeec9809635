"""Ctrl-C, and any other interruption of a wait, cancels the request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psutil
import pykka
import pytest

from agy_actors import Chat, Event
from agy_actors.testing import SimulatedAgent, hang, reply, silence
from tests.harnesses import HANGS, PATIENCE, SOON, children, fake_harness, until
from tests.interrupts import ERRORS, ctrl_c, interrupted, interrupted_at_reply
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agy_actors import AgentRef, PoolRef, SupervisorRef
    from agy_actors.testing import ScriptedModel

    Wait = Callable[[AgentRef], object]

WAITS: dict[str, Wait] = {
    "ask": lambda agent: agent.ask("slow"),
    "ask with a timeout": lambda agent: agent.ask("slow", timeout=600),
    "stream": lambda agent: list(agent.stream("slow")),
    "events": lambda agent: list(agent.stream("slow").events(timeout=600)),
    "result": lambda agent: agent.stream("slow").result(),
}
POOL_WAITS: dict[str, Callable[[PoolRef], object]] = {
    "ask": lambda pool: pool.ask("slow"),
    "stream": lambda pool: list(pool.stream("slow")),
    "map": lambda pool: list(pool.map(["slow"] * 9)),
    "as_completed": lambda pool: list(pool.as_completed(["slow"] * 9)),
}


@pytest.mark.parametrize("error", quick(ERRORS, 0))
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_an_interrupted_wait_cancels_its_turn(
    model: ScriptedModel, agent: AgentRef, wait: Wait, error: type[BaseException]
) -> None:
    model.then(silence("one two three "))

    # The traceback keeps the frames of the wait, and with them the stream.
    with (
        interrupted(error, lambda: model.wait_for_requests(1)),
        pytest.raises(error) as caught,
    ):
        wait(agent)

    assert model.wait_for_disconnect(SOON).prompt == "slow"
    assert agent.ask("next", timeout=PATIENCE).text == "echo: next"
    assert caught.value.__traceback__ is not None


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_ctrl_c_interrupts_a_wait(model: ScriptedModel, agent: AgentRef, wait: Wait) -> None:
    model.then(silence())

    with ctrl_c(lambda: model.wait_for_requests(1)), pytest.raises(KeyboardInterrupt):
        wait(agent)

    # The next turn does not wait for the one before.
    assert agent.ask(Chat("next", timeout=SOON), timeout=PATIENCE).text == "echo: next"


def test_an_interrupted_reader_does_not_cancel_the_turn_of_other_readers(
    model: ScriptedModel, agent: AgentRef
) -> None:
    release = threading.Event()
    stream = agent.stream(Chat("hi"))
    model.then(silence())
    other = stream.events()

    with interrupted(KeyboardInterrupt, release.set), pytest.raises(KeyboardInterrupt):
        list(stream.thoughts())

    assert not stream.done()
    other.close()
    assert stream.future.cancelled()


@pytest.mark.parametrize("error", quick(ERRORS, 0))
@pytest.mark.parametrize("wait", POOL_WAITS.values(), ids=POOL_WAITS)
def test_an_interrupted_wait_for_a_pool_cancels_its_turns(
    supervisor: SupervisorRef, wait: Callable[[PoolRef], object], error: type[BaseException]
) -> None:
    config = SimulatedAgent(lambda prompt: hang() if prompt == "slow" else reply())
    pool = supervisor.create_pool(config, 2)

    with interrupted(error, lambda: until(lambda: bool(config.requests))), pytest.raises(error):
        wait(pool)

    assert [answer.text for answer in pool.map(["a", "b"], timeout=PATIENCE)] == ["a", "b"]
    until(lambda: pool.statistics().busy == pool.statistics().waiting == 0)


@pytest.mark.new_processes
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("what", ["agent", "pool"])
def test_an_interrupted_create_ends_the_unfinished_child(
    supervisor: SupervisorRef,
    model: ScriptedModel,
    tmp_path: Path,
    error: type[BaseException],
    what: str,
) -> None:
    config = model.openai_config(env=fake_harness(tmp_path, HANGS))

    create = supervisor.create_agent if what == "agent" else supervisor.create_pool

    with interrupted(error, lambda: until(lambda: bool(children()))), pytest.raises(error):
        create(config, name="poet")

    _, alive = psutil.wait_procs(children(), timeout=PATIENCE)
    assert not alive
    agent = supervisor.create_agent(model.openai_config(), "poet", timeout=PATIENCE)
    assert agent.ask("hi").text == "echo: hi"
    assert supervisor.children() == {"poet": agent}
    assert supervisor.pools() == {}


def test_a_create_that_is_interrupted_at_its_end_leaves_nothing_behind(
    supervisor: SupervisorRef,
) -> None:
    make: list[Callable[[], object]] = [
        lambda: supervisor.create_agent(SimulatedAgent(), "it"),
        lambda: supervisor.create_pool(SimulatedAgent(), 2, "it"),
        lambda: supervisor.create_supervisor("it"),
    ]
    before = pykka.ActorRegistry.get_all()

    for create in make:
        with interrupted_at_reply(KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            create()
        until(lambda: pykka.ActorRegistry.get_all() == before)


def test_a_subscription_whose_subscriber_was_interrupted_ends(supervisor: SupervisorRef) -> None:
    events: list[Event] = []

    with interrupted_at_reply(KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        supervisor.subscribe(events.append)
    supervisor.create_agent(SimulatedAgent())
    supervisor.stop()

    assert events == []


def test_an_interrupted_resize_keeps_the_size_and_the_pool_continues(
    supervisor: SupervisorRef,
) -> None:
    pool = supervisor.create_pool(SimulatedAgent(start=0.2), 1)

    with interrupted(KeyboardInterrupt, lambda: None), pytest.raises(KeyboardInterrupt):
        pool.resize(3)

    pool.resize(3, timeout=PATIENCE)
    assert len(pool.members()) == 3
    pool.resize(1, timeout=PATIENCE)
    assert pool.ask("hi", timeout=PATIENCE).text == "hi"


def test_an_interrupted_shutdown_continues(supervisor: SupervisorRef) -> None:
    below = supervisor.create_supervisor("below")
    below.create_agent(SimulatedAgent(stop=0.2))

    with interrupted(KeyboardInterrupt, lambda: None), pytest.raises(KeyboardInterrupt):
        below.shutdown()

    until(lambda: not below.is_alive())
    until(lambda: not supervisor.supervisors())
