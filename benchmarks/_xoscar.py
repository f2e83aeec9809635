"""xoscar's actors: on one asyncio loop, in this process."""

from __future__ import annotations

import asyncio
import importlib
import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["NAME", "NOTE", "PACKAGE", "measure"]

NAME = PACKAGE = "xoscar"
NOTE = (
    "xoscar: actors and caller are on one asyncio loop, as it is made for; so it crosses no"
    " thread, an ask is awaited, and 8 threads cannot tell"
)


def measure(asks: int, actors: int, spawns: int) -> dict[str, float]:
    """Measure all that it can do; seconds for each operation."""
    return asyncio.run(_measure(asks, actors, spawns))


async def _measure(asks: int, actors: int, spawns: int) -> dict[str, float]:
    xoscar: Any = importlib.import_module("xoscar")  # It may be missing.

    class Echo(xoscar.Actor):  # type: ignore[misc] # It has no types.
        def echo(self, message: Any) -> Any:
            return message

    pool = await xoscar.create_actor_pool("127.0.0.1:0", n_process=0)
    async with pool:

        async def start(number: int) -> Any:
            return await xoscar.create_actor(Echo, address=pool.external_address, uid=str(number))

        refs = [await start(number) for number in range(actors)]
        echo = refs[0].echo
        quantiles = statistics.quantiles([await _time(echo) for _ in range(asks)], n=100)
        pipelined = await _time(lambda _: asyncio.gather(*map(echo, range(asks))))

        async def tell_all(_: Any) -> None:
            for number in range(asks):
                await echo.tell(number)
            await echo("last")

        async def spawn_and_stop(_: Any) -> None:
            for number in range(spawns):
                await xoscar.destroy_actor(await start(actors + number))

        return {
            "ask, p50": quantiles[49],
            "ask, p99": quantiles[98],
            "ask, pipelined": pipelined / asks,
            "tell, 1 thread": await _time(tell_all) / asks,
            f"ask {actors} actors at once": await _time(
                lambda message: asyncio.gather(*(ref.echo(message) for ref in refs))
            ),
            "spawn and stop": await _time(spawn_and_stop) / spawns,
        }


async def _time(work: Callable[[int], Awaitable[Any]]) -> float:
    started = time.perf_counter()
    await work(0)
    return time.perf_counter() - started
