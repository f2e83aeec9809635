"""Budgets limit the turns below them, in drawn schedules with drawn faults."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import tenacity
from hypothesis import strategies as st

from agy_actors import (
    AgentDeadError,
    AgentState,
    Backoff,
    Budget,
    BudgetExceeded,
    BudgetUsedUp,
    Chat,
    DeadLetter,
    GetStatistics,
    ModelError,
    RetryPolicy,
    Send,
    Supervisor,
    TurnEnded,
    TurnError,
)
from agy_actors._actors.runtime import current_runtime
from agy_actors.testing import (
    Deviations,
    SimulatedAgent,
    Simulation,
    crash,
    error,
    reply,
    schedules,
)
from tests.simulation.effort import times
from tests.simulation.judged import judged
from tests.simulation.shared_sessions import WatchedAgent, folder, program

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import Event, PoolRef, SupervisorRef
    from agy_actors.testing import SimulatedTurn

SETTINGS = hypothesis.settings(
    max_examples=times(50),
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
TURN = 10
"""The tokens that each simulated turn uses."""


def supervise(**options: Any) -> SupervisorRef:
    backoff = Backoff(wait=tenacity.wait_fixed(1.0), reset_after=30.0)
    return Supervisor.start(name="root", max_restarts=50, backoff=backoff, **options)


# Any number of clients.


@dataclasses.dataclass(frozen=True)
class Step:
    """What a client does next."""

    pause: float
    """Seconds that it waits before."""
    takes: int
    """Seconds that the turn takes."""
    kind: str


STEPS = st.builds(
    Step,
    pause=st.sampled_from([0.0, 0.0, 0.5, 3.0, 8.0]),
    takes=st.integers(0, 3),
    kind=st.sampled_from(["ask", "ask", "stream", "send"]),
)
CLIENTS = st.lists(st.lists(STEPS, min_size=1, max_size=5), min_size=1, max_size=4)


def seconds_in(prompt: str) -> float:
    return float(prompt.rpartition(" ")[2])


class Ledger:
    """What clients asked a pool, and what they got.

    Args:
        sim: the simulation.
        pool: the pool.
    """

    def __init__(self, sim: Simulation, pool: PoolRef) -> None:
        self._sim = sim
        self._pool = pool
        self.answers: dict[str, list[str]] = {}
        """The replies and errors, by prompt."""

    def client(self, number: int, steps: list[Step]) -> None:
        for index, step in enumerate(steps):
            self._sim.sleep(step.pause)
            prompt = f"{number} {index} {step.takes}"
            try:
                got = self._ask(step.kind, prompt)
            except (TurnError, AgentDeadError) as failed:
                got = type(failed).__name__
            self.answers.setdefault(prompt, []).append(got)

    def _ask(self, kind: str, prompt: str) -> str:
        if kind == "send":
            self._pool.ask(Send(prompt))
            return "sent"
        if kind == "stream":
            return self._pool.stream(prompt).result().text
        return self._pool.ask(Chat(prompt)).text


class Spent:
    """The tokens that the turns of a pool used, by the events of their ends.

    Args:
        sim: the simulation.
    """

    def __init__(self, sim: Simulation) -> None:
        self._epoch = current_runtime().time() - sim.now
        self.at: list[tuple[float, int]] = []

    def note(self, event: Event) -> None:
        if isinstance(event, TurnEnded) and event.usage is not None:
            # The wall clock is less precise.
            at = round(event.at - self._epoch, 3)
            self.at.append((at, event.usage.total_token_count or 0))

    def before(self, now: float, within: float) -> int:
        """Return the tokens of the window that ends just before `now`."""
        end = now - 0.001
        return sum(tokens for at, tokens in self.at if at < end < at + within - 0.01)

    def most(self, within: float) -> int:
        """Return the largest number of tokens of a window."""
        return max((self.before(at + 0.002, within) for at, _ in self.at), default=0)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    size=st.integers(1, 3),
    limits=st.tuples(st.integers(1, 45), st.integers(1, 60), st.sampled_from([5.0, 20.0])),
    crashing=st.integers(0, 5),
    clients=CLIENTS,
)
def test_no_turn_starts_while_a_budget_above_it_is_used_up(
    schedule: Deviations,
    size: int,
    limits: tuple[int, int, float],
    crashing: int,
    clients: list[list[Step]],
) -> None:
    tokens, above, within = limits
    numbers = itertools.count()

    def play(prompt: str) -> SimulatedTurn:
        """Reply, but let one prompt crash its agent."""
        kind = crash if next(numbers) == crashing else reply
        return kind(after=seconds_in(prompt))

    config = SimulatedAgent(play)
    answers: dict[str, list[str]] = {}
    ends: list[Spent] = []

    def scenario(sim: Simulation) -> None:
        spent, budget, higher = Spent(sim), Budget(tokens, within), Budget(above, within * 2)
        ends.append(spent)
        with supervise(budget=higher) as supervisor:
            supervisor.subscribe(spent.note)
            pool = supervisor.create_pool(config, size, name="pool", max_restarts=50, budget=budget)
            ledger = Ledger(sim, pool)
            running = [sim.client(ledger.client, *work) for work in enumerate(clients)]
            for client in running:
                client.result()
            answers.update(ledger.answers)

            sim.sleep(within * 2.1 + 10.0)  # Some turns were only sent.
            assert (budget.used, higher.used) == (0, 0)
            assert pool.ask(Chat("after 0")).text == "after 0"

    simulation = Simulation(schedule)
    simulation.run(scenario)

    (spent,) = ends
    with judged(simulation):
        for request in config.requests:
            assert spent.before(request.at, within) < tokens
            assert spent.before(request.at, within * 2) < above
        assert spent.most(within) < tokens + size * TURN
        assert spent.most(within * 2) < above + size * TURN
        assert {len(got) for got in answers.values()} == {1}
        assert len(answers) == sum(map(len, clients))


# One client.


def test_turns_run_again_after_the_seconds_that_the_error_names() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent(), name="poet", budget=Budget(11, 60.0))
            agent.ask(Chat("one"))
            sim.sleep(7.0)
            agent.ask(Chat("two"))
            sim.sleep(1.0)

            with pytest.raises(BudgetExceeded) as refused:
                agent.ask(Chat("three"))
            assert refused.value.retry_after == 52.0
            assert refused.value.retryable
            assert (refused.value.tokens, refused.value.within) == (11, 60.0)
            assert str(refused.value) == (
                "a turn of agent 'poet' was not started: the budget of agent 'poet' is used up"
                " (11 tokens within 60 seconds); ask again in 52.0 seconds, or use a larger Budget"
            )

            sim.sleep(refused.value.retry_after)
            assert agent.ask(Chat("four")).text == "four"

    Simulation().run(scenario)


def test_a_budget_is_used_up() -> None:
    config = SimulatedAgent()

    def scenario(sim: Simulation) -> None:
        events: list[Event] = []
        with supervise() as supervisor:
            supervisor.subscribe(events.append)
            budget = Budget(20, 60.0)
            pool = supervisor.create_pool(config, 2, name="pool", budget=budget)
            for round_ in range(2):
                for _ in range(2):
                    pool.ask(Chat("go"))
                for _ in range(5):
                    with pytest.raises(BudgetExceeded, match="pool 'pool'"):
                        pool.ask(Chat("more"))
                sim.sleep(1.0)
                found = [event for event in events if isinstance(event, BudgetUsedUp)]
                assert len(found) == round_ + 1
                assert (found[-1].budget, found[-1].supervisor) == ("pool 'pool'", "pool")
                assert (found[-1].tokens, found[-1].within) == (20, 60.0)
                assert found[-1].retry_after == 60.0
                assert budget.refused == 5 * (round_ + 1)
                sim.sleep(60.0)
            assert supervisor.statistics().turns["BudgetExceeded"] == 10

    Simulation().run(scenario)
    assert len(config.requests) == 4


ASKING: dict[str, Callable[[PoolRef], object]] = {
    "ask": lambda pool: pool.ask(Chat("go")),
    "stream": lambda pool: pool.stream("go").result(),
    "send": lambda pool: pool.ask(Send("go")),
    "map": lambda pool: list(pool.map(["go"])),
}


@pytest.mark.parametrize("kind", ASKING)
def test_each_kind_of_turn_gets_the_error(kind: str) -> None:
    def scenario(sim: Simulation) -> None:
        del sim
        with supervise() as supervisor:
            budget = Budget(1, 60.0)
            budget.add(1)
            pool = supervisor.create_pool(SimulatedAgent(), 1, budget=budget)
            with pytest.raises(BudgetExceeded):
                ASKING[kind](pool)

    Simulation().run(scenario)


def test_a_told_turn_is_not_run() -> None:
    config = SimulatedAgent()

    def scenario(sim: Simulation) -> None:
        events: list[Event] = []
        with supervise() as supervisor:
            supervisor.subscribe(events.append)
            budget = Budget(1, 60.0)
            budget.add(1)
            agent = supervisor.create_agent(config, budget=budget)
            agent.tell(Chat("go"))
            agent.tell(Send("go"))
            sim.sleep(1.0)
            ended = [event.error for event in events if isinstance(event, TurnEnded)]
            assert ended == ["BudgetExceeded"] * 2

    Simulation().run(scenario)
    assert config.requests == []


def test_a_sleeping_agent_is_not_woken() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            budget = Budget(TURN, 60.0)
            agent = supervisor.create_agent(SimulatedAgent(), idle_timeout=5.0, budget=budget)
            agent.ask(Chat("go"))
            sim.sleep(10.0)
            assert agent.ask(GetStatistics()).state is AgentState.ASLEEP

            with pytest.raises(BudgetExceeded):
                agent.ask(Chat("more"))
            assert agent.ask(GetStatistics()).state is AgentState.ASLEEP

            sim.sleep(60.0)
            assert agent.ask(Chat("again")).text == "again"

    Simulation().run(scenario)


def test_a_turn_that_is_tried_again_checks_the_budget_again() -> None:
    config = SimulatedAgent([error(500, after=5.0)])

    def scenario(sim: Simulation) -> None:
        del sim
        retry = RetryPolicy(retry=tenacity.retry_if_exception_type(ModelError))
        with supervise() as supervisor:
            budget = Budget(TURN, 60.0)
            agent = supervisor.create_agent(config, retry=retry, budget=budget)
            other = supervisor.create_agent(SimulatedAgent(), budget=budget)
            failing = agent.ask(Chat("go"), block=False)
            assert other.ask(Chat("meanwhile")).text == "meanwhile"
            with pytest.raises(BudgetExceeded):
                failing.get()

    Simulation().run(scenario)
    assert len(config.requests) == 1


def test_a_turn_that_waited_for_its_start_checks_the_budget_again() -> None:
    config = SimulatedAgent([reply(after=5.0)])

    def scenario(sim: Simulation) -> None:
        with supervise(max_running_turns=1, budget=Budget(TURN, 60.0)) as supervisor:
            first, second = (supervisor.create_agent(config) for _ in range(2))
            running = first.ask(Chat("one"), block=False)
            sim.sleep(1.0)
            waiting = second.ask(Chat("two"), block=False)
            assert running.get().attempts == 1
            with pytest.raises(BudgetExceeded):
                waiting.get()

    Simulation().run(scenario)
    assert len(config.requests) == 1


def test_a_retry_policy_can_wait_for_the_budget() -> None:
    def scenario(sim: Simulation) -> None:
        retry = RetryPolicy(retry=tenacity.retry_if_exception_type(BudgetExceeded))
        with supervise() as supervisor:
            agent = supervisor.create_agent(
                SimulatedAgent(), retry=retry, budget=Budget(TURN, 60.0)
            )
            agent.ask(Chat("one"))
            assert agent.ask(Chat("two", timeout=100.0)).text == "two"
            assert sim.now == 60.0
            with pytest.raises(BudgetExceeded):
                agent.ask(Chat("three", timeout=50.0))
            assert sim.now == 60.0

    Simulation().run(scenario)


def test_a_shared_budget_counts_the_tokens_of_all_its_owners_once() -> None:
    def scenario(sim: Simulation) -> None:
        del sim
        shared = Budget(30, 60.0)
        with supervise(budget=shared) as root, Supervisor.start(name="other") as other:
            pools = [
                supervisor.create_pool(SimulatedAgent(), 1, budget=shared)
                for supervisor in (root, other)
            ]
            for pool in pools:
                pool.ask(Chat("go"))
            assert (shared.used, shared.left) == (20, 10)
            pools[0].ask(Chat("go"))
            assert (shared.used, shared.left) == (30, 0)
            with pytest.raises(BudgetExceeded, match="supervisor 'root'"):
                pools[0].ask(Chat("go"))
            with pytest.raises(BudgetExceeded, match="pool 'pool-1'"):
                pools[1].ask(Chat("go"))
            assert shared.refused == 2

    Simulation().run(scenario)


def test_budgets_nest_and_the_error_names_the_one_that_is_used_up() -> None:
    def scenario(sim: Simulation) -> None:
        del sim
        top, middle, low = Budget(50, 60.0), Budget(40, 60.0), Budget(20, 60.0)
        with supervise(budget=top) as root:
            below = root.create_supervisor("below", budget=middle)
            pool = below.create_pool(SimulatedAgent(), 1, "pool", budget=low)
            agent = below.create_agent(SimulatedAgent(), "agent")
            lone = root.create_agent(SimulatedAgent(), "lone")
            for _ in range(2):
                pool.ask(Chat("go"))
            with pytest.raises(BudgetExceeded, match="the budget of pool 'pool'"):
                pool.ask(Chat("go"))
            for _ in range(2):
                agent.ask(Chat("go"))
            with pytest.raises(BudgetExceeded, match="the budget of supervisor 'below'"):
                agent.ask(Chat("go"))
            lone.ask(Chat("go"))
            with pytest.raises(BudgetExceeded, match="the budget of supervisor 'root'"):
                lone.ask(Chat("go"))
            found = {read.owner: (read.used, read.refused) for read in root.statistics().budgets}
            assert found == {
                "supervisor 'root'": (50, 1),
                "supervisor 'below'": (40, 1),
                "pool 'pool'": (20, 1),
            }

    Simulation().run(scenario)


def test_a_budget_without_an_end_ends_all_turns_for_good() -> None:
    def scenario(sim: Simulation) -> None:
        with supervise(budget=Budget(TURN, math.inf)) as supervisor:
            agent = supervisor.create_agent(SimulatedAgent())
            agent.ask(Chat("go"))
            sim.sleep(1000.0)
            with pytest.raises(BudgetExceeded, match="its window has no end") as refused:
                agent.ask(Chat("more"))
            assert refused.value.retry_after == math.inf
            assert not refused.value.retryable

    Simulation().run(scenario)


# Sessions.


def test_a_session_that_sleeps_is_not_woken_by_a_turn_that_is_refused() -> None:
    def scenario(sim: Simulation) -> None:
        events: list[Event] = []
        with folder() as state_dir, program(state_dir) as supervisor:
            supervisor.subscribe(events.append)
            users = supervisor.create_sessions(
                WatchedAgent(), "users", idle_timeout=5.0, budget=Budget(TURN, 60.0)
            )
            users["ada"].ask(Chat("go"))
            sim.sleep(10.0)
            for key in ("ada", "bob"):
                with pytest.raises(BudgetExceeded, match=f"session '{key}'"):
                    users[key].ask(Chat("more"))
                users[key].tell(Chat("more"))
            sim.sleep(1.0)
            statistics = users.statistics()
            assert (statistics.woken, statistics.awake, statistics.waiting) == (1, 0, 0)
            assert sum(isinstance(event, DeadLetter) for event in events) == 2

            sim.sleep(60.0)
            assert users["ada"].ask(Chat("again")).text == "again"

    Simulation().run(scenario)


def test_a_session_that_is_awake_refuses_the_turn_itself() -> None:
    def scenario(sim: Simulation) -> None:
        with folder() as state_dir, program(state_dir) as supervisor:
            users = supervisor.create_sessions(WatchedAgent(), "users", budget=Budget(TURN, 60.0))
            users["ada"].ask(Chat("go"))
            with pytest.raises(BudgetExceeded, match="agent 'ada'"):
                users["ada"].ask(Chat("more"))
            sim.sleep(60.0)
            assert users["ada"].ask(Chat("again")).text == "again"

    Simulation().run(scenario)
