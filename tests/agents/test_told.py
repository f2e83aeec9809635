"""No told message ends an agent, a pool or a supervisor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from agy_actors import (
    AgentCrashed,
    AgentGivenUp,
    AgentReady,
    AgentStopped,
    AgyActorsError,
    Chat,
    DeadLetter,
    DeathReason,
    GetStatistics,
    GetTurnCount,
    InvalidArgument,
    IsIdle,
    Lane,
    Message,
    Resize,
    Restart,
    Routing,
    Send,
    SignalIdle,
    Supervisor,
    UnknownMessage,
    WaitForIdle,
    WaitForWakeup,
    watch,
)
from agy_actors._agents.agent_actor import AgentActor
from agy_actors.testing import SimulatedAgent, Simulation
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import Event, SupervisorRef
    from agy_actors.testing import ScriptedModel


class Unheard(Message[None]):
    """Takes the turn lane, and has no handler."""

    lane = Lane.TURN


class Greeting(Chat):
    """Is answered as a `Chat`."""


UNKNOWN: list[Any] = [
    None,
    5,
    object(),
    {"command": "stop"},
    (),
    ("a",),
    ["hello"],
    Unheard(),
    Chat,
]


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{level} {message}")
    logger.enable("agy_actors")
    yield lines
    logger.disable("agy_actors")
    logger.remove(sink)


def test_text_is_a_prompt(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")
    pool = supervisor.create_pool(model.openai_config(), 1, "pool")
    chorus = supervisor.create_pool(model.openai_config(), 2, routing=Routing.BROADCAST)

    for ref in (agent, pool):
        assert ref.ask("hi", timeout=PATIENCE).text == "echo: hi"
        assert ref.ask("hi", block=False).get(timeout=PATIENCE).text == "echo: hi"
        ref.tell("hello")
        assert ref.ask(Greeting("good day"), timeout=PATIENCE).text == "echo: good day"
    assert [reply.text for reply in chorus.broadcast("hi", timeout=PATIENCE)] == ["echo: hi"] * 2
    assert [request.prompt for request in model.requests].count("hello") == 2


@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("message", UNKNOWN, ids=[type(message).__name__ for message in UNKNOWN])
def test_an_unknown_message_is_told(message: Any, restart: Restart, warnings: list[str]) -> None:
    def scenario(_: Simulation) -> None:
        events: list[Event] = []
        with Supervisor.start(name="root") as supervisor:
            supervisor.subscribe(events.append)
            agent = supervisor.create_agent(SimulatedAgent(), "poet", restart=restart)
            agent.tell(message)
            assert agent.ask("hi").text == "hi"
            agent.ask(WaitForIdle())
            statistics = agent.ask(GetStatistics())
            assert (statistics.dead_letters, statistics.restarts) == (1, 0)
            assert agent.is_alive()
        kind = type(message).__name__
        letters = [event for event in events if isinstance(event, DeadLetter)]
        assert [(letter.agent, letter.message) for letter in letters] == [("poet", kind)]
        assert not [event for event in events if isinstance(event, AgentCrashed)]

    Simulation().run(scenario)

    assert [line for line in warnings if type(message).__name__ in line]


@pytest.mark.parametrize("message", UNKNOWN, ids=[type(message).__name__ for message in UNKNOWN])
def test_told_messages_do_not_end_a_pool_or_a_supervisor(message: Any, warnings: list[str]) -> None:
    def scenario(_: Simulation) -> None:
        events: list[Event] = []
        with Supervisor.start(name="root") as supervisor:
            supervisor.subscribe(events.append)
            pool = supervisor.create_pool(SimulatedAgent(), 2, "pool")
            for ref in (pool, supervisor):
                ref.tell(message)
            assert supervisor.children() == {}
            assert pool.ask("hi").text == "hi"
            assert len(pool.members()) == 2
        letters = [event.agent for event in events if isinstance(event, DeadLetter)]
        assert letters == ["pool", "root"]

    Simulation().run(scenario)

    assert len([line for line in warnings if line.startswith("WARNING")]) == 2


@pytest.mark.parametrize("message", UNKNOWN, ids=[type(message).__name__ for message in UNKNOWN])
def test_an_unknown_message_that_is_asked_is_a_typed_error(message: Any) -> None:
    def scenario(_: Simulation) -> None:
        with Supervisor.start(name="root") as supervisor:
            pool = supervisor.create_pool(SimulatedAgent(), 1, "pool")
            agent = supervisor.create_agent(SimulatedAgent(), "poet")
            refs: list[Any] = [agent, pool, supervisor]
            for ref, known in zip(refs, ["Chat", "Resize", "CreateAgent"], strict=True):
                with pytest.raises(UnknownMessage, match=f"it answers .*{known}") as caught:
                    ref.ask(message)
                assert isinstance(caught.value, (TypeError, AgyActorsError))
            agent.ask(WaitForIdle())
            assert agent.ask(IsIdle())
            assert agent.ask("hi").text == "hi"

    Simulation().run(scenario)


@pytest.mark.parametrize("timeout", ["x", float("nan"), -1, True, [1]])
def test_a_message_with_an_invalid_timeout_is_refused_when_it_is_made(timeout: Any) -> None:
    with pytest.raises(InvalidArgument, match="timeout must be a number of seconds"):
        WaitForWakeup(timeout=timeout)


def test_a_message_with_an_invalid_field_is_a_dead_letter() -> None:
    def scenario(_: Simulation) -> None:
        message = WaitForWakeup()
        object.__setattr__(message, "timeout", "x")
        size = Resize(2)
        object.__setattr__(size, "size", "x")
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent())
            pool = supervisor.create_pool(SimulatedAgent(), 1)
            agent.tell(message)
            pool.tell(size)
            assert agent.ask(GetStatistics()).dead_letters == 1
            assert agent.ask("hi").text == pool.ask("hi").text == "hi"
            assert agent.ask(GetStatistics()).restarts == 0

    Simulation().run(scenario)


class Mistake(BaseException):
    """An exception that code should not raise."""


MISTAKES = [ValueError("oops"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()]
MISTAKES += [Mistake("oops")]


@pytest.mark.parametrize("kind", [SignalIdle, WaitForWakeup, Send], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("mistake", MISTAKES, ids=repr)
@pytest.mark.parametrize("coroutine", [False, True], ids=["plain", "coroutine"])
def test_a_mistake_in_an_agents_own_code_is_a_crash(
    monkeypatch: pytest.MonkeyPatch, mistake: BaseException, kind: Any, *, coroutine: bool
) -> None:
    def fail(*_: object) -> None:
        raise mistake

    async def fail_later(*_: object) -> None:
        raise mistake

    def scenario(_: Simulation) -> None:
        events: list[Event] = []
        with Supervisor.start(max_restarts=1) as supervisor:
            supervisor.subscribe(events.append)
            agent = supervisor.create_agent(SimulatedAgent(), "poet")
            death = watch(agent)
            message = kind("go") if kind is Send else kind()
            monkeypatch.setitem(AgentActor.HANDLERS, kind, fail_later if coroutine else fail)
            agent.tell(message)
            assert agent.ask("hi").text == "hi"
            assert agent.ask(GetStatistics()).restarts == 1
            assert not death.done()
            agent.tell(message)
            assert death.get().reason is DeathReason.GIVEN_UP
        names = [type(event) for event in events]
        assert names.count(AgentCrashed) == names.count(AgentReady) == 2
        assert names.count(AgentGivenUp) == 1
        assert AgentStopped not in names

    Simulation().run(scenario)


def test_a_mistake_in_an_agents_start_is_a_crash_after_the_first_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_start = AgentActor.on_start
    failures = [SystemExit(1), ValueError("oops")]

    def start(actor: AgentActor) -> None:
        if actor.record.restarts and failures:
            raise failures.pop()
        on_start(actor)

    monkeypatch.setattr(AgentActor, "on_start", start)

    def scenario(_: Simulation) -> None:
        with Supervisor.start() as supervisor:
            agent = supervisor.create_agent(SimulatedAgent())
            monkeypatch.setitem(AgentActor.HANDLERS, SignalIdle, lambda *_: 1 / 0)
            agent.tell(SignalIdle())
            assert agent.ask("hi").text == "hi"
            assert agent.ask(GetStatistics()).restarts == 3
            assert agent.ask(GetTurnCount()) == 1

    Simulation().run(scenario)
