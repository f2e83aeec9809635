"""The guarantees of pools when members fail and when pools end, in drawn schedules."""

from __future__ import annotations

import concurrent.futures
import contextlib
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import tenacity
from hypothesis import strategies as st

from agy_actors import (
    AgentDeadError,
    AgentStartError,
    Backoff,
    Chat,
    DeadLetter,
    Disconnect,
    Routing,
    Send,
    Supervisor,
    TurnError,
)
from agy_actors._agents.open_files import OpenFiles
from agy_actors.testing import Deviations, SimulatedAgent, Simulation, crash, reply, schedules
from tests.simulation.effort import times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import Event, PoolRef, SupervisorRef

SETTINGS = hypothesis.settings(
    max_examples=times(40),
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
PLAIN = Backoff(wait=tenacity.wait_fixed(1.0), reset_after=30.0)
SINGLE = [Routing.SHORTEST_QUEUE, Routing.ROUND_ROBIN, Routing.RANDOM, Routing.CONSISTENT_HASH]


def supervise(**options: Any) -> SupervisorRef:
    return Supervisor.start(name="root", **{"backoff": PLAIN, "max_restarts": 50, **options})


def key_of(pool: PoolRef, key: str) -> str | None:
    return key if pool.routing is Routing.CONSISTENT_HASH else None


def is_whole(pool: PoolRef, config: SimulatedAgent, size: int) -> bool:
    statistics = pool.statistics()
    return len(pool.members()) == statistics.size == config.running == size


# Ends.


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    size=st.integers(1, 3),
    when=st.sampled_from([0.0, 0.5, 1.0]),
    how=st.sampled_from(["stop", "drain", "shutdown", "drained", "supervisor", "all drained"]),
    then=st.sampled_from(["nothing", "cancel", "member ends", "another"]),
)
def test_a_broadcast_is_answered_for_every_end_of_its_pool(
    schedule: Deviations, size: int, when: float, how: str, then: str
) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            config = SimulatedAgent(lambda _: reply(after=1.0))
            pool = supervisor.create_pool(config, size, "pool", routing=Routing.BROADCAST)
            asked: list[Any] = [
                pool.ask(Chat("all"), block=False) for _ in range(1 + (then == "another"))
            ]
            sim.sleep(when)
            if then == "member ends":
                pool.members()[0].ask(Disconnect(), block=False)
            ends: dict[str, Any] = {
                "stop": pool.stop,
                "drain": lambda: pool.shutdown(drain=True),
                "shutdown": lambda: supervisor.shutdown_agent(pool),
                "drained": lambda: supervisor.shutdown_agent(pool, drain=True),
                "supervisor": supervisor.stop,
                "all drained": lambda: supervisor.shutdown(drain=True),
            }
            ending = sim.client(ends[how])
            if then == "cancel":
                assert asked[0].cancel() or asked[0].done()
            for future in asked:
                try:
                    assert [answer.text for answer in future.get()] == ["all"] * size
                    assert not future.cancelled()
                except AgentDeadError:
                    assert "drain" not in how or then == "member ends"
                except concurrent.futures.CancelledError:
                    assert then == "cancel"
            ending.result()
            assert not pool.is_alive()

    Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    size=st.integers(1, 2),
    routing=st.sampled_from(SINGLE),
    told=st.booleans(),
    drain=st.booleans(),
)
def test_each_turn_that_waits_in_a_pool_that_ends_is_answered_or_a_dead_letter(
    schedule: Deviations, size: int, routing: Routing, *, told: bool, drain: bool
) -> None:
    events: list[Event] = []
    config = SimulatedAgent(lambda _: reply(after=1.0))

    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            supervisor.subscribe(events.append)
            pool = supervisor.create_pool(config, size, "pool", routing=routing)
            for number in range(3):
                if told:
                    pool.tell(Chat(f"turn {number}"), key=key_of(pool, str(number)))
            asked = [
                pool.ask(Chat(f"asked {number}"), block=False, key=key_of(pool, str(number)))
                for number in range(3)
            ]
            sim.sleep(0.5)
            supervisor.shutdown_agent(pool, drain=drain)
            for number, future in enumerate(asked):
                try:
                    assert future.get().text == f"asked {number}"
                except AgentDeadError:
                    assert not drain

        letters = [event for event in events if isinstance(event, DeadLetter)]
        begun = {str(request.prompt) for request in config.requests}
        carried_out = sum(prompt.startswith("turn") for prompt in begun)
        if drain:
            assert not letters
            assert len(begun) == 3 + 3 * told
        elif told:
            # One that a member had begun, and that ended with it, is both.
            assert len(letters) + carried_out >= 3
            assert all(letter.agent == "pool" for letter in letters)
        else:
            assert not letters

    Simulation(schedule).run(scenario)


# Tells.


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    routing=st.sampled_from(list(Routing)),
    size=st.integers(1, 2),
    send=st.booleans(),
)
def test_a_turn_told_to_a_pool_from_inside_a_members_tool_is_carried_out(
    schedule: Deviations, routing: Routing, size: int, *, send: bool
) -> None:
    pools: list[PoolRef] = []

    def report() -> None:
        pool = pools[0]
        pool.tell(Send("told") if send else Chat("told"), key=key_of(pool, "told"))

    def play(prompt: str) -> Any:
        return reply("done").calling("report") if prompt == "go" else reply()

    config = SimulatedAgent(play, tools=[report])

    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            pool = supervisor.create_pool(config, size, "pool", routing=routing)
            pools[:] = [pool]
            pool.ask(Chat("go"), key=key_of(pool, "go"))
            sim.sleep(60)

            prompts = [request.prompt for request in config.requests]
            each = size if routing is Routing.BROADCAST else 1
            assert prompts.count("told") == each * prompts.count("go")

    Simulation(schedule).run(scenario)


# Members that do not start.


@contextlib.contextmanager
def starts_without_descriptors(left: list[int]) -> Iterator[None]:
    """Let starts fail for lack of descriptors, as often as the list says."""
    make_room = OpenFiles.make_room

    def make_no_room(files: OpenFiles, agent: str, starting: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise AgentStartError(f"{agent} finds no descriptors")
        make_room(files, agent, starting)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenFiles, "make_room", make_no_room)
        yield


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    routing=st.sampled_from(list(Routing)),
    failures=st.integers(1, 4),
    scales=st.booleans(),
    descriptors=st.booleans(),
)
def test_a_pool_whose_growth_fails_answers_all_turns_and_grows_later(
    schedule: Deviations, routing: Routing, failures: int, *, scales: bool, descriptors: bool
) -> None:
    scales = scales and routing is not Routing.BROADCAST
    left = [0]

    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            config = SimulatedAgent(lambda _: reply(after=20.0 if scales else 1.0))
            pool = supervisor.create_pool(
                config, 1, "pool", routing=routing, max_size=2 if scales else None
            )
            if descriptors:
                left[0] = failures
            else:
                config.fail_starts(failures)
            if not scales:
                with pytest.raises(AgentStartError):
                    pool.resize(2)
            asked = [
                pool.ask(Chat(str(number)), block=False, key=key_of(pool, str(number)))
                for number in range(6)
            ]
            answers = [future.get() for future in asked]
            if routing is not Routing.BROADCAST:
                assert [answer.text for answer in answers] == list("012345")
            if scales:
                assert config._state.max_running >= 2
                # Other routings leave a turn with the member that they chose.
                assert sim.now < 6 * 20.0 or routing is not Routing.SHORTEST_QUEUE
            else:
                sim.sleep(60)
                assert is_whole(pool, config, 2)
                pool.resize(3)
                assert is_whole(pool, config, 3)

    with starts_without_descriptors(left):
        Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    routing=st.sampled_from(list(Routing)),
    size=st.integers(1, 3),
    failures=st.integers(1, 4),
    ends=st.integers(1, 2),
    descriptors=st.booleans(),
)
def test_a_pool_has_its_full_size_again_after_failed_replacements(
    schedule: Deviations,
    routing: Routing,
    size: int,
    failures: int,
    ends: int,
    *,
    descriptors: bool,
) -> None:
    left = [0]

    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            config = SimulatedAgent(lambda _: reply(after=1.0))
            pool = supervisor.create_pool(config, size, "pool", routing=routing, max_restarts=20)
            if descriptors:
                left[0] = failures
            else:
                config.fail_starts(failures)
            for number in range(ends):
                members = pool.members()
                if members:
                    members[number % len(members)].ask(Disconnect(), block=False)
            asked = [
                pool.ask(Chat(str(number)), block=False, key=key_of(pool, str(number)))
                for number in range(2 * size)
            ]
            for future in asked:
                with contextlib.suppress(AgentDeadError):  # A part of a broadcast has a member.
                    future.get()
            sim.sleep(60)

            assert is_whole(pool, config, size)

    with starts_without_descriptors(left):
        Simulation(schedule).run(scenario)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    routing=st.sampled_from(list(Routing)),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    crashes=st.integers(0, 4),
    keep=st.booleans(),
)
def test_a_pool_that_is_resized_while_members_crash_answers_all_and_has_the_last_size(
    schedule: Deviations, routing: Routing, sizes: list[int], crashes: int, *, keep: bool
) -> None:
    def scenario(sim: Simulation) -> None:
        with supervise() as supervisor:
            config = SimulatedAgent([crash(after=0.5)] * crashes)
            pool = supervisor.create_pool(
                config,
                2,
                "pool",
                routing=routing,
                max_restarts=0,
                within=0.1,
                keep_conversation=keep,
            )

            def resizes() -> None:
                for size in sizes:
                    pool.resize(size)
                    sim.sleep(0.3)

            def asks(number: int) -> None:
                with contextlib.suppress(TurnError, AgentDeadError):
                    pool.ask(Chat(str(number)), key=key_of(pool, str(number)))

            clients = [sim.client(resizes), *(sim.client(asks, n) for n in range(6))]
            for client in clients:
                client.result()
            sim.sleep(60)

            assert is_whole(pool, config, sizes[-1])
            assert pool.statistics().waiting == pool.statistics().busy == 0

    Simulation(schedule).run(scenario)
