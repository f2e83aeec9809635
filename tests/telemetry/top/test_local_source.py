from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgentCrashed,
    AgentDeadError,
    AgentReady,
    AgentStarted,
    AsyncioActor,
    BudgetUsedUp,
    Chat,
    GetStatistics,
    QuotaHold,
    Supervisor,
    TurnCancelled,
    TurnEnded,
    TurnStarted,
)
from agy_actors.telemetry.top.event_log import EventLog, describe
from agy_actors.telemetry.top.local_source import LocalSource
from agy_actors.telemetry.top.source import Action
from agy_actors.testing import say
from tests.harnesses import PATIENCE, kill_harness, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import SupervisorRef
    from agy_actors.telemetry.top.snapshot import Node
    from agy_actors.testing import ScriptedModel


@pytest.fixture
def source(supervisor: SupervisorRef) -> Iterator[LocalSource]:
    source = LocalSource(supervisor)
    yield source
    source.close()


class Clock(AsyncioActor):
    pass


class Blocked(AsyncioActor):
    """Its thread hangs while it handles a message."""

    def on_receive(self, message: threading.Event) -> None:
        message.wait()


def find(source: LocalSource, name: str) -> Node:
    return next(node for node in source.read(0).nodes if node.name == name)


def texts_of(source: LocalSource) -> list[str]:
    return [event.text for event in source.read(0).events]


def test_the_whole_tree_is_read(
    supervisor: SupervisorRef, model: ScriptedModel, source: LocalSource
) -> None:
    supervisor.create_agent(model.openai_config(), "north")
    team = supervisor.create_supervisor("team")
    team.create_pool(model.openai_config(), size=2, name="writers")
    team.create_actor(Clock, name="clock")
    users = supervisor.create_sessions(model.openai_config(), name="users")
    users["ada"].ask("hi")

    nodes = source.read(0).nodes

    names = {node.id: node.name for node in nodes}
    found = [(names.get(node.parent, ""), node.kind, node.name) for node in nodes]
    assert found[0] == ("", "supervisor", supervisor.name)
    assert found[1:] == [
        (supervisor.name, "agent", "north"),
        (supervisor.name, "supervisor", "team"),
        ("team", "pool", "writers"),
        ("writers", "agent", "writers-1"),
        ("writers", "agent", "writers-2"),
        ("team", "actor", "clock"),
        (supervisor.name, "sessions", "users"),
        ("users", "agent", "ada"),
    ]


def test_a_turn_and_its_queue_are_seen_and_can_be_cancelled(
    supervisor: SupervisorRef, model: ScriptedModel, source: LocalSource
) -> None:
    gate = threading.Event()
    model.when("slow", say("done", gate=gate))
    agent = supervisor.create_agent(model.openai_config(), "north")
    agent.ask("hi")
    first, second = [agent.ask(Chat(text), block=False) for text in ("slow", "later")]
    model.wait_for_requests(2)

    node = find(source, "north")
    words = source.act(Action.CANCEL, node.id)

    assert (node.state, node.turn, node.attempt, node.queue) == ("busy", 2, 1, 1)
    assert node.turn_seconds > 0
    assert node.tokens > 0
    assert words == "the turn of agent 'north' is cancelled"
    with pytest.raises(TurnCancelled):
        first.get(timeout=PATIENCE)
    assert second.get(timeout=PATIENCE).text == "echo: later"
    assert source.act(Action.CANCEL, node.id) == "agent 'north' has no turn to cancel"
    gate.set()


def test_an_agent_crashes_and_the_log_says_so(
    supervisor: SupervisorRef, model: ScriptedModel, source: LocalSource
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "north")
    kill_harness(agent)
    agent.ask("hi")
    until(lambda: "was restarted and is ready" in texts_of(source))

    texts = texts_of(source)

    assert texts[0].startswith("crashed: ")
    assert "restarts" in texts
    assert find(source, "north").restarts == 1
    assert [event.number for event in source.read(1).events][:2] == [2, 3]


def test_an_agent_and_a_member_of_a_pool_can_be_restarted(
    supervisor: SupervisorRef, model: ScriptedModel, source: LocalSource
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "north")
    pool = supervisor.create_pool(model.openai_config(), size=1, name="writers")
    [member] = pool.members()

    words = [source.act(Action.RESTART, find(source, one).id) for one in ("north", "writers-1")]

    assert words == ["agent 'north' restarts", "agent 'writers-1' restarts"]
    until(lambda: agent.ask(GetStatistics()).restarts == 1)
    until(lambda: member.ask(GetStatistics()).restarts == 1)


def test_a_child_and_then_the_supervisor_can_be_shut_down(
    supervisor: SupervisorRef, model: ScriptedModel, source: LocalSource
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "north")
    root = source.read(0).nodes[0].id

    assert source.act(Action.SHUT_DOWN, find(source, "north").id) == "agent 'north' ends"
    until(lambda: not agent.is_alive())
    assert "ends" in source.act(Action.SHUT_DOWN, root)
    until(lambda: not supervisor.is_alive())

    last = source.read(0)
    assert (last.ended, last.nodes) == (True, ())
    assert "ended" in source.act(Action.CANCEL, root)


def test_actions_that_make_no_sense_are_explained(
    supervisor: SupervisorRef, source: LocalSource
) -> None:
    root = source.read(0).nodes[0].id

    assert "no turns of its own" in source.act(Action.CANCEL, root)
    assert "no supervisor is above it" in source.act(Action.RESTART, root)
    assert source.act(Action.CANCEL, "nonsense") == "it has ended"


def test_a_thread_that_hangs_delays_nothing_and_is_reported(
    supervisor: SupervisorRef, source: LocalSource
) -> None:
    release = threading.Event()
    try:
        supervisor.create_actor(Blocked, name="blocked").tell(release)
        source.read(0)

        until(lambda: find(source, "blocked").silent > 0.1)
    finally:
        release.set()

    until(lambda: find(source, "blocked").silent == 0)


def test_a_supervisor_that_has_ended_cannot_be_watched() -> None:
    supervisor = Supervisor.start()
    supervisor.stop()

    with pytest.raises(AgentDeadError, match="has ended"):
        LocalSource(supervisor)


def test_closing_ends_the_subscription(supervisor: SupervisorRef) -> None:
    actor = supervisor._actor_weakref()
    assert actor is not None
    source = LocalSource(supervisor)
    before = len(actor.lifecycle.hub.subscriptions)

    source.close()
    source.close()

    assert (before, len(actor.lifecycle.hub.subscriptions)) == (1, 0)


# The log


def test_ordinary_events_have_no_line() -> None:
    log = EventLog()
    facts: Any = {"supervisor": "s", "agent": "a"}

    log.add(AgentStarted(**facts, restarts=0))
    log.add(AgentReady(**facts))
    log.add(TurnStarted(**facts, turn=1, attempt=1))
    log.add(TurnEnded(**facts, turn=1, seconds=1.0, error=None))

    assert log.since(0) == ((), 0)


def test_the_log_keeps_the_last_events_and_their_numbers() -> None:
    log = EventLog()

    for number in range(1, 601):
        log.add(AgentCrashed(supervisor="s", agent="a", error=f"error {number}"))

    kept, last = log.since(0)
    assert (len(kept), kept[0].number, last) == (500, 101, 600)
    assert log.since(600) == ((), 600)
    assert len(log.since(9999)[0]) == 500  # The number of another program's log.


def test_a_quota_hold_is_logged_with_the_name_of_its_supervisor() -> None:
    log = EventLog()

    log.add(QuotaHold(supervisor="demo", key="ab12", seconds=3.0))

    [line] = log.since(0)[0]
    assert (line.who, line.is_bad) == ("demo", True)
    assert "quota of key ab12 is used up: no turn starts for 3.0 s" in line.text


def test_a_budget_that_is_used_up_is_logged() -> None:
    log = EventLog()

    log.add(
        BudgetUsedUp(supervisor="demo", budget="pool 'w'", tokens=9, within=60.0, retry_after=7.0)
    )

    [line] = log.since(0)[0]
    assert line.text == "the budget of pool 'w' is used up: no turn starts for 7 s"


def test_a_line_is_not_longer_than_a_screen_shows() -> None:
    event = AgentCrashed(supervisor="s", agent="a", error="x" * 10_000)
    log = EventLog()
    log.add(event)

    assert len(log.since(0)[0][0].text) == 300
    assert describe(event) is not None
