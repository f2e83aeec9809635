"""Sessions of two programs that share a folder: deletes, ends of programs, requests for nothing."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st

from agy_actors import (
    AgentDeadError,
    Chat,
    GetStatistics,
    SessionHandedOver,
    TurnError,
    TurnTimeout,
)
from agy_actors.testing import Deviations, Simulation, crash, reply, schedules
from tests.simulation.effort import times
from tests.simulation.shared_sessions import WatchedAgent, folder, program, prompts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import Event, Sessions, SupervisorRef
    from agy_actors.testing import SimulatedTurn

SETTINGS = hypothesis.settings(
    max_examples=times(30),
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


@contextlib.contextmanager
def two_programs(
    config: WatchedAgent, **options: Any
) -> Iterator[tuple[list[SupervisorRef], list[Sessions]]]:
    """Start two programs that share sessions."""
    with folder() as state_dir, _start(state_dir) as one, _start(state_dir) as two:
        yield (
            [one, two],
            [
                supervisor.create_sessions(config.in_program(number), "users", **options)
                for number, supervisor in enumerate((one, two))
            ],
        )


def _start(state_dir: Path) -> SupervisorRef:
    return program(state_dir)


def slow(prompt: str) -> SimulatedTurn:
    return reply(after=float(prompt) if prompt.isdigit() else 1.0)


@SETTINGS
@hypothesis.given(schedule=schedules(), prompts=st.integers(1, 4), stop=st.sampled_from([0.0, 0.4]))
def test_a_conversation_goes_back_and_forth_with_its_whole_history(
    schedule: Deviations, prompts: int, stop: float
) -> None:
    config = WatchedAgent(slow, stop=stop)
    events: list[Event] = []

    def scenario(sim: Simulation) -> None:
        with two_programs(config) as (supervisors, sessions):
            for supervisor in supervisors:
                supervisor.subscribe(events.append)
            for number in range(prompts):
                began = sim.now
                assert sessions[number % 2]["a"].ask(Chat(f"p{number}")).text == f"p{number}"
                assert sim.now - began <= 1.0 + 0.2 + stop
            info = sessions[0].info("a")
            assert info is not None
        assert prompts_of(config, "a") == [f"p{number}" for number in range(prompts)]

    Simulation(schedule).run(scenario)

    assert config.openings.faults == []
    moves = [event.key for event in events if isinstance(event, SessionHandedOver)]
    assert moves == ["a"] * (prompts - 1)


@SETTINGS
@hypothesis.given(schedule=schedules(), prompts=st.integers(1, 4), others=st.integers(0, 2))
def test_two_programs_that_always_ask_the_same_session_take_turns(
    schedule: Deviations, prompts: int, others: int
) -> None:
    config = WatchedAgent(slow)

    def scenario(sim: Simulation) -> None:
        with two_programs(config, max_awake=1) as (_, sessions):
            done: list[float] = []

            def client(number: int, key: str) -> None:
                users = sessions[number]
                asked = [users[key].ask(Chat(f"{number} {n}"), block=False) for n in range(prompts)]
                for n, future in enumerate(asked):
                    assert future.get().text == f"{number} {n}"
                done.append(sim.now)

            clients = [sim.client(client, number, "a") for number in range(2)]
            clients += [sim.client(client, number, "b") for number in range(others)]
            for running in clients:
                running.result()
            # A handover takes at most 0.7 s: two looks, and the pause for the other program.
            assert max(done) <= (2 + others) * prompts * (1.0 + 0.8) + 1.0

    Simulation(schedule).run(scenario)

    assert config.openings.faults == []
    programs = [prompt[0] for prompt in prompts_of(config, "a")]
    assert sorted(programs) == ["0"] * prompts + ["1"] * prompts
    runs = [len(list(run)) for _, run in itertools.groupby(programs)]
    if others == 0:  # Otherwise, a program may be busy with the other session.
        assert max(runs[:-1]) <= 2  # The first run may begin before the first look.


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    deletes=st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.5, 1.5])), max_size=3),
    prompts=st.integers(1, 3),
)
def test_a_deleted_session_begins_again_and_no_turn_is_lost_silently(
    schedule: Deviations, deletes: list[tuple[int, float]], prompts: int
) -> None:
    config = WatchedAgent(slow)

    def scenario(sim: Simulation) -> None:
        with two_programs(config) as (_, sessions):
            counts = [0, 0]

            def client(number: int) -> None:
                for index in range(prompts):
                    try:
                        prompt = f"{number}/{index}"
                        assert sessions[number]["a"].ask(Chat(prompt)).text == prompt
                    except (AgentDeadError, TurnError):
                        assert deletes
                    counts[number] += 1

            def delete(number: int, when: float) -> None:
                sim.sleep(when)
                sessions[number].delete("a")

            running = [sim.client(client, number) for number in range(2)]
            running += [sim.client(delete, *when) for when in deletes]
            for one in running:
                one.result()
            assert counts == [prompts, prompts]
            present = list(sessions[1])

            assert sessions[0].delete("a") == ("a" in present)
            for users in sessions:
                assert "a" not in users
                assert len(users) == 0
                assert users.info("a") is None
            assert sessions[1]["a"].ask(Chat("new")).text == "new"
            assert prompts_of(config, "a") == ["new"]
            assert [users.statistics().elsewhere for users in sessions] == [0, 0]

    Simulation(schedule).run(scenario)

    assert config.openings.faults == []


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    when=st.sampled_from([0.0, 0.5, 1.0, 1.5]),
    drain=st.booleans(),
    prompts=st.integers(1, 3),
)
def test_the_other_program_continues_when_one_ends(
    schedule: Deviations, when: float, prompts: int, *, drain: bool
) -> None:
    config = WatchedAgent(slow, stop=0.2)

    def scenario(sim: Simulation) -> None:
        with two_programs(config) as (supervisors, sessions):
            ended = [sessions[0]["a"].ask(Chat(f"0/{n}"), block=False) for n in range(prompts)]
            stays = [sessions[1]["a"].ask(Chat(f"1/{n}"), block=False) for n in range(prompts)]
            sim.sleep(when)
            supervisors[0].shutdown(drain=drain)
            for number, future in enumerate(ended):
                try:
                    assert future.get().text == f"0/{number}"
                except AgentDeadError:
                    assert not drain
            assert [future.get().text for future in stays] == [f"1/{n}" for n in range(prompts)]
            assert sim.now < 4 * prompts + 4.0
            assert sessions[1]["a"].ask(Chat("0")).text == "0"
            assert config.running == 1

    Simulation(schedule).run(scenario)

    assert config.openings.faults == []


@SETTINGS
@hypothesis.given(
    schedule=schedules(), how=st.sampled_from(["times out", "cancelled", "wake times out"])
)
def test_a_conversation_is_not_taken_from_its_program_for_nothing(
    schedule: Deviations, how: str
) -> None:
    config = WatchedAgent(slow)

    def scenario(sim: Simulation) -> None:
        with two_programs(config) as (_, sessions):
            owner, other = sessions
            long = owner["a"].ask(Chat("5"), block=False)
            sim.sleep(1.0)
            match how:
                case "times out":
                    with pytest.raises(TurnTimeout):
                        other["a"].ask(Chat("short", timeout=1.0))
                case "cancelled":
                    future = other["a"].ask(Chat("short"), block=False)
                    sim.sleep(1.0)
                    future.cancel()
                case _:
                    with pytest.raises(TurnTimeout):
                        other.wake("a", timeout=1.0)
            sim.sleep(0.5)
            assert other.statistics().elsewhere == 0
            assert long.get().text == "5"
            # It has asked once, so the owner may close it; then nobody opens it.
            sim.sleep(2.0)
            assert config.running <= 1
            assert owner["a"].ask(Chat("1")).text == "1"
            assert prompts_of(config, "a") == ["5", "1"]

    Simulation(schedule).run(scenario)

    assert config.openings.faults == []


@SETTINGS
@hypothesis.given(schedule=schedules(), crashes=st.integers(1, 2), where=st.integers(0, 1))
def test_a_crash_in_one_program_does_not_stop_a_handover(
    schedule: Deviations, crashes: int, where: int
) -> None:
    left = [crashes]

    def play(prompt: str) -> SimulatedTurn:
        if prompt == f"from {where}" and left[0] > 0:
            left[0] -= 1
            return crash(after=0.5)
        return reply(after=1.0)

    config = WatchedAgent(play)

    def scenario(sim: Simulation) -> None:
        with two_programs(config) as (_, sessions):
            asked = [sessions[n]["a"].ask(Chat(f"from {n}"), block=False) for n in range(2)]
            for number, future in enumerate(asked):
                try:
                    assert future.get().text == f"from {number}"
                except TurnError:
                    assert number == where
                    assert crashes > 1
            assert sim.now < 20.0
            assert sessions[0]["b"].ask(GetStatistics()).restarts == 0

    Simulation(schedule).run(scenario)

    assert config.openings.faults == []
