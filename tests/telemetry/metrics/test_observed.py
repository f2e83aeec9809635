"""The observed metrics: what they say after known histories."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from opentelemetry.metrics import NoOpMeter

from agy_actors import (
    AgentDeadError,
    AskTimeout,
    AsyncioActor,
    Backoff,
    Budget,
    BudgetExceeded,
    Chat,
    MailboxFull,
    ModelError,
    QuotaExceeded,
    QuotaHold,
    Supervisor,
)
from agy_actors.telemetry.metrics.measures import MEASURES
from agy_actors.telemetry.metrics.metrics import Metrics
from agy_actors.testing import call_tool, http_error, say
from tests import forked
from tests.harnesses import PATIENCE, SOON, kill_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import Event, SupervisorRef
    from agy_actors.testing import ScriptedModel
    from tests.telemetry.metrics.collected import Collected

OUTCOME = "agy_actors.outcome"
OWNER = "agy_actors.supervisor"
STATE = "agy_actors.state"
KIND = "agy_actors.kind"


class Faulty(AsyncioActor):
    """Fails at each told message."""

    def on_receive(self, message: Any) -> Any:
        if message == "fail":
            raise ValueError("as told")
        return message


def test_a_supervisor_without_children_has_values(
    supervisor: SupervisorRef, collected: Collected
) -> None:
    collected.observe(supervisor)

    assert collected.values("agy_actors.actors", KIND) == {"supervisor": 1}
    assert collected.total("agy_actors.dead_letters") == 0
    assert len(collected.points("agy_actors.dead_letters")) == 1
    assert collected.values("agy_actors.turns", OUTCOME) == {}
    [point] = collected.points("agy_actors.turns")
    assert point.attributes == {"agy_actors.root": supervisor.name, OUTCOME: "ok"}


def test_each_metric_has_a_unit_a_description_and_values(
    model: ScriptedModel, collected: Collected, tmp_path: Path
) -> None:
    with Supervisor.start(state_dir=tmp_path, budget=Budget(1000, 60.0)) as supervisor:
        metrics = collected.observe(supervisor)
        metrics.turn_ended(
            owner="poets",
            provider="openai",
            model="small",
            server_address="localhost",
            seconds=1.0,
            error=None,
            usage=None,
        )
        sessions = supervisor.create_sessions(model.openai_config())
        sessions.submit("ada", "one").result(timeout=PATIENCE)
        found = collected.metrics()

    assert set(found) >= {measure.name for measure in MEASURES}
    assert all(metric.unit for metric in found.values())
    assert all(metric.description and "\n" not in metric.description for metric in found.values())


def test_turns_and_asks_are_counted_by_outcome_also_after_the_end_of_their_agents(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    model.when("bad", http_error(400))
    collected.observe(supervisor)
    config = model.openai_config()
    below = supervisor.create_supervisor()
    with supervisor.create_pool(config, 2) as pool, supervisor.create_sessions(config) as sessions:
        pool.ask("one")
        sessions["ada"].ask("two")
        agent = below.create_agent(config)
        agent.ask("three")
        with pytest.raises(ModelError):
            agent.ask("bad")
        until(lambda: collected.values("agy_actors.agents", STATE).get("restarting", 0) == 0)
        below.stop()
        with pytest.raises(AgentDeadError):
            agent.ask("too late")

    turns = {"ok": 3, "ModelError": 1}
    assert collected.values("agy_actors.turns", OUTCOME) == turns
    assert collected.values("agy_actors.asks", OUTCOME) == {**turns, "AgentDeadError": 1}
    until(lambda: collected.values("agy_actors.actors", KIND) == {"supervisor": 1})
    supervisor.stop()
    assert collected.values("agy_actors.turns", OUTCOME) == turns
    assert collected.points("agy_actors.actors") == []


def test_turns_that_never_start_are_counted(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    gate = threading.Event()
    model.when("slow", say("slowly", gate=gate, gate_after=0))
    collected.observe(supervisor)
    pool = supervisor.create_pool(model.openai_config(), 1, "workers", capacity=1)
    running = pool.ask("slow", block=False)
    model.wait_for_requests(1, timeout=SOON)

    lost = pool.ask(Chat("lost"), block=False)
    with pytest.raises(MailboxFull):
        pool.ask(Chat("refused"))
    assert collected.values("agy_actors.mailbox.messages", OWNER) == {"workers": 1}
    assert collected.values("agy_actors.mailbox.oldest_turn", OWNER)["workers"] > 0
    pool.stop(now=True)
    gate.set()

    assert running.done()
    assert lost.done()
    assert collected.values("agy_actors.turns", OUTCOME) == {"AgentDeadError": 1}
    expected = {"AgentDeadError": 2, "MailboxFull": 1}
    until(lambda: collected.values("agy_actors.asks", OUTCOME) == expected)


def test_turns_that_time_out_in_the_queue_are_counted(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    gate = threading.Event()
    model.when("slow", say("slowly", gate=gate, gate_after=0))
    collected.observe(supervisor)
    agent = supervisor.create_agent(model.openai_config())
    running = agent.ask("slow", block=False)
    model.wait_for_requests(1, timeout=SOON)

    with pytest.raises(AskTimeout):
        agent.ask("in the queue", timeout=0.05)
    gate.set()
    running.get(timeout=PATIENCE)

    expected = {"ok": 1, "AskTimeout": 1}
    until(lambda: collected.values("agy_actors.asks", OUTCOME) == expected)
    assert collected.values("agy_actors.turns", OUTCOME) == {"ok": 1}


@pytest.mark.own_processes
def test_a_killed_process_is_a_restart(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    collected.observe(supervisor)
    agent = supervisor.create_agent(model.openai_config(), "poet")
    agent.ask("one")
    assert collected.total("agy_actors.harness.processes") == 1

    kill_harness(agent)
    agent.ask("two", timeout=PATIENCE)

    assert collected.values("agy_actors.restarts", KIND) == {"agent": 1}
    assert collected.values("agy_actors.agents", STATE) == {"idle": 1}
    agent.stop()
    assert collected.values("agy_actors.restarts", KIND) == {"agent": 1}
    assert collected.values("agy_actors.agents", STATE) == {}
    assert collected.total("agy_actors.harness.processes") == 0


def test_shared_processes_are_counted_once(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    collected.observe(supervisor)
    with supervisor.create_pool(model.openai_config(), 3) as pool:
        pool.ask("one")

        assert collected.total("agy_actors.harness.processes") == 1
        assert collected.values("agy_actors.agents", OWNER) == {"pool": 3}


def test_failures_of_actors_are_restarts_and_a_give_up(
    model: ScriptedModel, collected: Collected
) -> None:
    at_once = Backoff(wait=tenacity.wait_none())
    with Supervisor.start(max_restarts=2, backoff=at_once) as supervisor:
        collected.observe(supervisor)
        actor = supervisor.create_actor(Faulty)
        for _ in range(3):
            actor.tell("fail")
        until(lambda: not actor.is_alive())

        assert collected.values("agy_actors.restarts", KIND) == {"actor": 2}
        assert collected.values("agy_actors.give_ups", KIND) == {"actor": 1}


def test_a_supervisor_that_is_restarted_is_counted_with_its_children(
    collected: Collected,
) -> None:
    at_once = Backoff(wait=tenacity.wait_none())
    with Supervisor.start(backoff=at_once) as supervisor:
        collected.observe(supervisor)
        below = supervisor.create_supervisor(max_restarts=0)
        actor = below.create_actor(Faulty)
        actor.tell("fail")

        expected = {"supervisor": 1, "actor": 1}
        until(lambda: collected.values("agy_actors.restarts", KIND) == expected)
        assert actor.ask("still there?") == "still there?"


def test_a_message_that_an_ended_actor_has_not_handled_is_a_dead_letter(
    supervisor: SupervisorRef, collected: Collected
) -> None:
    collected.observe(supervisor)
    actor = supervisor.create_actor(Faulty)
    actor.tell_later("too late", 60.0)

    actor.stop()

    until(lambda: collected.total("agy_actors.dead_letters") == 1)


def test_a_told_message_that_is_not_handled_is_a_dead_letter(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    collected.observe(supervisor)
    agent = supervisor.create_agent(model.openai_config())
    agent.tell(object())  # type: ignore[call-overload, unused-ignore] # agents do not answer it
    until(lambda: collected.total("agy_actors.dead_letters") == 1)

    pool = supervisor.create_pool(model.openai_config(), 1)
    pool.tell(object())
    until(lambda: collected.total("agy_actors.dead_letters") == 2)

    agent.stop()
    pool.stop()
    assert collected.total("agy_actors.dead_letters") == 2


@pytest.mark.own_processes
def test_a_hang_is_counted_and_shows_as_lag_and_the_metrics_do_not_wait_for_it(
    model: ScriptedModel, collected: Collected
) -> None:
    let_go, inside = threading.Event(), threading.Event()

    async def block() -> str:
        """Block."""
        inside.set()
        let_go.wait(60)
        return "let go"

    model.when("block", call_tool("block"), times=1)
    try:
        with Supervisor.start(hang_timeout=0.6, name="root") as supervisor:
            collected.observe(supervisor)
            agent = supervisor.create_agent(model.openai_config(tools=[block]))
            asked = agent.ask("block", block=False)
            assert inside.wait(PATIENCE)
            collected.metrics()

            until(lambda: collected.values("agy_actors.event_loop.lag", OWNER)["root"] > 0.1)
            until(lambda: collected.values("agy_actors.hangs", KIND) == {"agent": 1})
            until(lambda: collected.values("agy_actors.restarts", KIND) == {"agent": 1})
            until(asked.done)
            let_go.set()
    finally:
        let_go.set()


def test_each_hold_for_a_used_up_quota_is_counted(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    events: list[Event] = []
    supervisor.subscribe(events.append)
    collected.observe(supervisor)
    model.when("much", http_error(429, "Please try again in 0.01 s."), times=1)
    agent = supervisor.create_agent(model.openai_config())

    with pytest.raises(QuotaExceeded):
        agent.ask("much", timeout=PATIENCE)

    def holds() -> int:
        return sum(isinstance(event, QuotaHold) for event in events)

    until(lambda: collected.total("agy_actors.quota_holds") == holds() > 0)


def test_events_that_a_slow_subscriber_misses_are_counted(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    gate = threading.Event()
    collected.observe(supervisor)
    subscription = supervisor.subscribe(lambda _: gate.wait(PATIENCE), capacity=1)
    agent = supervisor.create_agent(model.openai_config())
    agent.ask("one")

    assert subscription.dropped > 0
    assert collected.total("agy_actors.events.dropped") == subscription.dropped
    gate.set()


def test_sessions_are_awake_or_asleep_and_requests_wait(
    model: ScriptedModel, collected: Collected, tmp_path: Path
) -> None:
    gate = threading.Event()
    model.when("slow", say("slowly", gate=gate, gate_after=0))
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        collected.observe(supervisor)
        sessions = supervisor.create_sessions(model.openai_config(), "users", max_awake=1)
        sessions["ada"].ask("one")
        sessions["bob"].ask("two")
        assert collected.values("agy_actors.sessions", STATE) == {"awake": 1, "asleep": 1}
        sessions.sleep("bob")
        assert collected.values("agy_actors.sessions", STATE) == {"asleep": 2}

        first = sessions.submit("ada", "slow")
        model.wait_for_requests(3, timeout=PATIENCE)
        second = sessions.submit("ada", "three")
        assert collected.values("agy_actors.requests.queued", OWNER) == {"users": 1}
        gate.set()
        first.result(timeout=PATIENCE)
        second.result(timeout=PATIENCE)
        assert collected.values("agy_actors.requests.queued", OWNER) == {}


def test_the_state_of_agents_is_that_of_the_statistics(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    gate = threading.Event()
    model.when("slow", say("slowly", gate=gate, gate_after=0))
    collected.observe(supervisor)
    supervisor.create_agent(model.openai_config())
    busy = supervisor.create_agent(model.openai_config())
    asked = busy.ask("slow", block=False)
    model.wait_for_requests(1, timeout=SOON)

    assert collected.values("agy_actors.agents", STATE) == dict(supervisor.statistics().agents)
    assert collected.values("agy_actors.agents", STATE) == {"idle": 1, "busy": 1}
    gate.set()
    asked.get(timeout=PATIENCE)


def test_budgets_have_their_tokens_and_their_limits(
    model: ScriptedModel, collected: Collected
) -> None:
    shared = Budget(1000, 60.0)
    with Supervisor.start(name="root", budget=shared) as supervisor:
        collected.observe(supervisor)
        config = model.openai_config()
        pool = supervisor.create_pool(config, 1, "workers", budget=Budget(1, 60.0))
        supervisor.create_agent(config, budget=shared)
        pool.ask("one")
        with pytest.raises(BudgetExceeded):
            pool.ask("two")

        used = shared.used
        assert collected.values("agy_actors.budget.used", OWNER) == {"root": used, "workers": used}
        assert collected.values("agy_actors.budget.limit", OWNER) == {"root": 1000, "workers": 1}
        assert collected.values("agy_actors.asks", OUTCOME) == {"ok": 1, "BudgetExceeded": 1}


# Closing.


def test_nothing_is_observed_or_kept_after_the_close(
    supervisor: SupervisorRef, model: ScriptedModel, collected: Collected
) -> None:
    metrics = collected.observe(supervisor)
    supervisor.create_agent(model.openai_config()).ask("one")
    assert collected.metrics()

    metrics.close()
    metrics.close()
    metrics.turn_ended(
        owner="poets",
        provider="openai",
        model=None,
        server_address=None,
        seconds=1.0,
        error=None,
        usage=None,
    )

    assert collected.metrics() == {}


def test_a_supervisor_can_be_measured_again_and_beside_others(
    supervisor: SupervisorRef, collected: Collected
) -> None:
    with Supervisor.start(name="second") as second:
        collected.observe(supervisor).close()
        first_again = collected.observe(supervisor)
        of_second = collected.observe(second)
        roots = collected.values("agy_actors.actors", "agy_actors.root")
        assert roots == {supervisor.name: 1, "second": 1}

        of_second.close()
        assert collected.values("agy_actors.actors", "agy_actors.root") == {supervisor.name: 1}
        first_again.close()


def test_the_numbers_of_supervisors_with_the_same_name_are_added(collected: Collected) -> None:
    with Supervisor.start(name="root") as first, Supervisor.start(name="root") as second:
        collected.observe(first)
        collected.observe(second)
        second.create_actor(Faulty)

        assert collected.values("agy_actors.actors", KIND) == {"supervisor": 2, "actor": 1}
        [lag] = collected.points("agy_actors.event_loop.lag")
        assert lag.value >= 0


def test_a_forked_child_has_no_metrics_of_its_parent(
    supervisor: SupervisorRef, collected: Collected
) -> None:
    collected.observe(supervisor)

    assert forked.in_child(lambda: sorted(collected.metrics())) == []
    assert collected.metrics()


def test_a_supervisor_that_has_ended_cannot_be_measured(collected: Collected) -> None:
    with Supervisor.start(name="root") as supervisor:
        pass

    with pytest.raises(AgentDeadError, match="supervisor 'root' has ended: it has no metrics"):
        collected.observe(supervisor)


def test_without_a_provider_nothing_is_recorded(supervisor: SupervisorRef) -> None:
    metrics = Metrics(supervisor, NoOpMeter("tests"))

    metrics.close()


def test_a_metric_that_cannot_be_read_does_not_hide_other_supervisors(
    supervisor: SupervisorRef, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = collected.observe(supervisor)
    with Supervisor.start(name="second") as second:
        collected.observe(second)

        def fail() -> None:
            raise OSError("no such luck")

        monkeypatch.setattr(broken._source._tree, "read", fail)

        assert collected.values("agy_actors.actors", "agy_actors.root") == {"second": 1}


def test_the_metrics_do_not_wait_for_a_thread_that_uses_the_files_of_sessions(
    model: ScriptedModel, collected: Collected, tmp_path: Path
) -> None:
    inside, let_go = threading.Event(), threading.Event()
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        collected.observe(supervisor)
        sessions = supervisor.create_sessions(model.openai_config())
        sessions["ada"].ask("one")
        assert collected.total("agy_actors.sessions") == 1

        def use(_: object) -> None:
            inside.set()
            let_go.wait(PATIENCE)

        database = sessions._storage.index._database
        user = threading.Thread(target=lambda: database.read(use))
        user.start()
        assert inside.wait(PATIENCE)
        try:
            assert collected.total("agy_actors.sessions") == 1
            assert user.is_alive()
        finally:
            let_go.set()
            user.join()
