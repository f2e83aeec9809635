"""Actors of any class under a supervisor."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import threading
from typing import TYPE_CHECKING, Any, assert_type

import pytest
import tenacity
from google.antigravity.types import StepSource

from agy_actors import (
    ActorDeadError,
    ActorStartError,
    AgentCrashed,
    AgentDeadError,
    AgentEvent,
    AgentGivenUp,
    AgentHung,
    AgentReady,
    AgentRestarting,
    AgentStarted,
    AgentStopped,
    AskTimeout,
    AsyncioActor,
    Backoff,
    CreateActor,
    DeadLetter,
    DeadlockError,
    DeathReason,
    GetConversationId,
    GetHistory,
    GetStatistics,
    InvalidConfig,
    Message,
    Restart,
    Shutdown,
    ShutdownAgent,
    Strategy,
    Supervisor,
    SupervisorEscalated,
    watch,
)
from agy_actors._agents.agent_actor import AgentActor
from agy_actors._agents.agent_pool import Pool
from agy_actors.testing import SimulatedAgent, Simulation, crash, reply
from tests.harnesses import PATIENCE, until
from tests.simulation.threads import Threads, WorldType

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import SupervisorRef

IN_BOTH_WORLDS = pytest.mark.parametrize("world", [Simulation, Threads])

AT_ONCE = Backoff(wait=tenacity.wait_none())


@dataclasses.dataclass(frozen=True)
class Add(Message[int]):
    number: int = 1


@dataclasses.dataclass(frozen=True)
class GetIdentity(Message[int]):
    pass


@dataclasses.dataclass(frozen=True)
class Fail(Message[None]):
    error: type[BaseException] = ValueError


@dataclasses.dataclass(frozen=True, eq=False)
class Call(Message[Any]):
    function: Callable[[Any], Any]


class Counter(AsyncioActor):
    """Counts, and fails on request."""

    made: int = 0

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        super().__init__()
        self.count = start
        self.step = step

    def on_receive(self, message: Any) -> Any:
        match message:
            case Add(number):
                self.count += number * self.step
                return self.count
            case GetIdentity():
                return id(self)
            case Fail(error):
                raise error
            case Call(function):
                return function(self)
        return message


class Flaky(Counter):
    """Fails in its constructor or in `on_start` when a list says so."""

    def __init__(self, constructor: list[bool], on_start: list[bool]) -> None:
        super().__init__()
        self._on_start = on_start
        if constructor and constructor.pop(0):
            raise OSError("no constructor")

    def on_start(self) -> None:
        if self._on_start and self._on_start.pop(0):
            raise OSError("no start")


# Creation.


@IN_BOTH_WORLDS
def test_an_actor_is_made_with_its_arguments_and_listed_by_its_name(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            counter = supervisor.create_actor(Counter, 10, step=2, name="counter")

            assert assert_type(counter.ask(Add(3)), int) == 16
            assert supervisor.actors() == {"counter": counter}
            assert supervisor.children() == {}

    world().run(scenario)


def test_names_that_are_not_given_are_generated() -> None:
    with Supervisor.start() as supervisor:
        refs = [supervisor.create_actor(Counter) for _ in range(2)]

        assert supervisor.actors() == {"actor-1": refs[0], "actor-2": refs[1]}


def test_the_ref_of_an_actor_can_be_awaited() -> None:
    async def main() -> int:
        async with Supervisor.start() as supervisor:
            counter = await supervisor.create_actor(Counter, 1, block=False)
            return await counter.ask(Add(), block=False)

    assert asyncio.run(main()) == 2


def test_a_creation_that_is_cancelled_leaves_nothing() -> None:
    class Slow(Counter):
        async def on_start(self) -> None:  # type: ignore[override]
            await asyncio.sleep(PATIENCE)

    with Supervisor.start() as supervisor:
        creation = supervisor.create_actor(Slow, name="slow", block=False)
        until(lambda: "slow" in supervisor.actors())

        creation.cancel()

        until(lambda: supervisor.actors() == {})
        with pytest.raises(AskTimeout):
            supervisor.create_actor(Slow, name="slow", timeout=0.05)
        until(lambda: supervisor.actors() == {})


@pytest.mark.parametrize(
    ("actor_class", "words"),
    [
        (object, "actor_class must be a subclass of AsyncioActor"),
        (3, "actor_class must be a subclass of AsyncioActor, got 3"),
        (Pool, r"supervisor\.create_pool"),
        (Supervisor, r"supervisor\.create_supervisor"),
        (AgentActor, r"supervisor\.create_agent"),
    ],
)
def test_a_class_that_is_not_an_actor_is_refused(actor_class: Any, words: str) -> None:
    with Supervisor.start() as supervisor:
        with pytest.raises(InvalidConfig, match=words):
            supervisor.create_actor(actor_class)
        assert supervisor.actors() == {}


def test_invalid_values_are_refused() -> None:
    with Supervisor.start() as supervisor:
        supervisor.create_actor(Counter, name="taken")
        with pytest.raises(InvalidConfig, match="'taken' already"):
            supervisor.create_actor(Counter, name="taken")
        with pytest.raises(InvalidConfig, match="restart must be one of"):
            supervisor.create_actor(Counter, restart="always")  # type: ignore[call-overload]
        with pytest.raises(InvalidConfig, match="stop_timeout"):
            supervisor.ask(CreateActor(Counter, stop_timeout=-1.0))


@IN_BOTH_WORLDS
@pytest.mark.parametrize(
    ("constructor", "on_start", "words"),
    [
        ([True], [], "Flaky 'flaky' did not start: OSError: no constructor"),
        ([], [True], "Flaky 'flaky' did not start: OSError: no start"),
    ],
)
def test_an_error_of_the_first_start_is_the_creators(
    world: WorldType, constructor: list[bool], on_start: list[bool], words: str
) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            with pytest.raises(ActorStartError, match=words) as caught:
                supervisor.create_actor(Flaky, [*constructor], [*on_start], name="flaky")

            assert isinstance(caught.value.__cause__, OSError)
            assert supervisor.actors() == {}
            supervisor.create_actor(Flaky, [], [], name="flaky")

    world().run(scenario)


# Failures.


@IN_BOTH_WORLDS
def test_a_crash_makes_a_new_incarnation_that_handles_waiting_messages(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            counter = supervisor.create_actor(Counter, 10, step=2)
            assert counter.ask(Add()) == 12
            before = counter.ask(GetIdentity())

            counter.tell(Fail())
            waiting = [counter.ask(Add(), block=False) for _ in range(3)]

            assert [reply.get() for reply in waiting] == [12, 14, 16]
            assert counter.ask(GetIdentity()) != before
            assert counter.is_alive()

    world().run(scenario)


@IN_BOTH_WORLDS
def test_an_error_of_an_asked_message_restarts_nothing(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            counter = supervisor.create_actor(Counter, 10)
            counter.ask(Add())

            with pytest.raises(ValueError):  # noqa: PT011 (of the actor, without words)
                counter.ask(Fail())

            assert counter.ask(Add()) == 12

    world().run(scenario)


@IN_BOTH_WORLDS
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_base_exception_is_also_a_crash(world: WorldType, error: type[BaseException]) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            counter = supervisor.create_actor(Counter, 10)
            counter.ask(Add())

            counter.tell(Fail(error))

            assert counter.ask(Add()) == 11

    world().run(scenario)


@IN_BOTH_WORLDS
@pytest.mark.parametrize(
    ("constructor", "on_start"), [([False, True, True], []), ([], [False, True, True])]
)
def test_an_error_of_a_later_start_is_a_failure_that_counts(
    world: WorldType, constructor: list[bool], on_start: list[bool]
) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start(backoff=AT_ONCE) as supervisor:
            flaky = supervisor.create_actor(Flaky, [*constructor], [*on_start])
            flaky.tell(Fail())
            assert flaky.ask(Add()) == 1

        with Supervisor.start(backoff=AT_ONCE, max_restarts=2) as supervisor:
            flaky = supervisor.create_actor(Flaky, [*constructor], [*on_start])
            death = watch(flaky)
            flaky.tell(Fail())
            with pytest.raises(ActorDeadError, match=r"failed 3 times .* OSError: no "):
                flaky.ask(Add())
            assert death.get().reason is DeathReason.GIVEN_UP

    world().run(scenario)


@IN_BOTH_WORLDS
def test_a_temporary_actor_is_not_restarted(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            counter = supervisor.create_actor(Counter, restart=Restart.TEMPORARY, name="counter")

            counter.tell(Fail())

            assert watch(counter).get().reason is DeathReason.GIVEN_UP
            with pytest.raises(ActorDeadError, match="Counter 'counter' was given up") as caught:
                counter.ask(Add())
            assert not isinstance(caught.value, AgentDeadError)
            assert supervisor.actors() == {}

    world().run(scenario)


def test_restarts_wait_for_the_backoff() -> None:
    def scenario(sim: Simulation) -> list[float]:
        backoff = Backoff(wait=tenacity.wait_incrementing(start=4, increment=4), reset_after=100)
        times = []
        with Supervisor.start(backoff=backoff) as supervisor:
            counter = supervisor.create_actor(Counter)
            for _ in range(4):
                before = sim.now
                counter.tell(Fail())
                counter.ask(Add())
                times.append(sim.now - before)
        return times

    assert Simulation().run(scenario) == [0.0, 4.0, 8.0, 12.0]


@IN_BOTH_WORLDS
def test_the_events_of_an_actor_are_those_of_an_agent(world: WorldType) -> None:
    def scenario(_: Any) -> list[Any]:
        events: list[Any] = []
        with Supervisor.start(name="root", max_restarts=1) as supervisor:
            supervisor.subscribe(events.append)
            counter = supervisor.create_actor(Counter, name="counter")
            counter.tell(Fail())
            counter.ask(Add())
            counter.tell(Fail())
            watch(counter).get()
            other = supervisor.create_actor(Counter, name="other")
            other.stop()
        return events

    events = world().run(scenario)

    first = [AgentStarted, AgentReady, AgentCrashed, AgentRestarting, AgentStarted, AgentReady]
    last = [AgentCrashed, AgentGivenUp]
    of_agents: list[Any] = [event for event in events if isinstance(event, AgentEvent)]
    of_counter = [event for event in of_agents if event.agent == "counter"]
    assert [type(event) for event in of_counter] == [*first, *last]
    assert {event.supervisor for event in of_counter} == {"root"}
    assert of_counter[2].error == "ValueError"
    assert [event.restarts for event in of_counter if isinstance(event, AgentStarted)] == [0, 1]
    of_other = [event for event in of_agents if event.agent == "other"]
    assert [type(event) for event in of_other] == [AgentStarted, AgentReady, AgentStopped]


# Trees.


def supervise_both(strategy: Strategy, log: list[str]) -> tuple[SupervisorRef, Any, Any]:
    """Return a supervisor with an agent and a plain actor, whose starts are logged."""

    class Logged(Counter):
        def on_start(self) -> None:
            log.append("actor")

    supervisor = Supervisor.start(strategy=strategy)
    supervisor.subscribe(
        lambda e: log.append("agent") if isinstance(e, AgentReady) and e.agent == "poet" else None
    )
    script = {"one": [reply("first")], "crash": [crash(), reply("again")], "two": [reply()]}
    agent = supervisor.create_agent(SimulatedAgent(lambda prompt: script[prompt].pop(0)), "poet")
    counter = supervisor.create_actor(Logged, name="counter")
    return supervisor, agent, counter


@IN_BOTH_WORLDS
@pytest.mark.parametrize("failing", ["agent", "actor"])
def test_one_for_all_restarts_an_agent_with_its_conversation_and_a_plain_actor(
    world: WorldType, failing: str
) -> None:
    def scenario(_: Any) -> None:
        log: list[str] = []
        supervisor, agent, counter = supervise_both(Strategy.ONE_FOR_ALL, log)
        with supervisor:
            conversation = agent.ask(GetConversationId())
            assert agent.ask("one").text == "first"
            assert counter.ask(Add()) == 1

            if failing == "agent":
                assert agent.ask("crash").text == "again"
            else:
                counter.tell(Fail())

            assert counter.ask(Add()) == 1  # A new incarnation.
            assert agent.ask("two").text == "two"
            assert agent.ask(GetConversationId()) == conversation
            assert agent.ask(GetStatistics()).restarts == 1
            steps = agent.ask(GetHistory())
            prompts = [step.content for step in steps if step.source == StepSource.USER]
            assert [prompts[0], prompts[-1]] == ["one", "two"]

    world().run(scenario)


@IN_BOTH_WORLDS
def test_rest_for_one_spans_agents_and_plain_actors(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start(strategy=Strategy.REST_FOR_ONE) as supervisor:
            first = supervisor.create_actor(Counter, name="first")
            agent = supervisor.create_agent(SimulatedAgent([crash(), reply("well")]), "poet")
            last = supervisor.create_actor(Counter, name="last")
            first.ask(Add())
            last.ask(Add())

            assert agent.ask("go").text == "well"

            assert last.ask(Add()) == 1
            assert first.ask(Add()) == 2

    world().run(scenario)


@IN_BOTH_WORLDS
def test_an_actor_that_fails_too_often_escalates(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        events: list[Any] = []
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            team = supervisor.create_supervisor("team", max_restarts=0)
            counter = team.create_actor(Counter, name="counter")
            sibling = team.create_actor(Counter, name="sibling")
            sibling.ask(Add())

            counter.tell(Fail())

            assert counter.ask(Add()) == 1
            assert sibling.ask(Add()) == 1
        assert [e.supervisor for e in events if isinstance(e, SupervisorEscalated)] == ["team"]

    world().run(scenario)


# Hangs.


def test_an_actor_that_hangs_is_replaced_and_keeps_waiting_messages() -> None:
    blocked, let_go = threading.Event(), threading.Event()
    events: list[Any] = []

    def block(_: Counter) -> None:
        blocked.set()
        let_go.wait(PATIENCE)

    with Supervisor.start(hang_timeout=0.2) as supervisor:
        supervisor.subscribe(events.append)
        counter = supervisor.create_actor(Counter, 5, name="counter")
        hanging = counter.ask(Call(block), block=False)
        assert blocked.wait(PATIENCE)

        assert counter.ask(Add(), timeout=PATIENCE) == 6

        with pytest.raises(ActorDeadError):
            hanging.get(timeout=PATIENCE)
        let_go.set()
    hung = [event for event in events if isinstance(event, AgentHung)]
    assert [event.agent for event in hung] == ["counter"]
    assert "block (test_actors.py" in hung[0].where


def test_an_actor_that_hangs_is_replaced_in_the_simulation() -> None:
    def scenario(sim: Simulation) -> float:
        with Supervisor.start(hang_timeout=10.0) as supervisor:
            counter = supervisor.create_actor(Counter, 5)

            def block(_: Counter) -> None:
                sim.sleep(1000.0)

            counter.tell(Call(block))
            assert counter.ask(Add()) == 6
            return sim.now

    assert 10.0 <= Simulation().run(scenario) <= 15.0


# Ends.


@IN_BOTH_WORLDS
@pytest.mark.parametrize("who", ["the ref", "the actor itself"])
def test_a_stop_ends_an_actor_for_good(world: WorldType, who: str) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            counter = supervisor.create_actor(Counter, name="counter")
            death = watch(counter)

            if who == "the ref":
                counter.stop()
            else:
                counter.ask(Call(lambda actor: actor.stop()))

            assert death.get().reason is DeathReason.STOPPED
            assert supervisor.actors() == {}
            supervisor.create_actor(Counter, name="counter")

    world().run(scenario)


@IN_BOTH_WORLDS
@pytest.mark.parametrize("by", ["name", "ref"])
def test_shutting_down_an_actor_drains_it_or_not(world: WorldType, by: str) -> None:
    def scenario(sim: Any) -> None:
        async def work(actor: Counter) -> str:
            await asyncio.sleep(1.0 if world is Simulation else 0.05)
            return "done"

        with Supervisor.start() as supervisor:
            for drain in (True, False):
                counter = supervisor.create_actor(Counter, name="counter")
                working = counter.ask(Call(work), block=False)
                counter.ask(Add())

                wanted: Any = "counter" if by == "name" else counter
                supervisor.shutdown_agent(wanted, drain=drain)

                if drain:
                    assert working.get() == "done"
                else:
                    with pytest.raises(ActorDeadError):
                        working.get()
                assert not counter.is_alive()

    world().run(scenario)


def test_an_actor_that_does_not_end_is_abandoned_after_its_stop_timeout() -> None:
    def scenario(sim: Simulation) -> float:
        with Supervisor.start(hang_timeout=None) as supervisor:
            message = CreateActor(Counter, name="counter", stop_timeout=3.0)
            counter = supervisor.ask(message)
            counter.tell(Call(lambda _: sim.sleep(1000.0)))
            sim.sleep(1.0)
            before = sim.now
            supervisor.ask(ShutdownAgent("counter"))
            return sim.now - before

    assert Simulation().run(scenario) == 13.0


@IN_BOTH_WORLDS
def test_draining_a_supervisor_lets_actors_finish(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        async def work(actor: Counter) -> str:
            await asyncio.sleep(0.05)
            return "done"

        supervisor = Supervisor.start()
        counter = supervisor.create_actor(Counter)
        working = counter.ask(Call(work), block=False)
        counter.ask(Add())

        supervisor.ask(Shutdown(drain=True))

        assert working.get() == "done"
        supervisor.stop()

    world().run(scenario)


def test_an_actor_that_waits_for_its_restart_can_be_stopped() -> None:
    def scenario(sim: Simulation) -> None:
        backoff = Backoff(wait=lambda _: 1000.0)
        with Supervisor.start(backoff=backoff) as supervisor:
            for starts in ([], [False, False, True]):
                counter = supervisor.create_actor(Flaky, [], [*starts], name="counter")
                counter.tell(Fail())
                counter.ask(Add())
                counter.tell(Fail())
                sim.sleep(1.0)

                assert counter.stop()

                assert sim.now < 100.0
                assert supervisor.actors() == {}

    Simulation().run(scenario)


@IN_BOTH_WORLDS
def test_messages_that_were_told_to_an_actor_that_ends_are_dead_letters(world: WorldType) -> None:
    def scenario(sim: Any) -> None:
        events: list[Any] = []
        with Supervisor.start(backoff=Backoff(wait=lambda _: 1000.0)) as supervisor:
            supervisor.subscribe(events.append)
            counter = supervisor.create_actor(Counter, name="counter")
            counter.tell(Fail())
            counter.ask(Add())
            counter.tell(Fail())
            while sum(isinstance(event, AgentRestarting) for event in events) < 2:
                sim.sleep(1.0)
            counter.tell(Add())
        letters = [event for event in events if isinstance(event, DeadLetter)]
        assert [(event.agent, event.message) for event in letters] == [("counter", "Add")]

    world().run(scenario)


def test_nothing_is_left_of_actors_when_their_supervisor_has_ended() -> None:
    threads = set(threading.enumerate())
    with Supervisor.start() as supervisor:
        refs = [supervisor.create_actor(Counter) for _ in range(10)]
        for ref in refs:
            ref.tell(Fail())
        assert [ref.ask(Add()) for ref in refs] == [1] * 10

    assert not any(ref.is_alive() for ref in refs)
    for thread in set(threading.enumerate()) - threads:
        thread.join(PATIENCE)
    assert set(threading.enumerate()) <= threads


@pytest.mark.filterwarnings("ignore::agy_actors.BlockingCallWarning")
@pytest.mark.parametrize("drain", [False, True])
@pytest.mark.parametrize("by", ["name", "ref"])
def test_a_handler_cannot_hold_up_its_actors_thread_until_the_actor_has_ended(
    by: str, drain: bool
) -> None:
    with Supervisor.start() as supervisor:

        def end(_: object, *, which: str) -> None:
            ref = supervisor.actors()[which]
            supervisor.shutdown_agent(which if by == "name" else ref, drain=drain)

        me = supervisor.create_actor(Counter, name="me")
        other = supervisor.create_actor(Counter, name="other")

        me.ask(Call(functools.partial(end, which="other")), timeout=PATIENCE)
        assert not other.is_alive()
        with pytest.raises(DeadlockError):
            me.ask(Call(functools.partial(end, which="me")), timeout=PATIENCE)
