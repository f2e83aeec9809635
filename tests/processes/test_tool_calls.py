"""Tool calls, each in its own task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agy_actors._sdk.tool_calls import ToolCalls

if TYPE_CHECKING:
    from agy_actors._sdk.call_outcomes import Outcome


class Work:
    """A tool that waits until it is cancelled, and then cleans up."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancellations = 0
        self.clean_up = asyncio.Event()

    async def __call__(self) -> str:
        self.begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.cancellations += 1
            try:
                await self.clean_up.wait()
            except asyncio.CancelledError:
                self.cancellations += 1
                raise
        return "never"


async def _begin(calls: ToolCalls, work: Work) -> asyncio.Task[Outcome]:
    task = asyncio.create_task(calls.call("work", work))
    await work.begun.wait()
    return task


def test_a_call_returns_its_outcome() -> None:
    async def main() -> None:
        calls = ToolCalls()

        async def work() -> str:
            return "done"

        assert (await calls.call("work", work)).value == "done"
        await calls.finish()

    asyncio.run(main())


def test_all_calls_of_a_turn_are_cancelled_when_it_ends() -> None:
    async def main() -> None:
        calls, first, second = ToolCalls(), Work(), Work()
        tasks = [await _begin(calls, work) for work in (first, second)]

        calls.end_turn()

        for task in tasks:
            with pytest.raises(asyncio.CancelledError):
                await task
        assert [first.cancellations, second.cancellations] == [1, 1]
        first.clean_up.set()
        second.clean_up.set()
        await calls.finish()

    asyncio.run(main())


def test_a_call_is_cancelled_once_so_that_it_can_clean_up() -> None:
    async def main() -> None:
        calls, work = ToolCalls(), Work()
        task = await _begin(calls, work)
        calls.end_turn()
        finishing = asyncio.create_task(calls.finish())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        work.clean_up.set()
        await finishing

        assert work.cancellations == 1

    asyncio.run(main())


def test_no_call_begins_after_the_end_of_its_turn_and_before_the_next() -> None:
    async def main() -> None:
        calls, work = ToolCalls(), Work()
        calls.end_turn()

        with pytest.raises(asyncio.CancelledError):
            await calls.call("work", work)
        calls.begin_turn()
        task = await _begin(calls, work)

        assert not task.done()
        work.clean_up.set()
        await calls.finish()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_calls_begin_after_a_turn_that_came_to_its_end_by_itself() -> None:
    async def main() -> None:
        calls = ToolCalls()

        async def work() -> str:
            return "done"

        await calls.finish()

        # Of a turn that the harness begins itself.
        assert (await calls.call("work", work)).value == "done"

    asyncio.run(main())


def test_the_cancellation_of_its_caller_cancels_a_call_and_does_not_wait_for_it() -> None:
    async def main() -> None:
        calls, work = ToolCalls(), Work()
        task = await _begin(calls, work)

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert work.cancellations == 1
        work.clean_up.set()
        await calls.finish()

    asyncio.run(main())
