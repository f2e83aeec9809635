"""What sessions do for the methods of their refs, in drawn schedules."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st

from agy_actors import (
    AgentDeadError,
    AgentStartError,
    Chat,
    DeadlockError,
    GetStatistics,
    MailboxFull,
    RetryPolicy,
    TurnInterrupted,
    TurnTimeout,
)
from agy_actors.testing import Deviations, Simulation, crash, reply, schedules
from tests.simulation.effort import times
from tests.simulation.shared_sessions import WatchedAgent, folder, program, prompts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import Sessions
    from agy_actors.testing import SimulatedTurn

SETTINGS = hypothesis.settings(
    max_examples=times(30),
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


@contextlib.contextmanager
def sessions_of(config: WatchedAgent, **options: Any) -> Iterator[Sessions]:
    """Start a program that has sessions."""
    with folder() as state_dir, program(state_dir) as supervisor:
        yield supervisor.create_sessions(config, "users", **options)


def slow(prompt: str) -> SimulatedTurn:
    """Take one second, or as many as the prompt says."""
    return reply(after=float(prompt) if prompt.isdigit() else 1.0)


# One client.

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "sleep", "wake", "delete", "wait"]),
        st.sampled_from("abc"),
    ),
    max_size=12,
)


@SETTINGS
@hypothesis.given(schedule=schedules(), operations=OPERATIONS, max_awake=st.integers(1, 3))
@hypothesis.example(Deviations([]), [("ask", "a"), ("delete", "a")], 1)
@hypothesis.example(
    Deviations([]), [("ask", "a"), ("sleep", "a"), ("ask", "b"), ("delete", "a")], 1
)
def test_sessions_are_listed_and_keep_their_conversation_until_they_are_deleted(
    schedule: Deviations, operations: list[tuple[str, str]], max_awake: int
) -> None:
    config = WatchedAgent()
    expected: dict[str, list[str]] = {}

    def scenario(sim: Simulation) -> None:
        with sessions_of(config, max_awake=max_awake, idle_timeout=5.0) as users:
            for number, (operation, key) in enumerate(operations):
                match operation:
                    case "ask":
                        users[key].ask(Chat(str(number)))
                        expected.setdefault(key, []).append(str(number))
                    case "sleep":
                        users.sleep(key)
                        assert config.openings.open.keys() <= {
                            info.conversation_id
                            for other in users
                            if other != key and (info := users.info(other)) is not None
                        }
                    case "wake":
                        users.wake(key)
                        expected.setdefault(key, [])
                    case "delete":
                        assert users.delete(key) == (key in expected)
                        expected.pop(key, None)
                    case _:
                        sim.sleep(6.0)
                        assert config.running == users.statistics().awake == 0
                check(users)

    def check(users: Sessions) -> None:
        assert list(users) == sorted(expected)
        assert len(users) == users.statistics().sessions == len(expected)
        assert users.statistics().awake <= max_awake
        for key in "abc":
            info = users.info(key)
            assert (key in users) == (info is not None) == (key in expected)
            if info is not None:
                assert info.key == key
                assert info.turns == len(expected[key])
                assert (info.usage.total_token_count or 0) == 10 * info.turns
                assert info.created <= info.last_used
                assert prompts_of(config, key) == expected[key]

    Simulation(schedule).run(scenario)

    assert config.openings.faults == []


@SETTINGS
@hypothesis.given(schedule=schedules(), capacity=st.integers(1, 4), max_awake=st.integers(1, 2))
def test_more_turns_than_the_capacity_get_mailbox_full_and_all_others_are_answered(
    schedule: Deviations, capacity: int, max_awake: int
) -> None:
    config = WatchedAgent(slow)

    def scenario(sim: Simulation) -> None:
        with sessions_of(config, max_awake=max_awake, capacity=capacity) as users:
            running = []
            for key in "abc"[:max_awake]:
                running.append(users[key].ask(Chat("9"), block=False))
                sim.sleep(0.2)
            waiting = [users["xyz"[n % 3]].ask(Chat("w"), block=False) for n in range(capacity)]
            for key in "ax":
                with pytest.raises(MailboxFull, match="capacity"):
                    users[key].ask(Chat("too many"))
            sim.sleep(1.0)
            assert users.statistics().waiting == capacity
            with pytest.raises(MailboxFull):
                users["a"].tell(Chat("too many"))
            assert [future.get().text for future in running] == ["9"] * max_awake
            assert [future.get().text for future in waiting] == ["w"] * capacity
            assert users["a"].ask(Chat("afterwards")).text == "afterwards"
        assert "too many" not in [request.prompt for request in config.requests]

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    seconds=st.sampled_from([1.0, 3.0, 30.0]),
    where=st.sampled_from(["all are busy", "elsewhere", "it starts", "same session"]),
)
@hypothesis.example(schedule=Deviations([]), seconds=1.0, where="all are busy")
@hypothesis.example(schedule=Deviations([]), seconds=1.0, where="elsewhere")
def test_a_turn_that_waits_for_its_session_ends_within_its_own_timeout(
    schedule: Deviations, seconds: float, where: str
) -> None:
    def play(prompt: str) -> SimulatedTurn:
        return reply(after=10.0 if prompt == "long" else 0.0)

    config = WatchedAgent(play, start=10.0 if where == "it starts" else 0.0)

    def scenario(sim: Simulation) -> None:
        with folder() as state_dir, program(state_dir) as one, program(state_dir) as two:
            users = one.create_sessions(config, "users", max_awake=1)
            others = two.create_sessions(config, "users", max_awake=1)
            long = None
            if where != "it starts":
                owner = others if where == "elsewhere" else users
                key = "a" if where == "all are busy" else "b"
                long = owner[key].ask(Chat("long"), block=False)
                sim.sleep(0.5)
            began = sim.now
            try:
                assert users["b"].ask(Chat("short", timeout=seconds)).text == "short"
                took = sim.now - began
                assert took <= 10.7
            except TurnTimeout:
                took = sim.now - began
                assert seconds <= took <= seconds + 0.2
                assert seconds < 10.0
                # A session that is awake counts the time of a turn from its start.
                assert where != "same session"
            if long is not None:
                assert long.get().text == "long"
            assert users["b"].ask(Chat("again")).text == "again"

    Simulation(schedule).run(scenario)


# Asks from inside a turn.


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    max_awake=st.integers(1, 3),
    other=st.sampled_from(["itself", "another", "through another"]),
    asleep=st.booleans(),
)
def test_an_ask_from_a_tool_works_unless_it_needs_a_session_that_waits_for_it(
    schedule: Deviations, max_awake: int, other: str, *, asleep: bool
) -> None:
    found: list[str] = []
    refs: list[Sessions] = []
    clock: list[Simulation] = []
    calls = {
        "itself": ("a", "nested"),
        "another": ("b", "nested"),
        "through another": ("b", "more"),
    }

    def consult(key: str, prompt: str) -> None:
        try:
            found.append(refs[0][key].ask(Chat(prompt)).text)
        except DeadlockError:
            found.append("deadlock")
        found.append(str(clock[0].now))

    def play(prompt: str) -> SimulatedTurn:
        if prompt == "go":
            key, nested = calls[other]
            return reply("done").calling("consult", key=key, prompt=nested)
        return reply().calling("consult", key="a", prompt="nested") if prompt == "more" else reply()

    config = WatchedAgent(play, tools=[consult])

    def scenario(sim: Simulation) -> None:
        found.clear()
        clock[:] = [sim]
        with sessions_of(config, max_awake=max_awake) as users:
            refs[:] = [users]
            if not asleep:
                users.wake("b")
            assert users["a"].ask(Chat("go")).text == "done"
            assert sim.now == 0.0
            assert users["a"].ask(Chat("afterwards")).text == "afterwards"

    Simulation(schedule).run(scenario)

    if other == "itself" or max_awake == 1:
        assert found == ["deadlock", "0.0"]
    elif other == "another":
        assert found == ["nested", "0.0"]
    else:
        assert found == ["deadlock", "0.0", "more", "0.0"]


# Failures.


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    crashes=st.integers(1, 3),
    max_restarts=st.integers(0, 1),
    prompts=st.integers(1, 4),
)
def test_a_session_whose_agent_fails_affects_no_other(
    schedule: Deviations, crashes: int, max_restarts: int, prompts: int
) -> None:
    left = [crashes]

    def play(prompt: str) -> SimulatedTurn:
        if prompt == "bad" and left[0] > 0:
            left[0] -= 1
            return crash(after=0.5)
        return reply(after=0.5)

    config = WatchedAgent(play)

    def scenario(sim: Simulation) -> None:
        del sim
        with sessions_of(
            config, max_awake=2, max_restarts=max_restarts, retry=RetryPolicy(attempts=1)
        ) as users:
            bad = [users["bad"].ask(Chat("bad"), block=False) for _ in range(crashes)]
            for number in range(prompts):
                answer = users["good"].ask(Chat(str(number)))
                assert answer.text == str(number)
                assert answer.attempts == 1
            for future in bad:
                with contextlib.suppress(TurnInterrupted, AgentDeadError):
                    future.get()
            assert users["good"].ask(GetStatistics()).restarts == 0
            left[0] = 0
            assert users["bad"].ask(Chat("well")).text == "well"
            assert prompts_of(config, "good") == [str(number) for number in range(prompts)]

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(schedule=schedules(), failures=st.integers(1, 3), by=st.booleans())
def test_a_session_that_cannot_start_answers_its_turns_with_the_error_and_can_start_later(
    schedule: Deviations, failures: int, *, by: bool
) -> None:
    config = WatchedAgent()
    fails = [failures if by else 0]
    errors: list[str] = []

    def make(key: str) -> WatchedAgent:
        if key == "bad" and fails[0] > 0:
            fails[0] -= 1
            raise ValueError("no such user")
        return config

    def scenario(sim: Simulation) -> None:
        with folder() as state_dir, program(state_dir) as supervisor:
            users = supervisor.create_sessions(make, "users", max_awake=1)
            users["good"].ask(Chat("first"))
            if not by:
                config.fail_starts(failures)
            asked = [users["bad"].ask(Chat(str(n)), block=False) for n in range(2)]
            for future in asked:
                try:
                    assert future.get().text in "01"
                except AgentStartError as error:
                    errors.append(str(error))
            for _ in range(failures):
                with contextlib.suppress(AgentStartError):
                    users["bad"].ask(Chat("again"))
                sim.sleep(10.0)
            assert users["bad"].ask(Chat("well")).text == "well"
            assert users["good"].ask(Chat("well")).text == "well"

    Simulation(schedule).run(scenario)

    assert len(errors) in (1, 2)
    assert all("session 'bad'" in error or "agent 'bad'" in error for error in errors)
    assert not by or all("no such user" in error for error in errors)


# The end.


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    how=st.sampled_from(["stop", "drain", "supervisor", "all drained"]),
    when=st.sampled_from([0.0, 0.5, 1.5]),
    max_awake=st.integers(1, 2),
)
def test_a_drain_answers_the_waiting_turns_and_a_stop_answers_them_with_an_error(
    schedule: Deviations, how: str, when: float, max_awake: int
) -> None:
    config = WatchedAgent(slow)

    def scenario(sim: Simulation) -> None:
        with folder() as state_dir, program(state_dir) as supervisor:
            users = supervisor.create_sessions(config, "users", max_awake=max_awake)
            asked = [users["abc"[n % 3]].ask(Chat(f"p{n}"), block=False) for n in range(4)]
            sim.sleep(when)
            ends: dict[str, Any] = {
                "stop": users.stop,
                "drain": lambda: users.shutdown(drain=True),
                "supervisor": supervisor.stop,
                "all drained": lambda: supervisor.shutdown(drain=True),
            }
            ending = sim.client(ends[how])
            outcomes = []
            for number, future in enumerate(asked):
                try:
                    assert future.get().text == f"p{number}"
                    outcomes.append(True)
                except AgentDeadError:
                    outcomes.append(False)
            ending.result()
            assert not users.is_alive()
            with pytest.raises(AgentDeadError):
                users["a"].ask(Chat("late"))
            with pytest.raises(AgentDeadError):
                len(users)
            assert all(outcomes) or "drain" not in how
            assert not all(outcomes) or "drain" in how
            assert config.running == 0
            assert not list(state_dir.rglob("*.lock"))

    Simulation(schedule).run(scenario)

    assert config.openings.faults == []
