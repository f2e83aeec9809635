"""The guarantees of sessions in one program, and in two that share a folder, in drawn schedules."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import hypothesis
from hypothesis import strategies as st

from agy_actors import AgentDeadError, AgentStartError, Chat, RetryPolicy, TurnError
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors.testing import Deviations, Simulation, reply, schedules
from tests.simulation.effort import times
from tests.simulation.judged import judged
from tests.simulation.shared_sessions import WatchedAgent, folder, program, prompts_of

if TYPE_CHECKING:
    from agy_actors import Sessions

SETTINGS = hypothesis.settings(
    max_examples=times(50),
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


@dataclasses.dataclass(frozen=True)
class Step:
    """What a client does next."""

    program: int
    key: str
    kind: str = "ask"
    takes: float = 0.0
    """Seconds that each of its turns takes."""
    pause: float = 0.0
    """Seconds that the client waits before it."""


STEPS = st.builds(
    Step,
    program=st.integers(0, 1),
    key=st.sampled_from("abc"),
    kind=st.sampled_from(["ask", "ask", "ask", "three", "sleep", "wake"]),
    takes=st.sampled_from([0.0, 0.0, 1.0, 4.0]),
    pause=st.sampled_from([0.0, 0.0, 0.3, 2.0]),
)
CLIENTS = st.lists(st.lists(STEPS, min_size=1, max_size=5), min_size=1, max_size=3)


def seconds_in(prompt: str) -> float:
    return float(prompt.rpartition(" ")[2])


def new_config(**options: Any) -> WatchedAgent:
    return WatchedAgent(lambda prompt: reply(after=seconds_in(prompt)), **options)


class Clients:
    """Clients that ask sessions, and what they asked and got.

    Args:
        sim: the simulation.
        sessions: the sessions of each program.
        steps: what each client does.
        crashes: whether turns and starts may fail.
    """

    def __init__(
        self,
        sim: Simulation,
        sessions: list[Sessions],
        steps: list[list[Step]],
        *,
        crashes: bool,
    ) -> None:
        self._sim = sim
        self._sessions = sessions
        self._steps = steps
        self._crashes = crashes
        self.asked: list[str] = []
        self.answered: list[str] = []
        self.failed: list[str] = []
        self.not_begun: list[str] = []
        """The prompts whose session did not start. The model must not get them."""

    def run(self) -> None:
        clients = [
            self._sim.client(self._client, number, steps)
            for number, steps in enumerate(self._steps)
        ]
        for client in clients:
            client.result()

    def _client(self, name: int, steps: list[Step]) -> None:
        for index, step in enumerate(steps):
            self._sim.sleep(step.pause)
            users = self._sessions[step.program % len(self._sessions)]
            match step.kind:
                case "ask" | "three":
                    self._ask(users, step, f"{step.key} {name}/{index}")
                case "sleep":
                    users.sleep(step.key)
                case _:
                    with contextlib.suppress(*[AgentStartError] * self._crashes):
                        users.wake(step.key)

    def _ask(self, users: Sessions, step: Step, prefix: str) -> None:
        prompts = [f"{prefix}.{n} {step.takes}" for n in range(3 if step.kind == "three" else 1)]
        self.asked += prompts
        asked = [users[step.key].ask(Chat(prompt), block=False) for prompt in prompts]
        for prompt, future in zip(prompts, asked, strict=True):
            try:
                assert future.get().text == prompt
                self.answered.append(prompt)
            except AgentStartError:
                assert self._crashes
                self.not_begun.append(prompt)
            except (TurnError, AgentDeadError):
                assert self._crashes
                self.failed.append(prompt)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    steps=CLIENTS,
    programs=st.integers(1, 2),
    max_awake=st.integers(1, 2),
    stop=st.sampled_from([0.0, 0.3]),
    crashes=st.sampled_from([0, 0, 1, 2]),
    max_restarts=st.sampled_from([0, 50]),
)
def test_each_conversation_has_one_owner_and_all_prompts_in_order_whoever_is_asked(  # noqa: PLR0917 (drawn)
    schedule: Deviations,
    steps: list[list[Step]],
    programs: int,
    max_awake: int,
    stop: float,
    crashes: int,
    max_restarts: int,
) -> None:
    config = new_config(start=0.1, stop=stop, crashes=crashes)
    made: list[Clients] = []

    def scenario(sim: Simulation) -> None:
        with folder() as state_dir:
            supervisors = [program(state_dir) for _ in range(programs)]
            sessions: list[Sessions] = [
                supervisor.create_sessions(
                    config.in_program(number),
                    "users",
                    max_awake=max_awake,
                    idle_timeout=3.0,
                    retry=RetryPolicy(attempts=9),
                    max_restarts=max_restarts,
                )
                for number, supervisor in enumerate(supervisors)
            ]
            clients = Clients(sim, sessions, steps, crashes=crashes > 0)
            made.append(clients)
            clients.run()
            # Three clients with five steps of three turns, of 4 seconds each, and handovers.
            assert sim.now < 3 * 5 * 3 * 6.0
            assert all(users.statistics().waiting == 0 for users in sessions)
            for supervisor in supervisors:
                supervisor.stop()
            assert not list(state_dir.rglob("*.lock"))

    simulation = Simulation(schedule)
    simulation.run(scenario)

    with judged(simulation):
        assert config.openings.faults == []
        assert config.openings.open == {}
        assert all(number <= max_awake for number in config.openings.most.values())
        [clients] = made
        ended = [*clients.answered, *clients.failed, *clients.not_begun]
        assert sorted(ended) == sorted(clients.asked)
        for key in "abc":
            found = prompts_of(config, key)
            if crashes:  # A prompt that a crash interrupted is there again.
                found = list(dict.fromkeys(found))
            assert set(found) >= {prompt for prompt in clients.answered if prompt[0] == key}
            assert len(found) == len(set(found))
            assert not set(found) & set(clients.not_begun)
            for name in range(len(steps)):
                mine = f"{key} {name}/"
                asked = [prompt for prompt in clients.asked if prompt.startswith(mine)]
                assert [prompt for prompt in found if prompt.startswith(mine)] == [
                    prompt for prompt in asked if prompt in found
                ]
            assert all(prompt[0] == key for prompt in found)


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=8),
    takes=st.sampled_from([0.0, 1.0]),
)
def test_turns_are_carried_out_in_the_order_of_their_arrival_if_one_session_may_be_awake(
    schedule: Deviations, keys: list[str], takes: float
) -> None:
    config = new_config()

    def scenario(_: Simulation) -> None:
        with folder() as state_dir, program(state_dir) as supervisor:
            users = supervisor.create_sessions(config, "users", max_awake=1)
            asked = [
                users[key].ask(Chat(f"{key} {number} {takes}"), block=False)
                for number, key in enumerate(keys)
            ]
            for future in asked:
                future.get()

    Simulation(schedule).run(scenario)

    prompts = [f"{key} {number} {takes}" for number, key in enumerate(keys)]
    assert [request.prompt for request in config.requests] == prompts


@SETTINGS
@hypothesis.given(
    schedule=schedules(),
    keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=10),
    max_awake=st.integers(1, 3),
)
def test_the_sessions_that_were_used_last_stay_awake(
    schedule: Deviations, keys: list[str], max_awake: int
) -> None:
    config = new_config()

    def scenario(sim: Simulation) -> None:
        awake: list[str] = []
        woken = 0
        with folder() as state_dir, program(state_dir) as supervisor:
            users = supervisor.create_sessions(config, "users", max_awake=max_awake)
            for key in keys:
                users[key].ask(Chat("go 0"))
                sim.sleep(0.1)  # The sessions learn of the turn's end after the asker.
                woken += key not in awake
                awake = [*(other for other in awake if other != key), key][-max_awake:]
                assert config.openings.open.keys() == {conversation_id_of(key) for key in awake}
                assert users.statistics().woken == woken

    Simulation(schedule).run(scenario)
