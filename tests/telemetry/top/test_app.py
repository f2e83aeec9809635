"""The application, in textual's own test mode."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors.telemetry.top.app import TopApp
from agy_actors.telemetry.top.poller import Poller
from agy_actors.telemetry.top.source import Action
from tests.telemetry.top.snapshots import ROOT, TREE, FakeSource, event, node, snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.pilot import Pilot

PATIENCE = 10.0


class Screen:
    """An application that runs in the test."""

    def __init__(self, app: TopApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def lines(self) -> list[str]:
        return self.app.screen_text().splitlines()

    async def shows(self, text: str, *, not_any_more: bool = False) -> None:
        """Wait until the screen shows a text."""
        deadline = time.monotonic() + PATIENCE
        while any(text in line for line in self.lines) == not_any_more:
            assert time.monotonic() < deadline, "\n".join([f"no {text!r}:", *self.lines])
            await asyncio.sleep(0.01)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


@asynccontextmanager
async def running(source: FakeSource, width: int = 80, height: int = 24) -> AsyncIterator[Screen]:
    app = TopApp(source, "shop")
    async with app.run_test(size=(width, height)) as pilot:
        screen = Screen(app, pilot)
        yield screen


def run(test: Any) -> None:
    asyncio.run(test)


def selected_name(screen: Screen) -> str:
    line = next(line for line in screen.lines if line.startswith(">"))
    return line[1:].replace("-", " ").replace("+", " ").split()[0]


def test_keys_move_the_selection() -> None:
    async def test() -> None:
        async with running(FakeSource(snapshot(*TREE))) as screen:
            await screen.shows("north")
            seen = [selected_name(screen)]
            for key in ("down", "j", "down", "up", "end", "home", "pagedown", "k"):
                await screen.press(key)
                seen.append(selected_name(screen))
            assert seen == [
                *("root", "north", "team", "east", "team"),
                *("south", "root", "south", "clock"),
            ]

    run(test())


def test_keys_collapse_and_expand() -> None:
    async def test() -> None:
        async with running(FakeSource(snapshot(*TREE))) as screen:
            await screen.shows("east")
            await screen.press("down", "down", "left")
            await screen.shows("east", not_any_more=True)
            await screen.press("right")
            await screen.shows("east")
            await screen.press("space")
            await screen.shows("east", not_any_more=True)
            await screen.press("enter")
            await screen.shows("east")
            await screen.press("down", "left")
            assert selected_name(screen) == "team"

    run(test())


def test_keys_cancel_and_restart_the_selected_agent() -> None:
    async def test() -> None:
        source = FakeSource(snapshot(*TREE))
        async with running(source) as screen:
            await screen.shows("north")
            await screen.press("down", "c")
            await screen.shows("did cancel")
            await screen.press("r")
            await screen.shows("did restart")
        assert source.actions == [
            (Action.CANCEL, "root/north"),
            (Action.RESTART, "root/north"),
        ]

    run(test())


@pytest.mark.parametrize("key", ["n", "enter", "escape", "s"])
def test_nothing_is_shut_down_without_a_yes(key: str) -> None:
    async def test() -> None:
        source = FakeSource(snapshot(*TREE))
        async with running(source) as screen:
            await screen.shows("north")
            await screen.press("s")
            await screen.shows("Shut down supervisor 'root'? y/n")
            await screen.press(key)
            await screen.shows("nothing is shut down")
        assert source.actions == []

    run(test())


def test_a_yes_shuts_down_what_was_selected_when_it_was_asked() -> None:
    async def test() -> None:
        source = FakeSource(snapshot(*TREE))
        async with running(source) as screen:
            await screen.shows("north")
            await screen.press("down", "s")
            source.current = snapshot(ROOT, node("root/new"))  # Another row is there now.
            await screen.shows("new")
            await screen.press("y")
            await screen.shows("did shut_down")
        assert source.actions == [(Action.SHUT_DOWN, "root/north")]

    run(test())


def test_a_program_that_does_not_answer_is_shown_with_its_last_values() -> None:
    async def test() -> None:
        source = FakeSource(snapshot(*TREE))
        async with running(source) as screen:
            await screen.shows("north")
            source.current = None
            await screen.shows("no answer from the program; trying again")
            assert any("north" in line for line in screen.lines)
            source.current = snapshot(ROOT, node("root/back"))
            await screen.shows("back")
            await screen.shows("trying again", not_any_more=True)

    run(test())


def test_events_are_logged_once_and_those_of_a_program_that_was_started_again_follow() -> None:
    async def test() -> None:
        source = FakeSource(snapshot(*TREE, events=(event(1, "one"), event(2, "two"))))
        async with running(source) as screen:
            await screen.shows("north: two")
            source.current = snapshot(
                *TREE, events=(event(1, "one"), event(2, "two"), event(3, "3rd"))
            )
            await screen.shows("north: 3rd")
            assert sum("north: " in line for line in screen.lines) == 3

            source.current = snapshot(*TREE, events=(event(1, "again"),))
            await screen.shows("north: one", not_any_more=True)

    run(test())


def test_the_help_closes_with_any_key_and_q_leaves() -> None:
    async def test() -> None:
        async with running(FakeSource(snapshot(*TREE))) as screen:
            await screen.shows("north")
            await screen.press("?")
            await screen.shows("Any key closes this help")
            await screen.press("x")
            await screen.shows("north")
            await screen.press("q")
            assert screen.app.return_code == 0

    run(test())


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 4), (5, 2), (1, 1)])
def test_no_size_is_too_small(size: tuple[int, int]) -> None:
    async def test() -> None:
        async with running(FakeSource(snapshot(*TREE, events=(event(1),))), *size) as screen:
            await screen.press("down", "s", "n", "?", "x")
            assert len(screen.lines) <= size[1]

    run(test())


def test_the_screen_follows_the_size_of_the_terminal() -> None:
    async def test() -> None:
        async with running(FakeSource(snapshot(*TREE))) as screen:
            await screen.shows("restarts")
            await screen.pilot.resize_terminal(40, 10)
            await screen.shows("restarts", not_any_more=True)
            assert len(screen.lines) == 10

    run(test())


def test_a_supervisor_that_has_ended_is_said_so() -> None:
    async def test() -> None:
        source = FakeSource(snapshot(*TREE))
        async with running(source) as screen:
            await screen.shows("north")
            source.current = snapshot(ended=True)
            await screen.shows("the supervisor has ended")
            await screen.press("c", "r", "s", "down")
        assert source.actions == []

    run(test())


def test_a_source_that_hangs_does_not_block_the_keys() -> None:
    async def test() -> None:
        source = FakeSource(snapshot(*TREE))
        async with running(source) as screen:
            await screen.shows("north")
            release = asyncio.Event()
            loop = asyncio.get_running_loop()

            def hang(_: int) -> Any:
                asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
                return snapshot(*TREE, at=99.0)

            source.read = hang  # type: ignore[assignment]
            reads = source.reads
            await screen.press("down")
            assert selected_name(screen) == "north"
            assert source.reads <= reads + 1
            release.set()

    run(test())


def test_a_source_is_read_ten_times_in_a_second_at_most() -> None:
    source = FakeSource(snapshot(*TREE))
    times: list[float] = []
    poller = Poller(source, lambda _: None)
    real = source.read

    def read(since: int) -> Any:
        times.append(time.monotonic())
        poller.act(Action.CANCEL, "x")  # Each action is followed by a read.
        return real(since)

    source.read = read  # type: ignore[method-assign]
    poller.start()
    deadline = time.monotonic() + PATIENCE
    while len(times) < 6:
        assert time.monotonic() < deadline
        source.acted.wait(PATIENCE)
    poller.close()

    assert min(after - before for before, after in itertools.pairwise(times)) >= 0.099
