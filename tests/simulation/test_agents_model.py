"""The guarantees of agents, supervisors and pools, in drawn schedules with drawn faults."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import tenacity
from hypothesis import strategies as st

from agy_actors import (
    AgentDeadError,
    AgentStartError,
    Backoff,
    Cancel,
    Chat,
    GetStatistics,
    IsIdle,
    ModelError,
    QuotaExceeded,
    RetryPolicy,
    Strategy,
    Supervisor,
    TurnCancelled,
    TurnError,
    TurnInterrupted,
    TurnStalled,
    TurnTimeout,
    WaitForIdle,
    watch,
)
from agy_actors._actors.lifeline import DeathReason
from agy_actors.testing import (
    Deviations,
    PctSchedules,
    RandomSchedules,
    SimulatedAgent,
    Simulation,
    crash,
    error,
    explore,
    hang,
    quota,
    reply,
    schedules,
    turns,
)
from tests.simulation.effort import times
from tests.simulation.judged import judged

if TYPE_CHECKING:
    from agy_actors import Event, SupervisorRef
    from agy_actors.testing import SimulatedTurn

SETTINGS = hypothesis.settings(
    max_examples=times(50),
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
PLAIN = Backoff(wait=tenacity.wait_fixed(1.0), reset_after=30.0)


def supervise(**options: Any) -> SupervisorRef:
    return Supervisor.start(name="root", **{"backoff": PLAIN, **options})


# Single turns.


def test_a_turn_streams_in_virtual_time() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            config = SimulatedAgent([reply("one\ntwo\nthree", after=2.0, apart=1.0)])
            agent = supervisor.create_agent(config, name="poet")
            pieces = [(piece, sim.now) for piece in agent.stream("go")]
            assert pieces == [("one\n", 2.0), ("two\n", 3.0), ("three", 4.0)]

    Simulation().run(scenario)


@pytest.mark.parametrize(
    ("turn", "raised", "seconds"),
    [
        (error(500, after=3.0), ModelError, 3.0),
        (quota(30.0, after=1.0), QuotaExceeded, 1.0),
        (hang(), TurnStalled, 20.0),
        (reply("x\n" * 100, apart=1.0), TurnTimeout, 50.0),
        (reply(after=5.0).calling("pay"), TurnInterrupted, 5.0),
    ],
    ids=["error", "quota", "hang", "timeout", "tool"],
)
def test_each_failure_has_its_own_error_at_its_own_time(
    turn: SimulatedTurn, raised: type[TurnError], seconds: float
) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            crashes = 1 if raised is TurnInterrupted else 0
            agent = supervisor.create_agent(SimulatedAgent([turn], crashes=crashes), name="poet")
            with pytest.raises(raised) as failed:
                agent.ask(Chat("go", timeout=50.0, stall_timeout=20.0))
            assert sim.now == seconds
            assert (raised is TurnInterrupted) == bool(failed.value.tool_calls)
            assert agent.ask(Chat("again")).text == "again"

    # The third choice of a value: not the start, not before the tool call, but after it.
    class AfterTool:
        def __init__(self) -> None:
            self.values = 0

        def choose(self, width: int, ready: Any) -> int:
            del width
            self.values += not ready
            return int(not ready and self.values == 3)

    Simulation(AfterTool()).run(scenario)


def test_a_stuck_turn_is_ended_with_its_process_and_the_next_one_is_answered() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            config = SimulatedAgent([hang(stuck=True, text="half")])
            agent = supervisor.create_agent(config, name="poet")
            with pytest.raises(TurnStalled) as stalled:
                agent.ask(Chat("go", stall_timeout=5.0))
            assert stalled.value.text == "half"
            assert agent.ask(Chat("next")).text == "next"
            assert sim.now == 15.0  # And ten seconds of grace.
            assert agent.ask(GetStatistics()).restarts == 1
            assert config.running == 1

    Simulation().run(scenario)


def test_tools_are_called_and_their_blocking_asks_keep_virtual_time() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            helper = supervisor.create_agent(SimulatedAgent([reply(after=7.0)]), name="helper")
            asked: list[float] = []

            def consult(question: str) -> str:
                text = helper.ask(Chat(question)).text
                asked.append(sim.now)
                return text

            config = SimulatedAgent(
                [reply("done").calling("consult", question="why")], tools=[consult]
            )
            answer = supervisor.create_agent(config, name="boss").ask(Chat("go"))
            assert [call.name for call in answer.tool_calls] == ["consult"]
            assert asked == [7.0]

    explore(scenario, RandomSchedules(0), runs=20)


# Many turns, faults and schedules.


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    script=st.lists(turns(), max_size=5),
    crashes=st.integers(0, 2),
    asks=st.lists(st.integers(1, 3), min_size=1, max_size=3),
)
def test_every_ask_is_answered_by_its_own_turn_despite_failures(
    schedule: Deviations, script: list[SimulatedTurn], crashes: int, asks: list[int]
) -> None:
    outcomes: Counter[str] = Counter()
    config = SimulatedAgent(script, crashes=crashes)

    def scenario(sim: Simulation) -> None:
        with supervise(max_restarts=50) as supervisor:
            try:
                agent = supervisor.create_agent(config, name="poet")
            except AgentStartError:
                assert crashes  # One was drawn at its start.
                return

            def client(name: int, number: int) -> None:
                for index in range(number):
                    prompt = f"{name}/{index}"
                    try:
                        # Each answer repeats its prompt, so answers cannot be confused.
                        assert agent.ask(Chat(prompt)).text == prompt
                    except TurnError as wrong:
                        outcomes[type(wrong).__name__] += 1
                    else:
                        outcomes["answer"] += 1
                    assert config.running <= 1

            for running in [sim.client(client, n, number) for n, number in enumerate(asks)]:
                running.result()
            agent.ask(WaitForIdle())
            assert agent.ask(IsIdle())
        assert outcomes.total() == sum(asks)

    Simulation(schedule).run(scenario)

    assert config.running == 0


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    crashing=st.lists(st.sampled_from([0.0, 1.0, 20.0]), min_size=1, max_size=8),
    allowed=st.integers(0, 3),
)
def test_the_intensity_limits_the_restarts_and_then_the_child_ends(
    schedule: Deviations, crashing: list[float], allowed: int
) -> None:
    restarts: list[float] = []

    def scenario(sim: Simulation) -> None:
        with supervise(max_restarts=allowed, within=10.0) as supervisor:
            config = SimulatedAgent([crash(after=after) for after in crashing])
            once = RetryPolicy(attempts=1)
            agent = supervisor.create_agent(config, name="poet", retry=once)
            death = watch(agent)
            told: list[Any] = []
            death.add_done_callback(lambda future: told.append(future.get().reason))
            before = 0
            for _ in crashing:
                try:
                    agent.ask(Chat("go"))
                except TurnInterrupted:
                    pass
                except AgentDeadError:
                    break
                try:
                    now = agent.ask(GetStatistics(), timeout=60).restarts
                except AgentDeadError:
                    break
                if now > before:
                    restarts.append(sim.now)
                    before = now
            dead = not agent.is_alive()
        if dead:
            assert told == [DeathReason.GIVEN_UP]
        else:
            assert told == [DeathReason.STOPPED]

    simulation = Simulation(schedule)
    simulation.run(scenario)

    with judged(simulation):
        for index, last in enumerate(restarts):
            recent = [t for t in restarts[: index + 1] if t > last - 10.0]
            assert len(recent) <= allowed


@pytest.mark.parametrize("strategy", list(Strategy))
@SETTINGS
@hypothesis.given(schedule=schedules(), victim=st.integers(0, 2))
def test_children_are_stopped_in_reverse_and_the_strategy_decides_which_siblings_survive(
    strategy: Strategy, schedule: Deviations, victim: int
) -> None:
    stopped: list[str] = []
    counts: list[int] = []

    def scenario(sim: Simulation) -> None:
        with supervise(strategy=strategy) as supervisor:
            agents = []
            for number in range(3):
                script = [crash()] if number == victim else []
                agent = supervisor.create_agent(
                    SimulatedAgent(script), name=str(number), retry=RetryPolicy(attempts=1)
                )
                watch(agent).add_done_callback(lambda death: stopped.append(str(death.get().ref)))
                agents.append(agent)
            with pytest.raises(TurnInterrupted):
                agents[victim].ask(Chat("crash"))
            sim.sleep(100)
            for agent in agents:
                assert agent.ask(Chat("well")).text == "well"
            counts.extend(agent.ask(GetStatistics()).restarts for agent in agents)

    simulation = Simulation(schedule)
    simulation.run(scenario)

    expected = {
        Strategy.ONE_FOR_ONE: [int(n == victim) for n in range(3)],
        Strategy.ONE_FOR_ALL: [1, 1, 1],
        Strategy.REST_FOR_ONE: [int(n >= victim) for n in range(3)],
    }[strategy]
    with judged(simulation):
        assert counts == expected
        assert stopped == ["agent '2'", "agent '1'", "agent '0'"]


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    size=st.integers(1, 3),
    script=st.lists(turns(), max_size=6),
    prompts=st.integers(1, 8),
    keep=st.booleans(),
)
def test_a_pool_answers_all_turns_and_has_its_full_size_afterwards(
    schedule: Deviations, size: int, script: list[SimulatedTurn], prompts: int, *, keep: bool
) -> None:
    config = SimulatedAgent(script)

    def scenario(sim: Simulation) -> None:
        with supervise(max_restarts=50) as supervisor:
            pool = supervisor.create_pool(
                config, size, name="pool", max_restarts=50, keep_conversation=keep
            )

            def client(number: int) -> None:
                with contextlib.suppress(TurnError, AgentDeadError):
                    assert pool.ask(Chat(str(number))).text == str(number)

            for running in [sim.client(client, number) for number in range(prompts)]:
                running.result()
            sim.sleep(120)
            statistics = pool.statistics()
            assert (statistics.size, statistics.busy, statistics.waiting) == (size, 0, 0)
            assert config.running == size
            # A new conversation for each turn is opened before the one in use is closed.
            assert config._state.max_running <= (size if keep else 3 * size)

    Simulation(schedule).run(scenario)

    assert config.running == 0


@pytest.mark.parametrize("strategy", [RandomSchedules, PctSchedules])
def test_a_cancellation_reaches_only_the_running_turn(strategy: Any) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent(lambda _: reply(after=1.0)), name="poet")
            results: list[str] = []

            def asks(prompt: str) -> None:
                try:
                    results.append(agent.ask(Chat(prompt)).text)
                except TurnCancelled:
                    results.append("cancelled")

            clients = [sim.client(asks, prompt) for prompt in "ab"]
            cancelled = sim.client(agent.ask, Cancel())
            for client in clients:
                client.result()
            assert results.count("cancelled") <= cancelled.result()

    explore(scenario, strategy(4), runs=times(60))


@SETTINGS
@hypothesis.given(schedule=schedules(), when=st.sampled_from([0.0, 0.5, 1.0]))
def test_a_cancellation_is_over_when_its_turn_is(schedule: Deviations, when: float) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            config = SimulatedAgent([reply(after=1.0), reply(after=40.0)])
            agent = supervisor.create_agent(config, name="poet")
            first = agent.ask(Chat("first"), block=False)
            sim.sleep(when)
            agent.ask(Cancel())
            with contextlib.suppress(TurnCancelled):
                first.get()
            assert agent.ask(Chat("second")).attempts == 1
            assert agent.ask(GetStatistics()).restarts == 0

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(schedule=schedules(), prompts=st.integers(2, 4), crashes=st.integers(1, 3))
def test_the_turns_of_one_sender_keep_their_order_through_crashes(
    schedule: Deviations, prompts: int, crashes: int
) -> None:
    def scenario(sim: Simulation) -> None:
        del sim
        crashed: set[str] = set()

        def play(prompt: str) -> SimulatedTurn:
            if len(crashed) < crashes and prompt not in crashed:
                crashed.add(prompt)  # Once: a turn that crashes its agent twice is ended.
                return crash(after=1.0)
            return reply()

        with supervise(max_restarts=50) as supervisor:
            config = SimulatedAgent(play)
            agent = supervisor.create_agent(config, "poet", retry=RetryPolicy(attempts=9))
            asks = [agent.ask(Chat(str(n)), block=False) for n in range(prompts)]
            assert [ask.get().text for ask in asks] == [str(n) for n in range(prompts)]
            begun = [int(request.prompt) for request in config.requests]
            assert begun == sorted(begun)

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(schedule=schedules())
def test_a_key_at_its_quota_holds_back_no_other_key(schedule: Deviations) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            held = SimulatedAgent([quota(300.0)], api_key="one-key")
            free = SimulatedAgent(api_key="another-key")
            refused = supervisor.create_agent(held, name="refused")
            other = supervisor.create_agent(free, name="other")

            def ask() -> None:
                with pytest.raises(QuotaExceeded):
                    refused.ask(Chat("x"))

            asking = sim.client(ask)
            assert other.ask(Chat("first")).text == "first"
            asking.result()
            assert other.ask(Chat("second")).text == "second"
            assert sim.now == 0.0

    Simulation(schedule).run(scenario)


@pytest.mark.parametrize("strategy", [RandomSchedules, PctSchedules])
def test_a_refused_turn_is_retried_at_the_time_that_the_service_states(strategy: Any) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            again = RetryPolicy(attempts=2, retry=tenacity.retry_if_exception_type(QuotaExceeded))
            config = SimulatedAgent([quota(30.0)])
            agent = supervisor.create_agent(config, name="held", retry=again)
            assert agent.ask(Chat("x")).text == "x"
            assert [request.at for request in config.requests] == [0.0, sim.now]
            assert 30.0 <= sim.now < 40.0

    explore(scenario, strategy(4), runs=times(30))


def test_events_of_a_simulation_have_its_time() -> None:
    events: list[Event] = []

    def scenario(_: Simulation) -> None:
        with supervise() as supervisor:
            supervisor.subscribe(events.append)
            agent = supervisor.create_agent(SimulatedAgent([crash(after=5.0)]), name="poet")
            agent.ask(Chat("go"))

    Simulation().run(scenario)

    kinds = [type(event).__name__ for event in events]
    assert kinds.count("AgentCrashed") == 1
    times = [event.at - events[0].at for event in events]
    assert times == sorted(times)
    assert times[-1] == 5.0


# Long runs.


@pytest.mark.parametrize("hours", [0.25, pytest.param(2.0, marks=pytest.mark.slow)])
def test_hours_of_crashes_quota_waits_and_backoffs_pass_quickly(hours: float) -> None:
    seconds = hours * 3600
    crashes: list[Any] = []

    def scenario(sim: Simulation) -> None:
        dice = random.Random(1)

        def play(_: Any) -> SimulatedTurn:
            number = dice.random()
            if number < 0.6:
                crashes.append(sim.now)
                return crash(after=dice.random() * 5)
            return quota(5.0, after=1.0) if number < 0.7 else reply(after=dice.random() * 5)

        with supervise(max_restarts=100_000, turn_spacing=0.1) as supervisor:
            agents = [supervisor.create_agent(SimulatedAgent(play), name=str(n)) for n in range(4)]

            def client(agent: Any) -> None:
                while sim.now < seconds:
                    with contextlib.suppress(TurnError):
                        agent.ask(Chat("go"))
                    sim.sleep(dice.random() * 25)

            for running in [sim.client(client, agent) for agent in agents]:
                running.result()

    simulation = Simulation(RandomSchedules(0).next(None), max_steps=5_000_000)
    simulation.run(scenario)

    assert simulation.now >= seconds
    assert len(crashes) >= 500 * hours
