"""The keeper of all keys' paces: the turns that it starts, and the keys that it forgets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import QuotaExceeded
from agy_actors._agents.rate_limit import GetPace, PaceBoard, PaceKeeper
from agy_actors._supervision.event_hub import EventHub
from agy_actors.testing import Simulation

if TYPE_CHECKING:
    from agy_actors._actors.actor_ref import AsyncioActorRef


class Keeper(PaceKeeper):
    """A keeper whose state the test can read."""

    def on_receive(self, message: Any) -> Any:
        return set(self._lanes) if message == "keys" else super().on_receive(message)


def keep(spacing: float = 0.0) -> tuple[PaceBoard, AsyncioActorRef]:
    board = PaceBoard(spacing)
    return board, Keeper.start(board, spacing, "root", EventHub())


def test_unrestricted_keys_are_forgotten_when_there_are_many() -> None:
    async def scenario(sim: Simulation) -> None:
        board, keeper = keep()
        board.refused("held", 1000.0)
        waiter = sim.client(board.wait_for_start, "waited for", 1000.0)
        board.refused("waited for", 500.0)
        board.refused("refused before", 1.0)
        await asyncio.sleep(100.0)

        for number in range(1000):
            await board.wait_for_start(f"free {number}", 10.0)
            keys = await keeper.ask("keys", block=False)
            assert {"held", "waited for", "refused before"} <= keys
            assert len(keys) <= 101

        await waiter
        assert sim.now == 500.0

    Simulation().run(scenario)


def test_a_key_is_not_forgotten_before_its_spacing_is_over() -> None:
    async def scenario(sim: Simulation) -> None:
        board, _ = keep(spacing=10.0)
        for number in range(150):
            await board.wait_for_start(f"key {number}", 100.0)
        assert sim.now == 0.0

        await board.wait_for_start("key 0", 100.0)
        assert sim.now == 10.0

    Simulation().run(scenario)


def test_turns_that_wait_for_a_key_start_one_after_another_in_their_order() -> None:
    async def scenario(sim: Simulation) -> None:
        board, keeper = keep(spacing=2.0)
        starts: list[tuple[int, float]] = []

        async def start(number: int) -> None:
            await board.wait_for_start("key", 100.0)
            starts.append((number, sim.now))

        waiters = [sim.client(start, number) for number in range(4)]
        await sim.client(board.wait_for_start, "another", 100.0)
        pace = await keeper.ask(GetPace(), block=False)
        assert pace["key"].waiting == 3
        assert pace["key"].spacing == 2.0
        for waiter in waiters:
            await waiter

        assert starts == [(0, 0.0), (1, 2.0), (2, 4.0), (3, 6.0)]

    Simulation().run(scenario)


def test_a_turn_that_cannot_wait_for_the_end_of_a_hold_is_refused_at_once() -> None:
    async def scenario(sim: Simulation) -> None:
        board, _ = keep()
        board.refused("key", 50.0)

        with pytest.raises(QuotaExceeded, match="used up for 50 s more") as raised:
            await board.wait_for_start("key", 49.0)
        assert raised.value.retry_after == 50.0
        assert sim.now == 0.0

        await board.wait_for_start("key", 51.0)
        assert sim.now == 50.0

    Simulation().run(scenario)


def test_a_key_is_free_again_when_the_service_has_answered() -> None:
    async def scenario(sim: Simulation) -> None:
        board, keeper = keep()
        board.refused("key", 5.0)
        await board.wait_for_start("key", 10.0)
        assert board.restricts("key")

        board.accepted("key")

        assert await keeper.ask(GetPace(), block=False) == {}
        assert not board.restricts("key")
        for _ in range(3):
            await board.wait_for_start("key", 10.0)
        assert sim.now == 5.0

    Simulation().run(scenario)
