"""The guarantees of supervised actors that crash, fail to start, hang and end, in drawn
schedules."""

from __future__ import annotations

import dataclasses
from typing import Any

import hypothesis
import pytest
import tenacity
from hypothesis import strategies as st

from agy_actors import (
    ActorDeadError,
    AsyncioActor,
    Backoff,
    DeadLetter,
    Lane,
    Message,
    Restart,
    Strategy,
    Supervisor,
    watch,
)
from agy_actors.testing import Deviations, SimulatedAgent, Simulation, crash, reply, schedules
from tests.simulation.effort import times

SETTINGS = hypothesis.settings(
    max_examples=times(40),
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
SLOW = Backoff(wait=tenacity.wait_fixed(5.0), reset_after=1000.0)


@dataclasses.dataclass(frozen=True)
class Note(Message[int]):
    """Note a number; the reply is how many this incarnation has noted."""

    number: int


@dataclasses.dataclass(frozen=True)
class NoteInTurn(Note):
    lane = Lane.TURN


@dataclasses.dataclass(frozen=True)
class Fail(Message[None]):
    pass


class Notebook(AsyncioActor):
    """Notes numbers in a list that outlives it, and fails on request."""

    def __init__(self, noted: list[int], bad_starts: list[bool] | None = None) -> None:
        super().__init__()
        self.noted = noted
        self.own = 0
        if bad_starts and bad_starts.pop(0):
            raise OSError("no start")

    def on_receive(self, message: Any) -> Any:
        if message == Fail():
            raise ValueError("no note")
        self.noted.append(message.number)
        self.own += 1
        return self.own


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    failing=st.lists(st.integers(0, 9), max_size=4, unique=True),
    kind=st.sampled_from([Note, NoteInTurn]),
)
def test_an_actor_handles_each_message_once_and_in_order_despite_crashes(
    schedule: Deviations, failing: list[int], kind: type[Note]
) -> None:
    def scenario(sim: Simulation) -> None:
        noted: list[int] = []
        with Supervisor.start(backoff=SLOW, max_restarts=50) as supervisor:
            notebook = supervisor.create_actor(Notebook, noted)
            replies = []
            for number in range(10):
                if number in failing:
                    notebook.tell(Fail())
                replies.append(notebook.ask(kind(number), block=False))
                sim.sleep(sim.choose(0.0, 1.0, 7.0))

            assert all(reply.get() >= 1 for reply in replies)

        assert noted == list(range(10))

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(schedule=schedules(), bad=st.integers(0, 6))
def test_a_constructor_that_fails_in_a_restart_counts_as_a_failure(
    schedule: Deviations, bad: int
) -> None:
    def scenario(_: Simulation) -> None:
        noted: list[int] = []
        with Supervisor.start(backoff=SLOW, max_restarts=4) as supervisor:
            notebook = supervisor.create_actor(Notebook, noted, [False] + [True] * bad)
            notebook.tell(Fail())
            reply = notebook.ask(Note(1), block=False)
            if bad < 4:
                assert reply.get(timeout=1000.0) == 1
            else:
                with pytest.raises(ActorDeadError, match="failed 5 times"):
                    reply.get(timeout=1000.0)

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    when=st.sampled_from([0.0, 1.0, 6.0]),
    how=st.sampled_from(["stop", "shutdown", "drain", "supervisor"]),
)
def test_an_actor_that_crashes_ends_when_it_is_asked_to_and_answers_all(
    schedule: Deviations, when: float, how: str
) -> None:
    def scenario(sim: Simulation) -> None:
        letters: list[Any] = []
        with Supervisor.start(backoff=Backoff(wait=lambda _: 1000.0)) as supervisor:
            supervisor.subscribe(
                lambda event: letters.append(event) if isinstance(event, DeadLetter) else None
            )
            noted: list[int] = []
            notebook = supervisor.create_actor(Notebook, noted, name="notebook")
            notebook.tell(Fail())
            notebook.tell(Fail())
            told, asked = Note(1), notebook.ask(Note(2), block=False)
            notebook.tell(told)
            sim.sleep(when)
            ends: dict[str, Any] = {
                "stop": notebook.stop,
                "shutdown": lambda: supervisor.shutdown_agent("notebook"),
                "drain": lambda: supervisor.shutdown_agent("notebook", drain=True),
                "supervisor": supervisor.stop,
            }

            ends[how]()

            assert sim.now < 900.0
            watch(notebook).get(timeout=0)
            try:
                assert asked.get(timeout=0) == 1
            except ActorDeadError:
                assert 2 not in noted
        assert len(letters) + noted.count(1) == 1

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(schedule=schedules(), agent_first=st.booleans(), agent_fails=st.booleans())
def test_an_agent_and_an_actor_are_restarted_together_and_at_once(
    schedule: Deviations, *, agent_first: bool, agent_fails: bool
) -> None:
    def scenario(sim: Simulation) -> None:
        noted: list[int] = []
        script = {"one": [reply()], "crash": [crash(), reply()], "two": [reply()]}
        config = SimulatedAgent(lambda prompt: script[prompt].pop(0))
        with Supervisor.start(strategy=Strategy.ONE_FOR_ALL) as supervisor:
            if agent_first:
                agent = supervisor.create_agent(config)
                notebook = supervisor.create_actor(Notebook, noted)
            else:
                notebook = supervisor.create_actor(Notebook, noted)
                agent = supervisor.create_agent(config)
            assert agent.ask("one").text == "one"
            assert notebook.ask(Note(1)) == 1

            if agent_fails:
                assert agent.ask("crash").text == "crash"
            else:
                notebook.tell(Fail())

            assert notebook.ask(Note(2)) == 1
            assert agent.ask("two").text == "two"
            assert supervisor.statistics().restarts == 1
            assert sim.now < 5.0

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    how=st.sampled_from(["stop", "shutdown", "give up", "unsubscribe"]),
)
def test_a_topic_reaches_subscribers_in_order_until_they_end(
    schedule: Deviations, how: str
) -> None:
    def scenario(sim: Simulation) -> None:
        heard: list[list[int]] = [[], []]
        with Supervisor.start(backoff=SLOW) as supervisor:
            leaving = supervisor.create_actor(Notebook, heard[0], restart=Restart.TEMPORARY)
            staying = supervisor.create_actor(Notebook, heard[1])
            topic = supervisor.topic("numbers")
            topic.subscribe(leaving)
            topic.subscribe(staying)
            staying.tell(Fail())

            def publish() -> None:
                for number in range(6):
                    topic.publish(Note(number))

            def give_up() -> None:
                leaving.tell(Fail())
                watch(leaving).get()

            publisher = sim.client(publish)

            ends: dict[str, Any] = {
                "stop": leaving.stop,
                "shutdown": lambda: supervisor.shutdown_agent(leaving),
                "give up": give_up,
                "unsubscribe": lambda: topic.unsubscribe(leaving),
            }
            ends[how]()

            publisher.result()
            assert len(topic) == 1
            staying.ask(Note(6))
        assert heard[0] == sorted(set(heard[0]))
        assert heard[1] == list(range(7))

    Simulation(schedule).run(scenario)
