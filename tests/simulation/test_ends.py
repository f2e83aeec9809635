"""Stops that wait for turns, stops that do not, and stops whose caller has given up."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgentCrashed,
    AgentDeadError,
    AskTimeout,
    Backoff,
    Chat,
    Shutdown,
    ShutdownAgent,
    Supervisor,
    TurnEnded,
    TurnRetried,
    watch,
)
from agy_actors.testing import SimulatedAgent, Simulation, crash, hang, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef, Event, SupervisorRef

STOP_TIMEOUT = 10.0
"""Seconds: the default of `stop_timeout`."""


def the_supervisor(supervisor: SupervisorRef, config: SimulatedAgent) -> tuple[Any, Any]:
    return supervisor, supervisor.create_agent(config)


def one_below(supervisor: SupervisorRef, config: SimulatedAgent) -> tuple[Any, Any]:
    team = supervisor.create_supervisor("team")
    return team, team.create_agent(config)


def above(supervisor: SupervisorRef, config: SimulatedAgent) -> tuple[Any, Any]:
    return supervisor, supervisor.create_supervisor("team").create_agent(config)


def a_pool(supervisor: SupervisorRef, config: SimulatedAgent) -> tuple[Any, Any]:
    pool = supervisor.create_pool(config, 1)
    return pool, pool


def above_a_pool(supervisor: SupervisorRef, config: SimulatedAgent) -> tuple[Any, Any]:
    return supervisor, supervisor.create_pool(config, 1)


OWNERS = [the_supervisor, one_below, above, a_pool, above_a_pool]


@pytest.fixture(params=OWNERS, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Any:
    """Create the object to shut down, and the object with turns."""
    return request.param


@pytest.mark.parametrize("timeout", [0.0, 1.0])
def test_a_shutdown_does_not_end_in_time(make: Any, timeout: float) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            owner, agent = make(supervisor, SimulatedAgent([reply("done", after=5.0)]))
            turn = agent.ask(Chat("go"), block=False)
            sim.sleep(0.5)

            with pytest.raises(AskTimeout):
                owner.shutdown(drain=True, timeout=timeout)

            assert sim.now == 0.5 + timeout
            watch(owner).get(timeout=60.0)
            assert turn.get(timeout=0).text == "done"
            assert sim.now == pytest.approx(5.0, abs=0.2)
            assert not owner.is_alive()
            assert owner.shutdown(drain=True) is False

    Simulation().run(scenario)


def test_a_shutdown_whose_future_is_cancelled_still_ends(make: Any) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            owner, agent = make(supervisor, SimulatedAgent([reply("done", after=5.0)]))
            turn = agent.ask(Chat("go"), block=False)
            sim.sleep(0.5)

            future = owner.ask(Shutdown(drain=True), block=False)
            sim.sleep(0.5)
            future.cancel()

            watch(owner).get(timeout=60.0)
            assert turn.get(timeout=0).text == "done"

    Simulation().run(scenario)


@pytest.mark.parametrize("drain", [True, False])
def test_a_child_whose_shutdown_times_out_still_ends(*, drain: bool) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([reply("done", after=5.0)], stop=1.0))
            turn = agent.ask(Chat("go"), block=False)
            sim.sleep(0.5)

            with pytest.raises(AskTimeout):
                supervisor.shutdown_agent(agent, drain=drain, timeout=0.0)

            watch(agent).get(timeout=60.0)
            assert supervisor.children() == {}
            if drain:
                assert turn.get(timeout=0).text == "done"
            else:
                with pytest.raises(AgentDeadError):
                    turn.get(timeout=0)

    Simulation().run(scenario)


def stop(owner: Any) -> None:
    owner.stop()


def stop_now(owner: Any) -> None:
    owner.stop(now=True)


def shut_down(owner: Any) -> None:
    owner.shutdown()


def shut_down_by_message(owner: Any) -> None:
    with contextlib.suppress(AgentDeadError):  # A pool that drains takes no message but a stop.
        owner.ask(Shutdown())
    owner.stop()


@pytest.mark.parametrize("hurry", [stop, stop_now, shut_down, shut_down_by_message])
def test_an_end_without_drain_does_not_wait_for_a_drain_in_progress(
    make: Any, hurry: Callable[[Any], None]
) -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            owner, agent = make(supervisor, SimulatedAgent([hang(), reply("never")]))
            turns = [agent.ask(Chat("go"), block=False) for _ in range(2)]
            sim.sleep(0.5)
            with pytest.raises(AskTimeout):
                owner.shutdown(drain=True, timeout=1.0)

            hurry(owner)

            assert sim.now == pytest.approx(1.5, abs=0.2)
            for turn in turns:
                with pytest.raises(AgentDeadError):
                    turn.get(timeout=0)

    Simulation().run(scenario)


def test_a_child_that_drains_ends_at_once_when_it_is_shut_down_without_drain() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([hang()]))
            turn = agent.ask(Chat("go"), block=False)
            sim.sleep(0.5)
            with pytest.raises(AskTimeout):
                supervisor.shutdown_agent(agent, drain=True, timeout=1.0)

            supervisor.shutdown_agent(agent)

            assert sim.now == 1.5
            with pytest.raises(AgentDeadError):
                turn.get(timeout=0)

    Simulation().run(scenario)


def test_a_drain_at_its_limit_is_not_a_crash_and_takes_no_longer(make: Any) -> None:
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        events.clear()
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            owner, agent = make(supervisor, SimulatedAgent([hang()]))
            turns = [agent.ask(Chat("go", timeout=600), block=False) for _ in range(2)]
            sim.sleep(0.0)

            owner.shutdown(drain=True)

            assert sim.now == pytest.approx(STOP_TIMEOUT, abs=0.2)
            for turn in turns:
                with pytest.raises(AgentDeadError):
                    turn.get(timeout=0)

    Simulation().run(scenario)
    assert not [event for event in events if isinstance(event, AgentCrashed | TurnRetried)]
    ended = [event.error for event in events if isinstance(event, TurnEnded)]
    assert ended == ["AgentDeadError"]


def test_a_child_that_drains_until_its_limit_is_not_a_crash_and_takes_no_longer() -> None:
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        events.clear()
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            agent = supervisor.create_agent(SimulatedAgent([hang()]), stop_timeout=3.0)
            turns = [agent.ask(Chat("go"), block=False) for _ in range(2)]

            supervisor.shutdown_agent(agent, drain=True)

            assert sim.now == 3.0
            for turn in turns:
                with pytest.raises(AgentDeadError):
                    turn.get(timeout=0)

    Simulation().run(scenario)
    assert not [event for event in events if isinstance(event, AgentCrashed | TurnRetried)]


# Stops of agents.


def _with_turns(supervisor: SupervisorRef) -> tuple[AgentRef, list[Any]]:
    agent = supervisor.create_agent(SimulatedAgent([reply(after=2.0)] * 3))
    return agent, [agent.ask(Chat("go"), block=False) for _ in range(3)]


def test_a_stop_lets_all_turns_end_that_were_asked_before() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent, turns = _with_turns(supervisor)

            agent.stop()

            assert sim.now == 6.0
            assert [turn.get(timeout=0).text for turn in turns] == ["go"] * 3

    Simulation().run(scenario)


def test_a_stop_now_waits_for_no_turn() -> None:
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        events.clear()
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            agent, turns = _with_turns(supervisor)
            sim.sleep(3.0)

            assert agent.stop(now=True)

            assert sim.now == 3.0
            assert turns[0].get(timeout=0).text == "go"
            for turn in turns[1:]:
                with pytest.raises(AgentDeadError):
                    turn.get(timeout=0)
            assert supervisor.children() == {}
            assert not agent.stop(now=True)

    Simulation().run(scenario)
    assert not [event for event in events if isinstance(event, AgentCrashed | TurnRetried)]


def test_a_stop_now_hurries_a_stop_that_is_under_way() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent, turns = _with_turns(supervisor)
            first = agent.stop(block=False)
            with pytest.raises(AskTimeout):
                agent.stop(timeout=1.0)

            assert agent.stop(now=True)

            assert sim.now == 1.0
            assert first.get(timeout=0)
            for turn in turns:
                with pytest.raises(AgentDeadError):
                    turn.get(timeout=0)

    Simulation().run(scenario)


def _stop_now(agent: AgentRef, _: SupervisorRef) -> None:
    agent.stop(now=True)


def _shut_down(agent: AgentRef, supervisor: SupervisorRef) -> None:
    supervisor.shutdown_agent(agent)


def _stop_the_supervisor(_: AgentRef, supervisor: SupervisorRef) -> None:
    supervisor.stop()


@pytest.mark.parametrize("hurry", [_stop_now, _shut_down, _stop_the_supervisor])
@pytest.mark.parametrize("later", [0.0, 1.0])
def test_an_end_that_does_not_wait_for_turns_speeds_up_a_stop_that_does(
    hurry: Callable[[AgentRef, SupervisorRef], None], later: float
) -> None:
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        events.clear()
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            agent, turns = _with_turns(supervisor)
            stopped = agent.stop(block=False)
            if later:
                sim.sleep(later)

            hurry(agent, supervisor)

            assert sim.now == later
            assert stopped.get(timeout=0)
            for turn in turns:
                with pytest.raises(AgentDeadError):
                    turn.get(timeout=0)

    Simulation().run(scenario)
    assert not [event for event in events if isinstance(event, AgentCrashed | TurnRetried)]


def test_a_stop_now_ends_an_agent_that_waits_for_its_restart() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start(backoff=Backoff(wait=lambda _: 600.0)) as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([crash(), reply(), crash()]))
            agent.ask("first")
            turn = agent.ask(Chat("second", timeout=3600), block=False)
            sim.sleep(1.0)

            agent.stop(now=True)

            assert sim.now < 60.0
            with pytest.raises(AgentDeadError):
                turn.get(timeout=0)
            assert supervisor.children() == {}

    Simulation().run(scenario)


def test_a_stop_now_of_an_agent_whose_turn_cannot_be_ended_is_not_a_crash() -> None:
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        events.clear()
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            agent = supervisor.create_agent(SimulatedAgent([hang(stuck=True)]))
            turn = agent.ask(Chat("go", timeout=600), block=False)
            sim.sleep(1.0)

            agent.stop(now=True)

            with pytest.raises(AgentDeadError):
                turn.get(timeout=0)

    Simulation().run(scenario)
    assert not [event for event in events if isinstance(event, AgentCrashed | TurnRetried)]


def test_a_shutdown_message_without_drain_ends_a_child_by_its_own_message() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([hang()]))
            agent.ask(Chat("go"), block=False)
            drained = supervisor.ask(ShutdownAgent(agent, drain=True), block=False)
            sim.sleep(1.0)

            supervisor.ask(ShutdownAgent(agent))

            assert sim.now == 1.0
            assert drained.get(timeout=0) is None

    Simulation().run(scenario)
