"""Supervisors under supervisors, and the children that each strategy restarts, with real agents."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from agy_actors import (
    AgentDeadError,
    AgentGivenUp,
    AgentReady,
    AgentRef,
    AgentStartError,
    Chat,
    CreateAgent,
    CreatePool,
    CreateSupervisor,
    DeathReason,
    GetActiveAgentCount,
    GetHistory,
    GetStatistics,
    InvalidConfig,
    Restart,
    Shutdown,
    Strategy,
    Supervisor,
    SupervisorEscalated,
    watch,
)
from agy_actors.testing import ScriptedModel, say
from tests.harnesses import (
    PATIENCE,
    children,
    has_ended,
    kill_harness,
    patient_harness,
    pid_of,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from agy_actors import Event, ReplyFuture, SupervisorRef

GROUPS = [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]


def restarts(agents: Sequence[AgentRef]) -> list[int]:
    return [agent.ask(GetStatistics(), timeout=PATIENCE).restarts for agent in agents]


def answers(agents: Sequence[AgentRef], prompt: str) -> list[str]:
    return [agent.ask(Chat(prompt), timeout=PATIENCE).text for agent in agents]


def create_three(supervisor: SupervisorRef, model: ScriptedModel) -> list[AgentRef]:
    return [supervisor.create_agent(model.openai_config(), name) for name in "abc"]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, [0, 1, 0]),
        (Strategy.ONE_FOR_ALL, [1, 1, 1]),
        (Strategy.REST_FOR_ONE, [0, 1, 1]),
    ],
)
@pytest.mark.own_processes
def test_a_sibling_crashes(model: ScriptedModel, strategy: Strategy, expected: list[int]) -> None:
    with Supervisor.start(strategy=strategy) as supervisor:
        agents = create_three(supervisor, model)
        answers(agents, "before")

        kill_harness(agents[1])

        until(lambda: restarts(agents) == expected)
        assert answers(agents, "after") == ["echo: after"] * 3
        for agent in agents:
            asked = [step.content for step in agent.ask(GetHistory()) if step.content]
            assert {"echo: before", "echo: after"} <= set(asked)


@pytest.mark.own_processes
@pytest.mark.parametrize("strategy", GROUPS)
def test_siblings_restart_in_the_order_of_their_start(
    model: ScriptedModel, strategy: Strategy
) -> None:
    events: list[Event] = []
    with Supervisor.start(strategy=strategy) as supervisor:
        agents = create_three(supervisor, model)
        supervisor.subscribe(events.append)

        kill_harness(agents[0])

        until(lambda: restarts(agents) == [1, 1, 1])
        until(lambda: len([event for event in events if isinstance(event, AgentReady)]) == 3)
    ready = [event.agent for event in events if isinstance(event, AgentReady)]
    assert ready == ["a", "b", "c"]


def test_a_turn_that_a_siblings_crash_interrupted_is_retried(model: ScriptedModel) -> None:
    gate = threading.Event()
    model.when("long", say("and so on", gate=gate), say("done"))
    with Supervisor.start(strategy=Strategy.ONE_FOR_ALL) as supervisor:
        agents = create_three(supervisor, model)
        turn = agents[2].ask(Chat("long"), block=False)
        model.wait_for_requests(1)

        kill_harness(agents[0])

        reply = turn.get(timeout=PATIENCE)
        gate.set()
    assert (reply.text, reply.attempts) == ("done", 2)


@pytest.mark.new_processes
def test_an_agent_that_is_asked_to_restart_while_it_starts_is_still_created(
    model: ScriptedModel, tmp_path: Path
) -> None:
    env, go = patient_harness(tmp_path)
    with Supervisor.start(strategy=Strategy.ONE_FOR_ALL) as supervisor:
        older = supervisor.create_agent(model.openai_config(), "older")
        creation = supervisor.ask(CreateAgent(model.openai_config(env=env), "late"), block=False)
        until(lambda: len(children()) > 1)

        kill_harness(older)
        until(lambda: restarts([older]) == [1])
        go()

        late = creation.get(timeout=PATIENCE)
        assert answers([older, late], "after") == ["echo: after"] * 2
        assert restarts([late]) == [1]


def test_an_agent_may_be_recalled_before_its_thread_runs(
    model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_thread = threading.Thread.start
    held_back: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("AgentActor") and not held_back:
            held_back.append(thread)
        else:
            start_thread(thread)

    with Supervisor.start(strategy=Strategy.ONE_FOR_ALL) as supervisor:
        older = supervisor.create_agent(model.openai_config(), "older")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            creation = supervisor.ask(CreateAgent(model.openai_config(), "late"), block=False)
            until(lambda: bool(held_back))
            kill_harness(older)
            until(lambda: not older.ask(GetStatistics(), block=False).done())
            start_thread(held_back[0])

            late = creation.get(timeout=PATIENCE)
        assert answers([older, late], "after") == ["echo: after"] * 2


@pytest.fixture
def halted(
    model: ScriptedModel, tmp_path: Path
) -> Iterator[tuple[SupervisorRef, Callable[[], None]]]:
    """Make a supervisor below that is halted until the test resumes it."""
    env, go = patient_harness(tmp_path)
    go()
    with Supervisor.start(strategy=Strategy.ONE_FOR_ALL) as supervisor:
        older = supervisor.create_agent(model.openai_config(env=env), "older")
        team = supervisor.create_supervisor("team")
        member = psutil.Process(pid_of(team.create_agent(model.openai_config(), "member")))
        (tmp_path / "go").unlink()
        kill_harness(older)
        until(lambda: has_ended(member))
        yield team, go


def create_one_of_each(team: SupervisorRef, model: ScriptedModel) -> list[ReplyFuture[Any]]:
    config = model.openai_config()
    return [
        team.ask(CreateAgent(config, "agent"), block=False),
        team.ask(CreateSupervisor("below"), block=False),
        team.ask(CreatePool(config, 1, "pool"), block=False),
    ]


@pytest.mark.own_processes
def test_a_child_that_is_created_under_a_halted_supervisor_starts_when_it_resumes(
    halted: tuple[SupervisorRef, Callable[[], None]], model: ScriptedModel
) -> None:
    team, go = halted
    creations = create_one_of_each(team, model)

    go()

    agent, below, pool = [creation.get(timeout=PATIENCE) for creation in creations]
    assert answers([agent, pool], "after") == ["echo: after"] * 2
    assert below.children() == {}


@pytest.mark.own_processes
def test_a_child_that_is_created_under_a_halted_supervisor_ends_with_it(
    halted: tuple[SupervisorRef, Callable[[], None]], model: ScriptedModel
) -> None:
    team, _ = halted
    creations = create_one_of_each(team, model)

    assert team.stop(timeout=PATIENCE)

    for creation in creations:
        with pytest.raises((AgentStartError, AgentDeadError), match="ended"):
            creation.get(timeout=PATIENCE)


@pytest.mark.own_processes
def test_a_temporary_sibling_is_ended_when_the_others_are_restarted(
    model: ScriptedModel,
) -> None:
    with Supervisor.start(strategy=Strategy.ONE_FOR_ALL) as supervisor:
        first = supervisor.create_agent(model.openai_config(), "first")
        brief = supervisor.create_agent(model.openai_config(), "brief", restart=Restart.TEMPORARY)

        kill_harness(first)

        assert watch(brief).get(timeout=PATIENCE).reason is DeathReason.STOPPED
        until(lambda: restarts([first]) == [1])
        assert supervisor.children() == {"first": first}


@pytest.mark.parametrize(
    ("strategy", "siblings"), [(Strategy.ONE_FOR_ONE, [0, 0]), (Strategy.ONE_FOR_ALL, [1, 1])]
)
@pytest.mark.own_processes
def test_restart_intensity_exceeded(
    model: ScriptedModel, strategy: Strategy, siblings: list[int]
) -> None:
    gate = threading.Event()
    model.when("held", say("never", gate=gate))
    events: list[Event] = []
    with Supervisor.start(strategy=strategy, max_restarts=0, within=30.0) as supervisor:
        supervisor.subscribe(events.append)
        agents = create_three(supervisor, model)
        victim, others = agents[0], agents[1:]
        deaths = [watch(victim) for _ in range(3)]
        running = victim.ask(Chat("held"), block=False)
        waiting = [victim.ask(Chat("waiting"), block=False) for _ in range(3)]
        model.wait_for_requests(1)

        kill_harness(victim)

        said = (
            r"agent 'a' was given up: it failed 1 times within 30 s, and 0 restarts are allowed;"
            r" last cause: TurnInterrupted: .*its process ended"
        )
        for reply in [running, *waiting]:
            with pytest.raises(AgentDeadError, match=said):
                reply.get(timeout=PATIENCE)
        with pytest.raises(AgentDeadError, match=said):
            victim.ask(Chat("later"))
        for death in deaths:
            assert death.get(timeout=PATIENCE).reason is DeathReason.GIVEN_UP
        until(lambda: restarts(others) == siblings)
        assert answers(others, "hi") == ["echo: hi"] * 2
        assert list(supervisor.children()) == ["b", "c"]
        gate.set()
    given_up = [event.agent for event in events if isinstance(event, AgentGivenUp)]
    assert given_up == ["a"]


def test_a_supervisor_under_a_supervisor_has_its_own_agents(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    team = supervisor.create_supervisor("team")
    agents = [supervisor.create_agent(model.openai_config(), "poet")]
    agents.append(team.create_agent(model.openai_config(), "poet"))

    assert answers(agents, "hi") == ["echo: hi"] * 2
    assert supervisor.supervisors() == {"team": team}
    assert supervisor.ask(GetActiveAgentCount()) == 2
    assert team.ask(GetActiveAgentCount()) == 1


@pytest.mark.new_processes
def test_a_supervisor_that_ends_takes_all_below_with_it(model: ScriptedModel) -> None:
    with Supervisor.start() as supervisor:
        team = supervisor.create_supervisor("team").create_supervisor("inner")
        agent = team.create_agent(model.openai_config())
        process = psutil.Process(pid_of(agent))

    assert not team.is_alive()
    assert not agent.is_alive()
    assert not process.is_running()


@pytest.mark.new_processes
@pytest.mark.parametrize("by", ["parent", "itself"])
def test_a_supervisor_below_can_be_ended_separately(
    supervisor: SupervisorRef, model: ScriptedModel, by: str
) -> None:
    agent = supervisor.create_agent(model.openai_config())
    team = supervisor.create_supervisor("team")
    member = team.create_agent(model.openai_config())
    death = watch(team)

    if by == "parent":
        supervisor.shutdown_agent(team)
    else:
        team.ask(Shutdown())
        team.stop()

    assert death.get(timeout=PATIENCE).reason is DeathReason.STOPPED
    assert not member.is_alive()
    assert supervisor.supervisors() == {}
    assert len(children()) == 1
    assert answers([agent], "hi") == ["echo: hi"]


@pytest.mark.own_processes
def test_an_agent_under_a_nested_supervisor_fails_again_and_again(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    events: list[Event] = []
    supervisor.subscribe(events.append)
    outside = supervisor.create_agent(model.openai_config(), "outside")
    team = supervisor.create_supervisor("team", max_restarts=0)
    agents = create_three(team, model)
    answers(agents, "before")

    kill_harness(agents[1])

    until(lambda: restarts(agents) == [1, 1, 1])
    assert answers(agents, "after") == ["echo: after"] * 3
    assert restarts([outside]) == [0]
    assert [e.supervisor for e in events if isinstance(e, SupervisorEscalated)] == ["team"]
    kill_harness(agents[1])  # Its failures were forgotten, so this is the first one again.
    until(lambda: restarts(agents) == [2, 2, 2])


@pytest.mark.own_processes
def test_a_supervisor_that_fails_too_often_is_given_up_with_all_it_has(
    model: ScriptedModel,
) -> None:
    with Supervisor.start(max_restarts=0) as supervisor:
        outside = supervisor.create_agent(model.openai_config(), "outside")
        team = supervisor.create_supervisor("team", max_restarts=0)
        agents = create_three(team, model)
        deaths = [watch(agent) for agent in agents]
        end = watch(team)

        kill_harness(agents[1])

        assert end.get(timeout=PATIENCE).reason is DeathReason.GIVEN_UP
        for death in deaths:
            assert death.get(timeout=PATIENCE).reason is DeathReason.GIVEN_UP
        for agent in agents:
            with pytest.raises(AgentDeadError, match="given up: with supervisor 'team'"):
                agent.ask(Chat("hi"))
        assert answers([outside], "hi") == ["echo: hi"]
        assert supervisor.supervisors() == {}


def test_the_name_of_a_supervisor_is_refused_for_an_agent(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    supervisor.create_supervisor("team")

    with pytest.raises(InvalidConfig, match="has a child 'team' already"):
        supervisor.create_agent(model.openai_config(), "team")
