"""Budgets with the real SDK, and with a clock that tests move."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    Budget,
    BudgetExceeded,
    BudgetUsedUp,
    Chat,
    GetHistory,
    InvalidConfig,
    NotPicklableError,
    RequestState,
    Supervisor,
    TurnEnded,
    TurnInterrupted,
    WaitForIdle,
)
from agy_actors._agents import budget as budget_module
from agy_actors.testing import ScriptedModel, SimulatedAgent, Usage, call_tool, reply, say
from tests.harnesses import PATIENCE, kill_harness, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.antigravity.triggers import TriggerContext

    from agy_actors import Event, Receipt, SupervisorRef

HUNDRED = Usage(prompt=60, completion=40)


class Clock:
    """The clock of all budgets, which the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def _are_done(receipts: list[Receipt], count: int) -> bool:
    return sum(receipt.done() for receipt in receipts) == count


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(budget_module, "current_runtime", lambda: clock)
    return clock


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(say("well", usage=HUNDRED)) as model:
        yield model


# Its arguments, and what it shows.


@pytest.mark.parametrize("tokens", [0, -1, 1.5, True, "many", None])
def test_the_number_of_tokens_is_checked(tokens: Any) -> None:
    with pytest.raises(InvalidConfig, match="tokens must be an integer >= 1, got"):
        Budget(tokens, 60.0)


@pytest.mark.parametrize("within", [0, -1, math.nan, True, "long", None])
def test_the_window_is_checked(within: Any) -> None:
    with pytest.raises(InvalidConfig, match="within must be a number of seconds > 0, got"):
        Budget(1, within)


@pytest.mark.parametrize("budget", [1000, "much", Budget])
def test_what_is_not_a_budget_is_refused_before_anything_starts(budget: Any) -> None:
    words = "budget must be an agy_actors.Budget or None, got"
    with pytest.raises(InvalidConfig, match=words):
        Supervisor.start(budget=budget)
    with Supervisor.start() as supervisor:
        for create in (
            lambda: supervisor.create_agent(SimulatedAgent(), budget=budget),
            lambda: supervisor.get_or_create_agent(SimulatedAgent(), "a", budget=budget),
            lambda: supervisor.create_pool(SimulatedAgent(), budget=budget),
            lambda: supervisor.create_sessions(SimulatedAgent(), budget=budget),
            lambda: supervisor.create_supervisor(budget=budget),
        ):
            with pytest.raises(InvalidConfig, match=words):
                create()
        assert supervisor.statistics().agents == {}


def test_it_shows_what_is_used_and_what_is_left(clock: Clock) -> None:
    budget = Budget(tokens=1000, within=60.0)

    assert not budget.add(999)
    assert (budget.used, budget.left, budget.retry_after()) == (999, 1, 0.0)
    assert budget.add(51)
    assert not budget.add(1)
    clock.now += 20.0
    assert (budget.used, budget.left, budget.retry_after()) == (1051, 0, 40.0)
    assert repr(budget) == "<Budget 1,051 of 1,000 tokens within 60 s>"
    clock.now += 40.0
    assert (budget.used, budget.left, budget.retry_after()) == (0, 1000, 0.0)
    with pytest.raises(InvalidConfig, match="tokens must be an integer >= 0, got -1"):
        budget.add(-1)


def test_it_cannot_be_pickled_and_a_copy_is_the_budget_itself() -> None:
    budget = Budget(1, 1.0)

    assert copy.deepcopy(budget) is budget
    with pytest.raises(NotPicklableError, match="processes do not share budgets"):
        pickle.dumps(budget)


# Turns on many threads.


def test_threads_that_share_a_pool_get_the_error_until_the_window_has_passed(
    model: ScriptedModel, supervisor: SupervisorRef, clock: Clock
) -> None:
    tokens, size, threads = 1000, 4, 16
    budget = Budget(tokens, within=3600.0)
    pool = supervisor.create_pool(model.openai_config(), size, "pool", budget=budget)
    events: list[Event] = []
    supervisor.subscribe(events.append)
    barrier = threading.Barrier(threads)

    def ask(number: int) -> list[BudgetExceeded | None]:
        outcomes: list[BudgetExceeded | None] = []
        barrier.wait(PATIENCE)
        for turn in range(4):
            try:
                assert pool.ask(Chat(f"{number} {turn}"), timeout=PATIENCE).text == "well"
                outcomes.append(None)
            except BudgetExceeded as refused:
                outcomes.append(refused)
        return outcomes

    with ThreadPoolExecutor(threads) as executor:
        outcomes = [got for all_ in executor.map(ask, range(threads)) for got in all_]

    refused = [error for error in outcomes if error is not None]
    answered = len(outcomes) - len(refused)
    assert len(model.requests) == answered
    assert budget.used == 100 * answered
    # The turns that were running when the last token was used, and no more.
    assert tokens <= budget.used < tokens + 100 * size
    assert budget.refused == len(refused) == threads * 4 - answered
    assert {error.retry_after for error in refused} == {3600.0}
    until(lambda: any(isinstance(event, BudgetUsedUp) for event in events))
    assert sum(isinstance(event, BudgetUsedUp) for event in events) == 1

    clock.now += refused[0].retry_after
    assert pool.ask(Chat("again"), timeout=PATIENCE).text == "well"
    assert budget.used == 100


def test_turns_run_again_after_the_seconds_of_the_error_by_the_real_clock(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.openai_config(), budget=Budget(100, within=2.0))
    agent.ask(Chat("one"), timeout=PATIENCE)
    with pytest.raises(BudgetExceeded) as refused:
        agent.ask(Chat("two"), timeout=PATIENCE)
    assert 0 < refused.value.retry_after <= 2.0

    threading.Event().wait(refused.value.retry_after)

    assert agent.ask(Chat("three"), timeout=PATIENCE).text == "well"
    assert [request.prompt for request in model.requests] == ["one", "three"]


# What counts, and when.


class Held:
    """A tool that returns when the test says so."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.gate = threading.Event()

    def tool(self) -> str:
        """Wait."""
        self.called.set()
        assert self.gate.wait(PATIENCE)
        return "done"


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.gate.set()


def test_tokens_count_while_their_turn_runs(
    model: ScriptedModel, supervisor: SupervisorRef, held: Held
) -> None:
    budget = Budget(100, within=3600.0)
    model.then(dataclasses.replace(call_tool("tool"), usage=HUNDRED))
    pool = supervisor.create_pool(model.openai_config(tools=[held.tool]), 2, budget=budget)
    running = pool.ask(Chat("go"), block=False)
    assert held.called.wait(PATIENCE)
    until(lambda: budget.used == 100)

    with pytest.raises(BudgetExceeded):
        pool.ask(Chat("too late"), timeout=PATIENCE)
    held.gate.set()

    # A turn that runs continues, also if it makes further requests.
    assert running.get(timeout=PATIENCE).text == "well"
    assert budget.used == 200


@pytest.mark.own_processes
def test_the_tokens_of_a_turn_count_whose_process_is_killed(
    model: ScriptedModel, supervisor: SupervisorRef, held: Held
) -> None:
    budget = Budget(1000, within=3600.0)
    model.then(dataclasses.replace(call_tool("tool"), usage=HUNDRED))
    agent = supervisor.create_agent(model.openai_config(tools=[held.tool]), budget=budget)
    running = agent.ask(Chat("go"), block=False)
    assert held.called.wait(PATIENCE)
    until(lambda: budget.used == 100)

    kill_harness(agent)
    with pytest.raises(TurnInterrupted):
        running.get(timeout=PATIENCE)

    assert budget.used == 100
    agent.ask(Chat("more"), timeout=PATIENCE)
    assert budget.used == 200


def test_a_cancelled_turn_counts(
    model: ScriptedModel, supervisor: SupervisorRef, held: Held
) -> None:
    budget = Budget(1000, within=3600.0)
    model.then(dataclasses.replace(call_tool("tool"), usage=HUNDRED))
    agent = supervisor.create_agent(model.openai_config(tools=[held.tool]), budget=budget)
    running = agent.ask(Chat("go"), block=False)
    assert held.called.wait(PATIENCE)

    running.cancel()
    held.gate.set()
    agent.ask(WaitForIdle(), timeout=PATIENCE)

    assert budget.used == 100


def test_tokens_from_before_the_agent_was_created_do_not_count(
    model: ScriptedModel, tmp_path: Path
) -> None:
    for _ in range(2):
        budget = Budget(1000, within=3600.0)
        with Supervisor.start(state_dir=tmp_path) as supervisor:
            agent = supervisor.create_agent(model.openai_config(), "poet", budget=budget)
            agent.ask(Chat("go"), timeout=PATIENCE)
            assert budget.used == 100


def test_the_turn_of_a_trigger_is_not_run_and_this_is_published(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    budget = Budget(1, within=3600.0)
    budget.add(1)
    ended: list[TurnEnded] = []
    supervisor.subscribe(
        lambda event: ended.append(event) if isinstance(event, TurnEnded) else None
    )

    async def tell(ctx: TriggerContext) -> None:
        await ctx.send("news")

    agent = supervisor.create_agent(model.openai_config(triggers=[tell]), budget=budget)

    until(lambda: bool(ended))
    assert ended[0].error == "BudgetExceeded"
    assert model.requests == ()
    assert agent.ask(GetHistory()) == []


# Durable requests.


def test_durable_requests_wait_for_the_budget_and_do_not_fail(tmp_path: Path, clock: Clock) -> None:
    config = SimulatedAgent()
    budget = Budget(10, within=3600.0)
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        users = supervisor.create_sessions(config, "users", max_awake=1, budget=budget)
        users["ada"].ask(Chat("go"), timeout=PATIENCE)
        receipts = [users.submit(key, f"hello {key}") for key in ("ada", "bob")]
        for done in range(2):
            with pytest.raises(BudgetExceeded):
                users["eve"].ask(Chat("go"), timeout=PATIENCE)
            states = [receipt.state for receipt in receipts]
            assert states.count(RequestState.QUEUED) == 2 - done
            clock.now += 3600.0
            # With `max_awake=1` they run one at a time, and each uses the budget up.
            until(functools.partial(_are_done, receipts, done + 1))
        for receipt in receipts:
            assert receipt.result(timeout=PATIENCE).text == f"hello {receipt.key}"
            assert receipt.attempts == 1
    assert len(config.requests) == 3


def test_a_durable_request_that_its_agent_refuses_waits_too(tmp_path: Path, clock: Clock) -> None:
    budget = Budget(10, within=3600.0)
    config = SimulatedAgent(lambda prompt: reply(after=0.2 if prompt == "slow" else 0.0))
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        users = supervisor.create_sessions(config, "users", budget=budget)
        running = users["ada"].ask(Chat("slow"), block=False)
        until(lambda: len(config.requests) == 1)
        # It is claimed while the budget has room, and waits for its session's turn.
        receipt = users.submit("ada", "later")
        until(lambda: receipt.state is RequestState.RUNNING or budget.refused > 0)
        assert running.get(timeout=PATIENCE).text == "slow"
        until(lambda: budget.refused == 1)
        until(lambda: receipt.state is RequestState.QUEUED)
        assert receipt.attempts == 0

        clock.now += 3600.0
        assert receipt.result(timeout=PATIENCE).text == "later"
        assert receipt.attempts == 1
