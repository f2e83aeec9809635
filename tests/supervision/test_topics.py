"""Topics: published messages reach all subscribers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agy_actors import (
    ActorDeadError,
    AsyncioActor,
    InvalidArgument,
    InvalidConfig,
    Lane,
    Message,
    Supervisor,
)
from agy_actors.testing import Simulation
from tests.harnesses import PATIENCE, until
from tests.simulation.threads import Threads, WorldType

IN_BOTH_WORLDS = pytest.mark.parametrize("world", [Simulation, Threads])


class Listener(AsyncioActor):
    """Notes its messages in a list that outlives it."""

    def __init__(self, heard: list[Any]) -> None:
        super().__init__()
        self._heard = heard

    def on_receive(self, message: Any) -> None:
        if message == "fail":
            raise ValueError
        if message != "is everything heard?":
            self._heard.append(message)


class Work(Message[None]):
    lane = Lane.TURN


@IN_BOTH_WORLDS
def test_published_messages_reach_all_subscribers_in_order(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        heard: list[list[Any]] = [[], [], []]
        with Supervisor.start() as supervisor:
            refs = [supervisor.create_actor(Listener, heard[number]) for number in range(2)]
            topic = supervisor.topic("orders")
            for ref in refs:
                topic.subscribe(ref)
                topic.subscribe(ref)
            topic.subscribe(heard[2].append)

            for number in range(5):
                topic.publish(number)
            for ref in refs:
                ref.ask("is everything heard?")

        assert heard == [[0, 1, 2, 3, 4]] * 3

    world().run(scenario)


def test_a_name_always_means_the_same_topic_of_a_supervisor() -> None:
    with Supervisor.start() as supervisor:
        team = supervisor.create_supervisor("team")

        assert supervisor.topic("orders") is supervisor.topic("orders")
        assert supervisor.topic("orders") is not supervisor.topic("invoices")
        assert supervisor.topic("orders") is not team.topic("orders")
        assert supervisor.topic("orders").name == "orders"
        with pytest.raises(InvalidConfig, match="a name"):
            supervisor.topic("a/b")


def test_a_topic_can_be_awaited() -> None:
    async def main() -> str:
        async with Supervisor.start() as supervisor:
            return (await supervisor.topic("orders", block=False)).name

    assert asyncio.run(main()) == "orders"


@IN_BOTH_WORLDS
@pytest.mark.parametrize("kind", ["actor", "function"])
def test_nothing_reaches_a_subscriber_that_has_unsubscribed(world: WorldType, kind: str) -> None:
    def scenario(_: Any) -> None:
        heard: list[Any] = []
        with Supervisor.start() as supervisor:
            ref = supervisor.create_actor(Listener, heard)
            subscriber: Any = ref if kind == "actor" else heard.append
            topic = supervisor.topic("orders")
            topic.unsubscribe(subscriber)
            topic.subscribe(subscriber)
            topic.publish(1)

            topic.unsubscribe(subscriber)
            topic.publish(2)

            ref.ask("is everything heard?")
            assert len(topic) == 0
        assert heard == [1]

    world().run(scenario)


@IN_BOTH_WORLDS
def test_a_subscriber_that_has_ended_is_removed(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        heard: list[Any] = []
        with Supervisor.start() as supervisor:
            ref = supervisor.create_actor(Listener, heard)
            other = Listener.start(heard)
            topic = supervisor.topic("orders")
            topic.subscribe(ref)
            topic.subscribe(other)

            supervisor.shutdown_agent(ref)
            other.stop()

            assert len(topic) == 0
            topic.subscribe(other)
            assert len(topic) == 0
            topic.publish(1)
        assert heard == []

    world().run(scenario)


@IN_BOTH_WORLDS
def test_a_subscriber_that_is_restarted_stays_subscribed(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        heard: list[Any] = []
        with Supervisor.start() as supervisor:
            ref = supervisor.create_actor(Listener, heard)
            topic = supervisor.topic("orders")
            topic.subscribe(ref)

            topic.publish("fail")
            topic.publish("well")

            ref.ask("is everything heard?")
        assert heard == ["well"]

    world().run(scenario)


def test_a_slow_subscriber_delays_no_other_and_loses_messages_that_do_not_fit() -> None:
    let_go = threading.Event()
    heard: list[Any] = []

    class Slow(AsyncioActor):
        mailbox_capacity = 1

        def on_receive(self, message: Any) -> None:
            let_go.wait(PATIENCE)

    def slow(_: object) -> None:
        let_go.wait(PATIENCE)

    with Supervisor.start() as supervisor:
        topic = supervisor.topic("orders")
        topic.subscribe(supervisor.create_actor(Slow))
        topic.subscribe(slow, capacity=1)
        topic.subscribe(heard.append)
        messages = [Work() for _ in range(50)]

        for message in messages:
            topic.publish(message)

        until(lambda: heard == messages)
        assert not let_go.is_set()
        assert topic.dropped >= 48
        let_go.set()


def test_a_function_that_raises_stays_subscribed() -> None:
    heard: list[Any] = []

    def fail(message: Any) -> None:
        heard.append(message)
        raise ValueError

    with Supervisor.start() as supervisor:
        topic = supervisor.topic("orders")
        topic.subscribe(fail)

        topic.publish(1)
        topic.publish(2)

    assert heard == [1, 2]


def test_a_topic_ends_with_its_supervisor() -> None:
    with Supervisor.start() as supervisor:
        topic = supervisor.topic("orders")
        topic.subscribe(print)

    assert len(topic) == 0
    topic.publish("nobody hears this")
    with pytest.raises(ActorDeadError, match="topic 'orders'"):
        topic.subscribe(print)


def test_invalid_subscribers_are_refused() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, _: object) -> None: ...

    with Supervisor.start() as supervisor:
        topic = supervisor.topic("orders")
        for call in (topic.subscribe, topic.unsubscribe):
            with pytest.raises(InvalidArgument, match="subscriber must be the ref"):
                call("nobody")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="subscriber must be hashable"):
            topic.subscribe(Unhashable())
        with pytest.raises(InvalidArgument, match="capacity"):
            topic.subscribe(print, capacity=0)
        assert len(topic) == 0
