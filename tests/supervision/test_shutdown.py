from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pykka
import pytest

from agy_actors import (
    AgentCrashed,
    AgentDeadError,
    AgentStartError,
    Chat,
    CreateAgent,
    Delete,
    Disconnect,
    GetConversationId,
    InvalidConfig,
    Shutdown,
    ShutdownAgent,
    SignalIdle,
    Supervisor,
    TurnEnded,
    TurnRetried,
)
from agy_actors._agents import agent_child
from agy_actors._agents.agent_actor import AgentActor
from agy_actors._supervision import child_ending
from agy_actors._supervision.child_lifecycle import ChildLifecycle
from agy_actors.testing import ScriptedModel, say
from tests.harnesses import (
    HANGS,
    children,
    fake_harness,
    has_ended,
    kill_harness,
    pid_of,
    until,
)
from tests.supervision.helpers import long_backoff

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agy_actors import AgentRef, Event, SupervisorRef
    from agy_actors._supervision.child import Child

PROMPTLY = 8.0
"""Seconds for something that takes a fraction of one, or 10 if it fails."""


def save_dirs(parent: Path) -> list[Path]:
    return list(parent.glob("agy_actors_*"))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def by_name(agent: AgentRef) -> str:
    return agent.name


def by_ref(agent: AgentRef) -> AgentRef:
    return agent


@pytest.mark.parametrize("given", [by_name, by_ref])
@pytest.mark.own_processes
def test_an_agent_is_ended_by_its_name_or_its_ref(
    supervisor: SupervisorRef,
    model: ScriptedModel,
    given: Callable[[AgentRef], str | AgentRef],
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")
    process = psutil.Process(pid_of(agent))

    supervisor.shutdown_agent(given(agent))

    assert not process.is_running()
    assert not agent.is_alive()
    assert supervisor.children() == {}
    assert pykka.ActorRegistry.get_all() == [supervisor]


def test_an_agent_is_shut_down(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")

    supervisor.ask(ShutdownAgent(agent))

    for _ in range(2):
        with pytest.raises(AgentDeadError, match="agent 'poet' has ended"):
            agent.ask(Chat("hi"), timeout=PROMPTLY)
    with pytest.raises(AgentDeadError):
        agent.tell(Chat("hi"))
    with pytest.raises(AgentDeadError):
        agent.stream("hi").result()


def test_an_unknown_name_is_an_error_that_names_the_known_ones(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    with pytest.raises(InvalidConfig, match=r"has no agent 'poet'; it has none"):
        supervisor.shutdown_agent("poet")
    for name in ("poet", "critic"):
        supervisor.create_agent(model.openai_config(), name)

    with pytest.raises(InvalidConfig, match=r"has no agent 'poets'; it has 'poet', 'critic'"):
        supervisor.shutdown_agent("poets")
    with pytest.raises(InvalidConfig, match="has no agent"):
        supervisor.shutdown_agent(["poet"])  # type: ignore[call-overload]

    assert list(supervisor.children()) == ["poet", "critic"]


def test_the_agent_of_another_supervisor_is_not_ended(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    with Supervisor.start() as other:
        agent = other.create_agent(model.openai_config(), "poet")
        supervisor.create_agent(model.openai_config(), "poet")

        with pytest.raises(InvalidConfig, match="is not a child of"):
            supervisor.shutdown_agent(agent)

        assert agent.ask(Chat("hi")).text == "echo: hi"


def test_ending_an_agent_twice_is_safe(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")

    for _ in range(2):
        supervisor.shutdown_agent(agent)


def test_many_may_end_the_same_agent_at_once(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: supervisor.shutdown_agent(agent), range(8)))

    assert supervisor.children() == {}


@pytest.mark.parametrize("end", ["stop", "disconnect", "delete"])
@pytest.mark.own_processes
def test_an_agent_that_was_ended_by_itself_is_forgotten_and_not_restarted(
    supervisor: SupervisorRef, model: ScriptedModel, end: str
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")

    if end == "stop":
        agent.stop()
    else:
        agent.ask(Disconnect() if end == "disconnect" else Delete())

    supervisor.shutdown_agent(agent)
    assert supervisor.children() == {}
    assert not children()
    supervisor.create_agent(model.openai_config(), "poet")


def test_a_stopped_agent_is_no_longer_listed(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agents = [supervisor.create_agent(model.openai_config(), str(n)) for n in range(3)]

    for number, agent in enumerate(agents):
        agent.stop()
        assert len(supervisor.children()) == 2 - number


@pytest.mark.own_processes
def test_the_end_of_an_agent_interrupts_its_turn(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    model.then(say("never", gate=threading.Event()))
    agent = supervisor.create_agent(model.openai_config(), "poet")
    turn = agent.ask(Chat("one"), block=False)
    waiting = agent.ask(Chat("two"), block=False)
    model.wait_for_requests(1)

    supervisor.shutdown_agent("poet", timeout=PROMPTLY)

    model.wait_for_disconnect()
    for reply in (turn, waiting):
        with pytest.raises(AgentDeadError):
            reply.get(timeout=PROMPTLY)
    assert len(model.requests) == 1
    assert not children()


@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
def test_a_drain_that_reaches_its_limit_is_not_a_crash(model: ScriptedModel, *, own: bool) -> None:
    events: list[Event] = []
    model.when(".", say("never", gate=threading.Event()))
    with Supervisor.start(max_conversations_per_process=1 if own else None) as supervisor:
        supervisor.subscribe(events.append)
        agent = supervisor.create_agent(model.openai_config(), "poet", stop_timeout=0.5)
        turns = [agent.ask(Chat(prompt), block=False) for prompt in ("one", "two")]
        model.wait_for_requests(1)

        supervisor.shutdown_agent("poet", drain=True, timeout=PROMPTLY)

        for turn in turns:
            with pytest.raises(AgentDeadError):
                turn.get(timeout=0)
    assert not [event for event in events if isinstance(event, AgentCrashed | TurnRetried)]


@pytest.mark.new_processes
def test_an_agent_can_be_ended_while_it_starts(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    config = model.openai_config(env=fake_harness(tmp_path, HANGS))
    creation = supervisor.ask(CreateAgent(config, "poet"), block=False)

    supervisor.shutdown_agent("poet", timeout=PROMPTLY)

    with pytest.raises(AgentStartError, match="was ended while it started"):
        creation.get(timeout=PROMPTLY)
    until(lambda: not children())
    assert supervisor.children() == {}


@pytest.mark.parametrize("end", ["shutdown", "stop", "disconnect"])
def test_an_agent_can_be_ended_while_it_waits_for_its_restart(
    model: ScriptedModel, end: str
) -> None:
    waits = threading.Event()
    with Supervisor.start(backoff=long_backoff(waits)) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        kill_harness(agent)
        assert agent.ask(Chat("one")).text == "echo: one"
        kill_harness(agent)
        assert waits.wait(10)
        turn = agent.ask(Chat("two"), block=False)

        if end == "shutdown":
            supervisor.shutdown_agent(agent, timeout=PROMPTLY)
        elif end == "stop":
            assert agent.stop(timeout=PROMPTLY)
        else:
            agent.ask(Disconnect(), timeout=PROMPTLY)

        assert turn.done()
        assert not agent.is_alive()
        supervisor.shutdown_agent(agent)
        assert supervisor.children() == {}


@pytest.mark.parametrize("message", [Disconnect(), SignalIdle()])
def test_a_message_that_is_told_during_a_backoff_does_not_delay_the_end(
    model: ScriptedModel, message: Disconnect | SignalIdle
) -> None:
    waits = threading.Event()
    with Supervisor.start(backoff=long_backoff(waits)) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        kill_harness(agent)
        agent.ask(Chat("one"))
        kill_harness(agent)
        assert waits.wait(10)

        agent.tell(message)

        if isinstance(message, Disconnect):
            assert agent.actor_stopped.wait(PROMPTLY)
        supervisor.shutdown_agent(agent, timeout=PROMPTLY)
        assert supervisor.children() == {}


def test_asks_during_a_backoff_are_answered_when_the_supervisor_stops(
    model: ScriptedModel,
) -> None:
    waits = threading.Event()
    with Supervisor.start(backoff=long_backoff(waits)) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        kill_harness(agent)
        agent.ask(Chat("one"))
        kill_harness(agent)
        assert waits.wait(10)
        asked = [agent.ask(GetConversationId(), block=False) for _ in range(3)]

    for reply in asked:
        with pytest.raises(AgentDeadError):
            reply.get(timeout=PROMPTLY)


@pytest.mark.new_processes
def test_the_end_of_a_with_block_ends_all_agents(model: ScriptedModel, temporary: Path) -> None:
    with Supervisor.start() as supervisor:
        agents = [supervisor.create_agent(model.openai_config()) for _ in range(3)]
        assert len(save_dirs(temporary)) == 1

    assert not supervisor.is_alive()
    assert not any(agent.is_alive() for agent in agents)
    assert not children()
    assert save_dirs(temporary) == []
    assert pykka.ActorRegistry.get_all() == []


@pytest.mark.new_processes
def test_an_error_in_a_with_block_propagates_and_ends_all_agents(model: ScriptedModel) -> None:
    model.then(say("never", gate=threading.Event()))
    supervisor = Supervisor.start()
    turn = supervisor.create_agent(model.openai_config()).ask(Chat("hi"), block=False)
    model.wait_for_requests(1)

    with pytest.raises(ZeroDivisionError), supervisor:
        raise ZeroDivisionError

    assert not children()
    with pytest.raises(AgentDeadError):
        turn.get(timeout=PROMPTLY)


@pytest.mark.own_processes
def test_shutdown_ends_all_agents(model: ScriptedModel, temporary: Path) -> None:
    supervisor = Supervisor.start()
    agents = [supervisor.create_agent(model.openai_config()) for _ in range(2)]

    supervisor.ask(Shutdown())

    assert not children()
    assert not any(agent.is_alive() for agent in agents)
    supervisor.stop()
    assert save_dirs(temporary) == []
    assert not supervisor.shutdown()


def test_agents_are_ended_the_youngest_first(
    model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    forget = ChildLifecycle._forget

    def note(self: ChildLifecycle, child: Child, error: Exception | None) -> None:
        ended.append(child.name)
        forget(self, child, error)

    monkeypatch.setattr(ChildLifecycle, "_forget", note)
    with Supervisor.start() as supervisor:
        for name in "abc":
            supervisor.create_agent(model.openai_config(), name)

    assert ended == ["c", "b", "a"]


def test_a_request_for_an_agents_end_is_answered_also_if_the_supervisor_stops_meanwhile(
    model: ScriptedModel,
) -> None:
    supervisor = Supervisor.start()
    agent = supervisor.create_agent(model.openai_config(), "poet")

    ending = [supervisor.ask(ShutdownAgent(agent), block=False) for _ in range(2)]
    ending.append(supervisor.ask(Shutdown(), block=False))
    supervisor.stop(timeout=PROMPTLY)

    assert [reply.get(timeout=PROMPTLY) for reply in ending] == [None] * 3


def test_no_report_is_lost_when_a_supervisor_stops_while_its_agents_crash(
    model: ScriptedModel,
) -> None:
    for _ in range(5):
        supervisor = Supervisor.start()
        agents = [supervisor.create_agent(model.openai_config()) for _ in range(2)]
        for agent in agents:
            os.kill(pid_of(agent), 9)

        supervisor.stop(timeout=PROMPTLY)  # At least 10 if it waited for the earlier prompts.


@pytest.mark.new_processes
def test_agents_that_are_stuck_are_abandoned_all_in_the_time_of_one(
    model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_ending, "_CHILD_GRACE", 0.4)
    monkeypatch.setattr(child_ending, "_ORDERLY", 0.1)
    actors: list[NotedActor] = []
    monkeypatch.setattr(agent_child, "AgentActor", note_actors(actors))
    model.when(".", say("never", gate=threading.Event()))
    release = threading.Event()
    events: list[Event] = []
    supervisor = Supervisor.start()
    supervisor.subscribe(events.append)
    agents = [supervisor.create_agent(model.openai_config(), stop_timeout=0.4) for _ in range(4)]
    turns = [agent.ask(Chat("hi"), block=False) for agent in agents]
    model.wait_for_requests(4)
    for actor in actors:
        block_loop(actor, release)
    processes = children()

    supervisor.stop(timeout=3 * 0.8)  # One after another would take 4 * 0.8.

    assert all(has_ended(process) for process in processes)
    for turn in turns:
        with pytest.raises(AgentDeadError):
            turn.get(timeout=0)
    assert not any(agent.is_alive() for agent in agents)
    until(lambda: turns_ended(events) == len(agents))
    release.set()
    for actor in actors:
        assert actor.over.wait(5)
    assert turns_ended(events) == len(agents)


def turns_ended(events: list[Event]) -> int:
    return sum(isinstance(event, TurnEnded) for event in events.copy())


class NotedActor(AgentActor):
    """An agent that reports the end of its thread."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.over = threading.Event()

    def _after_loop(self) -> None:
        super()._after_loop()
        self.over.set()


def note_actors(noted: list[NotedActor]) -> Callable[..., NotedActor]:
    def make(*args: Any) -> NotedActor:
        actor = NotedActor(*args)
        noted.append(actor)
        return actor

    return make


def block_loop(actor: AgentActor, release: threading.Event) -> None:
    """Block an agent's loop, as a hook does that waits in vain."""
    blocks = threading.Event()

    def block() -> None:
        blocks.set()
        release.wait(30)

    actor._loop.call_soon_threadsafe(block)
    assert blocks.wait(5)


@pytest.mark.new_processes
def test_pykkas_stop_all_ends_everything_and_restarts_nothing(
    model: ScriptedModel, temporary: Path
) -> None:
    waits = threading.Event()
    first = Supervisor.start(backoff=long_backoff(waits))
    second = Supervisor.start()
    agents = [owner.create_agent(model.openai_config()) for owner in (first, second, first)]
    kill_harness(agents[0])
    agents[0].ask(Chat("hi"))
    kill_harness(agents[0])
    assert waits.wait(10)

    stopped = pykka.ActorRegistry.stop_all(timeout=PROMPTLY)

    assert stopped == [True] * 5
    assert pykka.ActorRegistry.get_all() == []
    assert not any(ref.is_alive() for ref in (first, second, *agents))
    assert not children()
    assert save_dirs(temporary) == []


def test_agents_that_pykka_stops_do_not_end_their_supervisor(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")

    agent.stop()

    assert supervisor.create_agent(model.openai_config(), "poet").ask(Chat("hi")).text == "echo: hi"


def test_supervisors_in_one_process_are_isolated(model: ScriptedModel) -> None:
    with Supervisor.start() as first, ScriptedModel(lambda prompt: f"two: {prompt}") as other:
        a = first.create_agent(model.openai_config(), "poet")
        with Supervisor.start() as second:
            b = second.create_agent(other.gemini_config(), "poet")

            assert (a.ask(Chat("hi")).text, b.ask(Chat("hi")).text) == ("echo: hi", "two: hi")
            assert (first.children(), second.children()) == ({"poet": a}, {"poet": b})

        assert not b.is_alive()
        assert a.ask(Chat("again")).text == "echo: again"


def test_a_name_in_a_state_dir_resumes_its_conversation_in_the_next_run(
    model: ScriptedModel, tmp_path: Path
) -> None:
    ids = []
    for prompt in ("one", "two"):
        with Supervisor.start(state_dir=tmp_path) as supervisor:
            agent = supervisor.create_agent(model.openai_config(), "poet")
            agent.ask(Chat(prompt))
            ids.append(agent.ask(GetConversationId()))

    assert ids[0] == ids[1]
    assert [text for _, text in model.requests[1].messages] == ["one", "echo: one", "two"]
    assert tmp_path.is_dir()


def test_another_name_in_a_state_dir_has_its_own_conversation(
    model: ScriptedModel, tmp_path: Path
) -> None:
    for name in ("poet", "Poet"):
        with Supervisor.start(state_dir=tmp_path) as supervisor:
            supervisor.create_agent(model.openai_config(), name).ask(Chat(name))

    assert model.requests[1].messages == (("user", "Poet"),)


def test_without_a_state_dir_nothing_is_resumed(model: ScriptedModel, temporary: Path) -> None:
    for _ in range(2):
        with Supervisor.start() as supervisor:
            supervisor.create_agent(model.openai_config(), "poet").ask(Chat("hi"))

    assert model.requests[1].messages == (("user", "hi"),)
    assert save_dirs(temporary) == []
