"""Pools of actors of any class."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from agy_actors import (
    ActorDeadError,
    ActorStartError,
    AsyncioActor,
    CreateActorPool,
    DeadLetter,
    InvalidConfig,
    Lane,
    Message,
    Routing,
    Supervisor,
)
from agy_actors.testing import Simulation
from tests.simulation.threads import Threads, WorldType

IN_BOTH_WORLDS = pytest.mark.parametrize("world", [Simulation, Threads])


@dataclasses.dataclass(frozen=True)
class Square(Message[int]):
    number: int

    lane = Lane.TURN


@dataclasses.dataclass(frozen=True)
class Sleep(Message[int]):
    seconds: float

    lane = Lane.TURN


@dataclasses.dataclass(frozen=True)
class GetIdentity(Message[int]):
    pass


@dataclasses.dataclass(frozen=True)
class Fail(Message[None]):
    pass


class Worker(AsyncioActor):
    """Squares numbers, and adds an offset."""

    def __init__(self, offset: int = 0) -> None:
        super().__init__()
        self.offset = offset

    def on_receive(self, message: Any) -> Any:
        match message:
            case Square(number):
                return number**2 + self.offset
            case Sleep(seconds):
                return self._sleep(seconds)
            case GetIdentity():
                return id(self)
            case Fail():
                raise ValueError("no square")
        return message

    async def _sleep(self, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return id(self)


@pytest.mark.parametrize("message", [("a", 1), (), [2], "text", None], ids=repr)
def test_any_object_is_a_message_to_a_member(message: object) -> None:
    with Supervisor.start() as supervisor:
        pool = supervisor.create_actor_pool(Worker, size=1)

        assert pool.ask(message) == message


@IN_BOTH_WORLDS
def test_a_pool_gives_messages_to_its_members(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        with (
            Supervisor.start() as supervisor,
            supervisor.create_actor_pool(Worker, 1, size=3, name="workers") as pool,
        ):
            futures = [pool.ask(Square(number), block=False) for number in range(10)]

            assert [future.get() for future in futures] == [n**2 + 1 for n in range(10)]
            assert len(pool.members()) == 3
            statistics = pool.statistics()
            assert (statistics.name, statistics.size, statistics.busy) == ("workers", 3, 0)
            assert supervisor.statistics().pools == 1

    world().run(scenario)


def test_members_work_at_the_same_time_on_one_message_each() -> None:
    def scenario(sim: Simulation) -> tuple[float, int]:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_actor_pool(Worker, size=2)
            futures = [pool.ask(Sleep(10.0), block=False) for _ in range(4)]
            members = {future.get() for future in futures}
            return sim.now, len(members)

    assert Simulation().run(scenario) == (20.0, 2)


@IN_BOTH_WORLDS
def test_the_same_key_goes_to_the_same_member(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_actor_pool(Worker, size=4, routing=Routing.CONSISTENT_HASH)
            with pytest.raises(InvalidConfig, match="chooses a member by key"):
                pool.ask(GetIdentity())

            for key in "abcdef":
                assert len({pool.ask(GetIdentity(), key=key) for _ in range(3)}) == 1

    world().run(scenario)


@IN_BOTH_WORLDS
def test_a_pool_that_broadcasts_asks_all_members(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_actor_pool(Worker, 5, size=3, routing=Routing.BROADCAST)

            assert pool.ask(Square(2)) == [9, 9, 9]  # type: ignore[comparison-overlap]

    world().run(scenario)


@IN_BOTH_WORLDS
def test_an_error_goes_to_the_asker_and_a_told_message_becomes_a_dead_letter(
    world: WorldType,
) -> None:
    def scenario(_: Any) -> None:
        events: list[Any] = []
        with Supervisor.start() as supervisor:
            supervisor.subscribe(events.append)
            pool = supervisor.create_actor_pool(Worker, size=1, name="workers")
            before = pool.ask(GetIdentity())
            with pytest.raises(ValueError, match="no square"):
                pool.ask(Fail())

            pool.tell(Fail())

            assert pool.ask(GetIdentity()) == before
        letters = [event for event in events if isinstance(event, DeadLetter)]
        assert [(letter.agent, letter.message) for letter in letters] == [("workers", "Fail")]

    world().run(scenario)


@IN_BOTH_WORLDS
def test_a_member_that_crashes_is_restarted_and_one_that_is_given_up_replaced(
    world: WorldType,
) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            message = CreateActorPool(Worker, size=1, max_restarts=1)
            pool = supervisor.ask(message)
            before = pool.ask(GetIdentity())
            (member,) = pool.members()

            member.tell(Fail())
            member.ask(Square(2))
            assert pool.ask(GetIdentity()) != before
            assert pool.members() == [member]

            member.tell(Fail())
            with pytest.raises(ActorDeadError):
                member.ask(Square(2))
            assert pool.ask(Square(3)) == 9
            assert pool.statistics().replaced == 1

    world().run(scenario)


def test_a_message_whose_member_ends_is_not_handled_again() -> None:
    def scenario(sim: Simulation) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_actor_pool(Worker, size=1)
            cut_off = pool.ask(Sleep(100.0), block=False)
            sim.sleep(1.0)

            pool.members()[0].stop(now=True)

            with pytest.raises(ActorDeadError):
                cut_off.get()
            assert pool.ask(Square(3)) == 9

    Simulation().run(scenario)


@IN_BOTH_WORLDS
def test_a_pool_can_be_resized_and_drained(world: WorldType) -> None:
    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            pool = supervisor.create_actor_pool(Worker, size=1, name="workers")
            pool.resize(3)
            assert len(pool.members()) == 3
            pool.resize(1)
            futures = [pool.ask(Square(number), block=False) for number in range(5)]

            supervisor.shutdown_agent("workers", drain=True)

            assert [future.get() for future in futures] == [0, 1, 4, 9, 16]

    world().run(scenario)


@IN_BOTH_WORLDS
def test_the_creator_gets_the_error_of_a_pool_whose_members_do_not_start(world: WorldType) -> None:
    class Broken(Worker):
        def on_start(self) -> None:
            raise OSError("no start")

    def scenario(_: Any) -> None:
        with Supervisor.start() as supervisor:
            with pytest.raises(ActorStartError, match="no start"):
                supervisor.create_actor_pool(Broken)
            with pytest.raises(ActorStartError, match="TypeError"):
                supervisor.create_actor_pool(Worker, 1, 2, 3)
            with pytest.raises(InvalidConfig, match="size"):
                supervisor.create_actor_pool(Worker, size=0)
            with pytest.raises(InvalidConfig, match="actor_class"):
                supervisor.create_actor_pool(int)  # type: ignore[arg-type]

    world().run(scenario)
