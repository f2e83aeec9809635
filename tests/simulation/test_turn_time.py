"""A turn ends at its timeout, for every kind of wait of its agent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from agy_actors import (
    AgentStartError,
    Backoff,
    Chat,
    Disconnect,
    GetStatistics,
    RetryPolicy,
    Routing,
    Send,
    Strategy,
    Supervisor,
    TurnEnded,
    TurnInterrupted,
    TurnTimeout,
    WaitForIdle,
)
from agy_actors.testing import (
    PctSchedules,
    RandomSchedules,
    SimulatedAgent,
    Simulation,
    crash,
    explore,
    hang,
    reply,
)
from tests.simulation.effort import times

if TYPE_CHECKING:
    from agy_actors import AgentRef, Event, SupervisorRef

SLOW = Backoff(wait=tenacity.wait_fixed(8.0), reset_after=3600.0)
ONCE = RetryPolicy(attempts=1)


def supervise(**options: Any) -> SupervisorRef:
    return Supervisor.start(name="root", **{"backoff": SLOW, **options})


FIRST = (crash(), reply())
"""The first failure restarts at once, and the turn is retried."""


def answer_after_a_crash(agent: AgentRef) -> None:
    assert agent.ask(Chat("first")).text == "first"


def test_a_turns_time_ends_during_a_restart() -> None:
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            supervisor.subscribe(events.append)
            agent = supervisor.create_agent(SimulatedAgent([*FIRST, crash(after=1.0)]))
            answer_after_a_crash(agent)
            with pytest.raises(TurnTimeout, match=r"did not end within 2 seconds.*restart"):
                agent.ask(Chat("go", timeout=2.0))
            assert sim.now == 2.0
            assert agent.ask(Chat("next", timeout=60.0)).text == "next"
            assert sim.now == 9.0
            assert agent.ask(GetStatistics()).turns == 3

    Simulation().run(scenario)
    ended = [event for event in events if isinstance(event, TurnEnded)]
    assert [(event.turn, event.error, event.seconds) for event in ended] == [
        (1, None, 0.0),
        (2, "TurnTimeout", 2.0),
        (3, None, 0.0),
    ]


def test_a_turn_that_a_crash_interrupted_ends_in_time_while_its_agent_starts_again() -> None:
    def scenario(sim: Simulation) -> None:
        at_once = Backoff(wait=tenacity.wait_none())
        with supervise(backoff=at_once) as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([crash(after=1.0)], start=10.0))
            began = sim.now
            with pytest.raises(TurnTimeout, match="restart"):
                agent.ask(Chat("go", timeout=2.0))
            assert sim.now == began + 2.0
            assert agent.ask(Chat("next")).text == "next"

    Simulation().run(scenario)


@pytest.mark.parametrize("start", [0.0, 10.0])
def test_no_turn_waits_for_a_restart_for_longer_than_its_own_time(start: float) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            script = [*FIRST, crash()]
            agent = supervisor.create_agent(SimulatedAgent(script, start=start))
            answer_after_a_crash(agent)
            began = sim.now
            agent.tell(Chat("crash"))
            sim.sleep(1.0)
            patient = agent.ask(Chat("patient", timeout=30.0), block=False)
            hasty = [agent.ask(Chat(f"{n}", timeout=2.0 + n), block=False) for n in range(3)]
            agent.tell(Chat("told", timeout=1.0))
            for number, turn in enumerate(hasty):
                with pytest.raises(TurnTimeout, match="did not begin"):
                    turn.get()
                assert sim.now == began + 3.0 + number
            assert patient.get().text == "patient"
            assert sim.now == began + 8.0 + start

    Simulation().run(scenario)


def test_a_turn_that_waited_for_a_restart_has_all_of_its_time_when_it_begins() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise(max_restarts=10) as supervisor:
            script = [crash(), crash(), reply(after=9.0), crash(), reply(after=9.0)]
            agent = supervisor.create_agent(SimulatedAgent(script), retry=ONCE)
            agent.tell(Chat("crash"))  # The first failure restarts at once.
            for _ in range(2):
                began = sim.now
                agent.tell(Chat("crash"))
                assert agent.ask(Chat("go", timeout=10.0)).text == "go"
                assert sim.now == began + 17.0

    Simulation().run(scenario)


def test_a_stream_ends_in_time_while_its_agent_waits_for_its_restart() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([*FIRST, crash(after=1.0)]))
            answer_after_a_crash(agent)
            with pytest.raises(TurnTimeout):
                list(agent.stream(Chat("go", timeout=2.0)))
            assert sim.now == 2.0

    Simulation().run(scenario)


def test_a_turn_ends_in_time_while_its_agent_is_restarted_with_its_siblings() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise(strategy=Strategy.ONE_FOR_ALL) as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([hang()]))
            sibling = supervisor.create_agent(SimulatedAgent([*FIRST, crash(after=1.0)]))
            answer_after_a_crash(sibling)
            sibling.tell(Chat("crash"))
            with pytest.raises(TurnTimeout):
                agent.ask(Chat("go", timeout=2.0))
            assert sim.now == 2.0

    Simulation().run(scenario)


def test_a_turn_ends_in_time_while_its_agent_wakes_up() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent(start=5.0), idle_timeout=1.0)
            sim.sleep(10.0)
            began = sim.now
            with pytest.raises(TurnTimeout, match="waited for its agent to wake up"):
                agent.ask(Chat("go", timeout=2.0))
            assert sim.now == began + 2.0
            assert agent.ask(Chat("next", timeout=4.0)).text == "next"
            assert sim.now == began + 5.0
            assert agent.ask(GetStatistics()).restarts == 0

    Simulation().run(scenario)


def test_a_turn_ends_in_time_while_its_next_conversation_is_opened() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(start=5.0), 1)
            pool.ask(Chat("first"))
            began = sim.now
            with pytest.raises(TurnTimeout, match="waited for its agent to wake up"):
                pool.ask(Chat("second", timeout=2.0))
            assert sim.now == began + 2.0

    Simulation().run(scenario)


def test_a_retried_turn_ends_in_time_while_the_quota_of_its_key_holds_it_back() -> None:
    def scenario(sim: Simulation) -> None:
        stubborn = RetryPolicy(attempts=5, retry=tenacity.retry_always)
        with supervise(turn_spacing=5.0) as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([crash(after=1.0)]), retry=stubborn)
            began = sim.now
            others = [supervisor.create_agent(SimulatedAgent()) for _ in range(3)]
            turn = agent.ask(Chat("go", timeout=12.0), block=False)
            sim.sleep(0.5)
            turns = [other.ask(Chat("hi"), block=False) for other in others]
            with pytest.raises(TurnTimeout, match="quota"):
                turn.get()
            assert sim.now == began + 12.0
            assert [other.get().text for other in turns] == ["hi"] * 3

    Simulation().run(scenario)


def test_a_started_turn_without_a_waiting_asker_blocks_no_other_turn() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent([*FIRST, crash(after=1.0)]))
            answer_after_a_crash(agent)
            agent.ask(Send("go"))
            agent.ask(WaitForIdle())
            assert sim.now == 9.0
            assert agent.ask(Chat("next")).text == "next"

    Simulation().run(scenario)


@pytest.mark.parametrize("strategy", [RandomSchedules, PctSchedules])
def test_each_turn_is_answered_once_and_in_time_in_every_schedule(strategy: Any) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise(max_restarts=50) as supervisor:
            config = SimulatedAgent(lambda _: reply(after=1.0), crashes=3, start=1.0)
            with contextlib.suppress(AgentStartError):
                agent = supervisor.create_agent(config)
                check(sim, agent)

    def check(sim: Simulation, agent: AgentRef) -> None:
        began = sim.now
        turns = [agent.ask(Chat(f"{n}", timeout=2.5 + n), block=False) for n in range(4)]
        for number, turn in enumerate(turns):
            try:
                assert turn.get().text == f"{number}"
            except (TurnTimeout, TurnInterrupted):
                continue
        # Each waits for a restart for at most its own time, and then has that time once more.
        assert sim.now - began <= 2 * sum(2.5 + n for n in range(4))

    explore(scenario, strategy(seed=1), runs=times(30))


# Pools.

ROUTINGS = [Routing.SHORTEST_QUEUE, Routing.ROUND_ROBIN, Routing.RANDOM]


@pytest.mark.parametrize("routing", ROUTINGS, ids=str)
def test_a_turn_waits_no_longer_than_its_time_while_no_member_of_its_pool_is_up(
    routing: Routing,
) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent([*FIRST, crash()]), 1, routing=routing)
            assert pool.ask(Chat("first")).text == "first"
            pool.tell(Chat("crash"))
            sim.sleep(1.0)
            patient = pool.ask(Chat("patient", timeout=60.0), block=False)
            hasty = [pool.ask(Chat(f"{n}", timeout=2.0 + n), block=False) for n in range(3)]
            pool.tell(Chat("told", timeout=1.0))
            for number, turn in enumerate(hasty):
                with pytest.raises(TurnTimeout, match=r"did not begin.*restart"):
                    turn.get()
                assert sim.now == pytest.approx(3.0 + number, abs=0.1)
            assert patient.get().text == "patient"
            assert sim.now == 8.0

    Simulation().run(scenario)


def test_a_turn_for_a_certain_member_waits_no_longer_than_its_time_for_its_restart() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            pool = supervisor.create_pool(
                SimulatedAgent([*FIRST, crash()]), 2, routing=Routing.CONSISTENT_HASH
            )
            assert pool.ask(Chat("first"), key="ada").text == "first"
            pool.tell(Chat("crash"), key="ada")
            sim.sleep(1.0)
            with pytest.raises(TurnTimeout):
                pool.ask(Chat("hi", timeout=2.0), key="ada")
            assert sim.now == pytest.approx(3.0, abs=0.1)
            assert pool.ask(Chat("hi"), key="ada").text == "hi"

    Simulation().run(scenario)


def test_a_broadcast_waits_no_longer_than_its_time_for_the_restart_of_a_member() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            pool = supervisor.create_pool(
                SimulatedAgent(lambda prompt: crash() if prompt == "crash" else reply()),
                2,
                routing=Routing.BROADCAST,
            )
            pool.members()[0].tell(Chat("crash"))  # Twice, and then it waits for its restart.
            sim.sleep(1.0)
            with pytest.raises(TurnTimeout):
                pool.broadcast(Chat("hi", timeout=2.0))
            assert sim.now == pytest.approx(3.0, abs=0.1)
            assert [answer.text for answer in pool.broadcast(Chat("hi"))] == ["hi", "hi"]

    Simulation().run(scenario)


def test_a_turn_that_outlived_its_member_ends_in_time_wherever_it_waits() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(lambda _: reply(after=10.0)), 1)
            turn = pool.ask(Chat("go", timeout=12.0), block=False)
            sim.sleep(5.0)
            pool.members()[0].ask(Disconnect())
            other = pool.ask(Chat("other", timeout=60.0), block=False)
            with pytest.raises(TurnTimeout):
                turn.get()
            assert sim.now == pytest.approx(12.0, abs=0.1)
            assert other.get().text == "other"

    Simulation().run(scenario)
