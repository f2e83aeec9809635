"""Traces are short, and use names that users know."""

from __future__ import annotations

import asyncio
import functools
import re
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import tenacity
from hypothesis import strategies as st

from agy_actors import ActorDeadError, AsyncioActor, Backoff, Chat, Supervisor
from agy_actors.testing import (
    SimulatedAgent,
    Simulation,
    SimulationLeak,
    SimulationLivelock,
    reply,
)
from agy_actors.testing.simulation.descriptions import describe, is_internal, name_of
from agy_actors.testing.simulation.repetitions import blocks, group_similar

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AsyncioActorRef, ReplyFuture

INTERNALS = re.compile(
    r"lambda>|<locals>|_handle_async|_drain|_live\b|_set_result|_play|object at|\b_\w+"
)
"""Private names of agy_actors or asyncio, which users need not know."""


class Ping(AsyncioActor):
    """Forwards each message plus one, forever."""

    other: Any = None

    def on_receive(self, message: Any) -> None:
        if self.other is not None:
            self.other.tell(message + 1)


def play_ping_pong(sim: Simulation) -> None:
    first, second = Ping.start(), Ping.start()
    first.proxy().other = second
    second.proxy().other = first
    first.tell(0)
    sim.sleep(10)


def spin_beside_a_pool(sim: Simulation) -> None:
    with Supervisor.start(name="root") as supervisor:
        config = SimulatedAgent(lambda _: reply(after=5.0))
        pool = supervisor.create_pool(config, 40, "pool")
        asks = [pool.ask(Chat(f"hello {number}"), block=False) for number in range(60)]

        async def spin() -> None:
            while True:  # noqa: ASYNC110 (it is the point)
                await asyncio.sleep(0)

        sim.client(spin)
        for ask in asks:
            ask.get()


def ask_for_ever(sim: Simulation) -> None:
    # Without hang checks, whose period has no short common multiple with that of the turns.
    with Supervisor.start(name="root", hang_timeout=None, max_running_turns=4) as supervisor:
        poet = supervisor.create_agent(SimulatedAgent(lambda _: reply(after=5.0)), name="poet")

        async def ask() -> None:
            while True:
                await poet.ask(Chat("again"), block=False)

        sim.client(ask)
        sim.sleep(1e9)


@pytest.mark.parametrize(
    ("scenario", "limits", "repeats"),
    [
        (play_ping_pong, {"max_steps": 5000}, "puts 1 for Ping"),
        (spin_beside_a_pool, {"max_steps": 20_000}, "runs spin_beside_a_pool.spin"),
        (ask_for_ever, {"max_time": 2000.0}, "handles Chat(prompt='again'"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_simulation_without_an_end_shows_repetitions_and_their_number(
    scenario: Callable[[Simulation], None], limits: dict[str, Any], repeats: str
) -> None:
    with pytest.raises(SimulationLivelock) as raised:
        Simulation(**limits).run(scenario)

    shown = "\n".join([str(raised.value), *raised.value.__notes__])
    assert len(shown.splitlines()) < 150
    assert repeats in shown
    assert re.search(r"\.\.\. similar, th\w+ .*\d{2,} times more, until \d+\.\d{3}", shown)
    assert INTERNALS.findall(shown.partition("replay it with")[0]) == []


def test_many_similar_waits_are_counted() -> None:
    with pytest.raises(SimulationLivelock) as raised:
        Simulation(max_steps=20_000).run(spin_beside_a_pool)

    lines = str(raised.value).splitlines()
    assert len(lines) < 12
    assert lines[1].startswith("  main waits for the reply to Chat(prompt='hello 0'")
    assert "  (37 more like the last)" in lines
    assert re.search(r"spin waits in spin_beside_a_pool\.spin, line \d+", lines[-1])


def test_supervised_actors_are_ended_with_a_simulation_that_failed() -> None:
    refs: list[AsyncioActorRef] = []
    asked: list[ReplyFuture[Any]] = []

    class Failing(AsyncioActor):
        def on_receive(self, message: object) -> None:
            raise ValueError(message)

    def scenario(sim: Simulation) -> None:
        in_an_hour = Backoff(wait=tenacity.wait_fixed(3600.0))
        supervisor = Supervisor.start(backoff=in_an_hour, max_restarts=3)
        refs.extend(supervisor.create_actor(Failing) for _ in range(2))
        refs[0].tell("fail")
        sim.sleep(1.0)
        asked.append(refs[0].ask("waits for the restart", block=False))
        raise LookupError

    with pytest.raises(LookupError):
        Simulation().run(scenario)

    assert [ref.is_alive() for ref in refs] == [False, False]
    with pytest.raises(ActorDeadError):
        asked[0].get(timeout=0)


def test_many_asks_without_a_reply_are_counted() -> None:
    futures: list[ReplyFuture[Any]] = []

    class Forgetful(AsyncioActor):
        def on_start(self) -> None:
            handle = self._messages._handle
            forgetful: Any = self._messages
            forgetful._handle = lambda envelope: (
                None if isinstance(envelope.message, str) else handle(envelope)
            )

    def scenario(_: Simulation) -> None:
        ref = Forgetful.start()
        futures.extend(ref.ask(f"question {number}", block=False) for number in range(100))
        ref.stop()

    with pytest.raises(SimulationLeak) as raised:
        Simulation().run(scenario)

    for future in futures:
        future.cancel()
    lines = str(raised.value).splitlines()
    assert len(lines) == 1 + 3 + 1
    assert lines[1] == "  the reply to question 0 by Forgetful-1"
    assert lines[4] == "  (97 more like the last)"


def test_the_trace_of_a_failure_shortens_only_identical_lines() -> None:
    def scenario(sim: Simulation) -> None:
        for number in range(20):
            sim.note(f"round {number}")
        for _ in range(20):
            sim.note("the same")
        raise LookupError

    with pytest.raises(LookupError) as raised:
        Simulation().run(scenario)

    (note,) = raised.value.__notes__
    assert [f"round {number}" in note for number in range(20)] == [True] * 20
    assert note.count("the same") == 1
    assert "... this 19 times more, until 0.000" in note


def test_code_is_shown_by_its_qualified_name() -> None:
    def function() -> None:
        pass

    async def coroutine() -> None:
        pass

    here = "test_code_is_shown_by_its_qualified_name"
    assert name_of(function) == f"{here}.function"
    assert name_of(functools.partial(functools.partial(function))) == f"{here}.function"
    assert name_of(lambda: None) == f"a lambda of {here}"
    running = coroutine()
    assert name_of(running) == f"{here}.coroutine"
    assert not is_internal(running)
    running.close()
    assert not is_internal(function)
    assert not is_internal([].append)
    assert is_internal(asyncio.sleep)
    assert is_internal(Supervisor.start)


def test_messages_are_shown_without_addresses() -> None:
    class Plain:
        pass

    assert describe(Plain()) == "Plain"
    assert describe([Plain(), "text"]) == "[Plain, 'text']"


# Repetitions.


@pytest.mark.parametrize(
    ("lines", "shortened"),
    [
        ("", []),
        ("abc", [("abc", 1)]),
        ("aaa", [("aaa", 1)]),
        ("aaaa", [("a", 4)]),
        ("abab", [("abab", 1)]),
        ("ababab", [("ab", 3)]),
        ("xababababay", [("x", 1), ("ab", 4), ("ay", 1)]),
        ("abcabdabcabdabcabd", [("abcabd", 3)]),
        ("aaaabbbb", [("a", 4), ("b", 4)]),
    ],
)
def test_blocks_that_repeat_are_found(lines: str, shortened: list[tuple[str, int]]) -> None:
    found = [(lines[b.start : b.start + b.length], b.times) for b in blocks(lines)]

    assert found == shortened


@hypothesis.given(st.text("abc", max_size=60))
def test_no_line_is_lost_among_blocks(lines: str) -> None:
    again = "".join(lines[b.start : b.start + b.length] * b.times for b in blocks(lines))

    assert again == lines


def test_few_similar_lines_are_all_shown() -> None:
    lines = [f"agent {number} waits" for number in range(4)]

    assert group_similar(lines) == lines
