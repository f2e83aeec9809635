"""Turns that wait for their start: how many run, what they show, and that all progress."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AskTimeout,
    Cancel,
    Chat,
    GetStatistics,
    InvalidConfig,
    IsIdle,
    Supervisor,
    TurnCancelled,
    TurnStarted,
    TurnTimeout,
    TurnWaiting,
)
from agy_actors.testing import ScriptedModel, say
from tests.agents.held_turns import Held, agents, begin
from tests.harnesses import PATIENCE, SOON, kill_harness, until
from tests.slow import quick

if TYPE_CHECKING:
    from agy_actors import Event, SupervisorRef


# How many run


@pytest.mark.parametrize("limit", quick([1, 3], 1))
def test_no_more_turns_run_than_allowed_and_all_are_answered(
    model: ScriptedModel, limit: int
) -> None:
    model.when("^go", say("done", first_delay=0.1))
    with Supervisor.start(max_running_turns=limit) as supervisor:
        nested = supervisor.create_supervisor("nested")
        refs = [*agents(supervisor, model, 4), *agents(nested, model, 3)]
        pool = supervisor.create_pool(model.openai_config(), size=2)
        most, over = 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not over.wait(0.005):
                most = max(most, supervisor.load().running)

        watcher = threading.Thread(target=watch)
        watcher.start()
        turns = [ref.ask(Chat("go"), block=False) for ref in (*refs, pool, pool)]
        texts = [turn.get(timeout=PATIENCE).text for turn in turns]
        over.set()
        watcher.join()

        assert texts == ["done"] * 9
        assert most == limit
        until(lambda: supervisor.load().running == 0)
        assert supervisor.load().max_running == limit
        assert nested.load() == supervisor.load()


def test_turns_that_wait_start_first_come_first_served(
    one: SupervisorRef, model: ScriptedModel, held_turns: Held
) -> None:
    first, *others = agents(one, model, 5)
    running = begin(first, model, "hold")
    turns = []
    for number, agent in enumerate(others):
        turns.append(agent.ask(Chat(f"turn {number}"), block=False))
        until(lambda: one.load().waiting == len(turns))

    held_turns.let_go()

    for turn in (running, *turns):
        turn.get(timeout=PATIENCE)
    assert [r.prompt for r in model.requests] == ["hold", "turn 0", "turn 1", "turn 2", "turn 3"]


def test_by_default_few_turns_run_at_once(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    refs = agents(supervisor, model, 8)

    turns = [ref.ask(Chat("hello"), block=False) for ref in refs]

    assert [turn.get(timeout=PATIENCE).text for turn in turns] == ["echo: hello"] * 8
    load = supervisor.load()
    assert (load.running, load.starting, load.waiting, load.max_running) == (0, 0, 0, None)
    assert load.max_starting is not None


def test_by_default_turns_that_wait_for_their_model_do_not_prevent_others_from_starting(
    supervisor: SupervisorRef, model: ScriptedModel, held_turns: Held
) -> None:
    refs = agents(supervisor, model, 40)
    turns = [ref.ask(Chat("hold"), block=False) for ref in refs]

    until(lambda: len(model.requests) == 40)
    held_turns.let_go()

    assert {turn.get(timeout=PATIENCE).text for turn in turns} == {"held"}


# The reports about a waiting turn, and its time


def test_too_many_turns_for_the_machine(
    one: SupervisorRef, model: ScriptedModel, held_turns: Held
) -> None:
    events: list[Event] = []
    one.subscribe(events.append)
    first, second = agents(one, model, 2)
    running = begin(first, model, "hold")

    waiting = second.ask(Chat("wait"), block=False)

    until(lambda: second.ask(GetStatistics(), timeout=SOON).state == "waiting")
    assert not second.ask(IsIdle(), timeout=SOON)
    assert first.ask(GetStatistics(), timeout=SOON).state == "busy"
    load = one.load()
    assert (load.running, load.waiting, load.max_starting) == (1, 1, None)
    held_turns.let_go()
    running.get(timeout=PATIENCE)
    assert waiting.get(timeout=PATIENCE).text == "echo: wait"
    until(lambda: any(isinstance(e, TurnStarted) and e.agent == "agent-1" for e in events))
    of_turns = [e for e in events if isinstance(e, TurnStarted | TurnWaiting)]
    assert [(type(e).__name__, e.agent, e.turn) for e in of_turns] == [
        ("TurnStarted", "agent-0", 1),
        ("TurnWaiting", "agent-1", 1),
        ("TurnStarted", "agent-1", 1),
    ]
    until(lambda: second.ask(GetStatistics(), timeout=SOON).state == "idle")


def test_the_time_of_a_turn_begins_with_its_start(
    one: SupervisorRef, model: ScriptedModel, held_turns: Held
) -> None:
    model.when("^slow", say("slow", first_delay=1.0))
    first, second, third = agents(one, model, 3)
    running = begin(first, model, "hold")

    short = second.ask(Chat("slow", timeout=3.0, stall_timeout=2.5), block=False)
    late = third.ask(Chat("slow", timeout=0.4), block=False)
    time.sleep(3.2)  # This shows that the time does not count.
    held_turns.let_go()

    running.get(timeout=PATIENCE)
    assert short.get(timeout=PATIENCE).text == "slow"
    with pytest.raises(TurnTimeout, match=r"0\.4 seconds"):
        late.get(timeout=PATIENCE)


def test_the_timeout_of_an_ask_includes_the_wait(
    one: SupervisorRef, model: ScriptedModel, held_turns: Held
) -> None:
    first, second = agents(one, model, 2)
    running = begin(first, model, "hold")

    with pytest.raises(AskTimeout):
        second.ask(Chat("never"), timeout=0.2)

    until(lambda: one.load().waiting == 0)
    until(lambda: second.ask(IsIdle(), timeout=SOON))
    held_turns.let_go()
    running.get(timeout=PATIENCE)
    assert second.ask(Chat("again"), timeout=PATIENCE).text == "echo: again"
    assert "never" not in [request.prompt for request in model.requests]


def test_a_turn_that_waits_for_its_start_is_cancelled(
    one: SupervisorRef, model: ScriptedModel, held_turns: Held
) -> None:
    first, second = agents(one, model, 2)
    running = begin(first, model, "hold")
    waiting = second.ask(Chat("never"), block=False)
    until(lambda: one.load().waiting == 1)

    assert second.ask(Cancel(), timeout=SOON) is True

    with pytest.raises(TurnCancelled):
        waiting.get(timeout=SOON)
    assert one.load().waiting == 0
    held_turns.let_go()
    running.get(timeout=PATIENCE)


def test_an_agent_whose_turn_waits_is_stopped(
    one: SupervisorRef, model: ScriptedModel, held_turns: Held
) -> None:
    first, second = agents(one, model, 2)
    running = begin(first, model, "hold")
    waiting = second.ask(Chat("never"), block=False)
    until(lambda: one.load().waiting == 1)

    one.shutdown_agent(second, timeout=SOON)

    assert waiting.done()
    until(lambda: one.load().waiting == 0)
    held_turns.let_go()
    running.get(timeout=PATIENCE)


# On a separate process: on a shared one, the second turn would be retried too, perhaps after the
# first, which takes the only slot until the test releases it.
@pytest.mark.own_processes
def test_a_turn_whose_process_dies_releases_its_slot_and_is_retried(
    one: SupervisorRef, model: ScriptedModel, held_turns: Held
) -> None:
    first, second = agents(one, model, 2)
    running = begin(first, model, "hold")
    waiting = second.ask(Chat("other"), block=False)
    until(lambda: one.load().waiting == 1)

    kill_harness(first)

    assert waiting.get(timeout=PATIENCE).text == "echo: other"
    held_turns.let_go()
    assert running.get(timeout=PATIENCE).text == "held"
    until(lambda: one.load().running == 0)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "4", True])
def test_an_invalid_limit_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidConfig, match="max_running_turns"):
        Supervisor.start(max_running_turns=limit)
