"""Drawn programs of clients, agents and a pool.

The rules of the state machine draw the steps of each client. At its end, one simulation runs the
whole program in a drawn schedule with drawn faults, and the test checks the results.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import hypothesis
import pykka
import tenacity
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from agy_actors import (
    AgentRestarting,
    AgyActorsError,
    AskTimeout,
    Backoff,
    Cancel,
    Chat,
    IsIdle,
    Supervisor,
    TurnEnded,
    TurnStarted,
    watch,
)
from agy_actors.testing import (
    Deviations,
    History,
    SimulatedAgent,
    Simulation,
    assert_linearizable,
    schedules,
    turns,
)
from tests.simulation.actors import Register
from tests.simulation.effort import times
from tests.simulation.judged import judged
from tests.simulation.test_exploration import register_model

if TYPE_CHECKING:
    from agy_actors import AgentRef, Event, PoolRef
    from agy_actors.testing import SimulatedTurn

SETTINGS = hypothesis.settings(
    max_examples=times(40),
    stateful_step_count=12,
    deadline=None,
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
CLIENTS, AGENTS = 3, 2
ALLOWED, WITHIN = 4, 60.0
GRACE = 10.0
"""Seconds that a turn may take to be cancelled before its process is killed."""
QUIET = 600.0
"""Virtual seconds after which all work has ended."""

clients = st.integers(0, CLIENTS - 1)
agents = st.integers(0, AGENTS - 1)


@dataclasses.dataclass(frozen=True)
class Ask:
    """A turn of an agent or the pool. All prompts differ."""

    prompt: str
    agent: int | None
    timeout: float | None


@dataclasses.dataclass(frozen=True)
class Pause:
    """A sleep."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class Other:
    """Another operation on an agent."""

    what: str
    agent: int


@dataclasses.dataclass(frozen=True)
class Resize:
    """A change of the pool's size."""

    size: int


Action = Ask | Pause | Other | Resize


@dataclasses.dataclass
class Records:
    """The observations of a run."""

    answers: Counter[str] = dataclasses.field(default_factory=Counter)
    """How often each prompt had a reply."""
    deaths: Counter[int] = dataclasses.field(default_factory=Counter)
    watchers: int = 0
    size: int = 1
    events: list[Event] = dataclasses.field(default_factory=list)
    ends: list[str] = dataclasses.field(default_factory=list)


class Play:
    """A drawn program at run time."""

    def __init__(self, sim: Simulation, supervisor: Any, config: SimulatedAgent) -> None:
        self.sim = sim
        self.seen = Records()
        supervisor.subscribe(self.seen.events.append)
        self.agents: list[AgentRef] = [
            supervisor.create_agent(config, name=f"agent-{number}") for number in range(AGENTS)
        ]
        self.pool: PoolRef = supervisor.create_pool(config, 1, name="pool", max_restarts=1000)
        for agent in self.agents:
            watch(agent).add_done_callback(
                lambda death: self.seen.ends.append(str(death.get().ref))
            )

    def client(self, actions: list[Action]) -> None:
        """Run the steps of one client."""
        for action in actions:
            with contextlib.suppress(AgyActorsError):  # A typed error is an answer.
                self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Ask():
                self._ask(action)
            case Pause(seconds):
                self.sim.sleep(seconds)
            case Resize(size):
                self.seen.size = size
                self.pool.resize(size)
            case Other("cancel", agent):
                self.agents[agent].ask(Cancel())
            case Other("query", agent):
                assert self.agents[agent].ask(IsIdle()) in (True, False)
            case Other("watch", agent):
                self._watch(self.agents[agent])
            case Other("shut down", agent):
                self.agents[agent].stop()

    def _ask(self, ask: Ask) -> None:
        target = self.pool if ask.agent is None else self.agents[ask.agent]
        started = self.sim.now
        try:
            reply = target.ask(Chat(ask.prompt, timeout=100.0), timeout=ask.timeout)
        finally:
            self.seen.answers[ask.prompt] += 1
            assert ask.timeout is None or self.sim.now <= started + ask.timeout
        assert ask.prompt in reply.text, "it was answered by another's turn"

    def _watch(self, agent: AgentRef) -> None:
        number = self.seen.watchers
        self.seen.watchers += 1
        watch(agent).add_done_callback(lambda _: self.seen.deaths.update([number]))


def one_turn_at_a_time(events: list[Event]) -> None:
    running: set[str] = set()
    for event in events:
        if isinstance(event, TurnStarted) and event.attempt == 1:
            assert event.agent not in running
            running.add(event.agent)
        elif isinstance(event, TurnEnded):
            running.discard(event.agent)


def restarts_within_the_intensity(events: list[Event]) -> None:
    restarts: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if isinstance(event, AgentRestarting) and event.agent.startswith("agent"):
            times = restarts[event.agent]
            times.append(event.at)
            assert sum(at > event.at - WITHIN for at in times) <= ALLOWED


def turns_begin_in_the_order_of_each_client(
    actions: list[list[Action]], requests: list[str]
) -> None:
    place = {prompt: requests.index(prompt) for prompt in set(requests)}
    for plan in actions:
        for agent in range(AGENTS):
            asked = [d.prompt for d in plan if isinstance(d, Ask) and d.agent == agent]
            places = [place[prompt] for prompt in asked if prompt in place]
            assert places == sorted(places)


class Machine(RuleBasedStateMachine):
    """Draws a program. See the module."""

    @initialize(
        schedule=schedules(), script=st.lists(turns(), max_size=6), crashes=st.integers(0, 2)
    )
    def begin(self, schedule: Deviations, script: list[SimulatedTurn], crashes: int) -> None:
        self.schedule = schedule
        self.script = script
        self.crashes = crashes
        self.actions: list[list[Action]] = [[] for _ in range(CLIENTS)]
        self.prompts = 0

    @rule(client=clients, agent=st.none() | agents, timeout=st.sampled_from([None, 0.5, 30.0]))
    def ask(self, client: int, agent: int | None, timeout: float | None) -> None:
        self.prompts += 1
        self.actions[client].append(Ask(f"<{self.prompts}>", agent, timeout))

    @rule(client=clients, seconds=st.sampled_from([0.5, 5.0, 50.0]))
    def pause(self, client: int, seconds: float) -> None:
        self.actions[client].append(Pause(seconds))

    @rule(client=clients, what=st.sampled_from(["cancel", "query", "watch"]), agent=agents)
    def do_something_else(self, client: int, what: str, agent: int) -> None:
        self.actions[client].append(Other(what, agent))

    @rule(client=clients)
    def shut_down(self, client: int) -> None:
        self.actions[client].append(Other("shut down", AGENTS - 1))

    @rule(size=st.integers(1, 3))
    def resize(self, size: int) -> None:
        self.actions[0].append(Resize(size))

    def teardown(self) -> None:
        if hasattr(self, "schedule"):
            self._run()

    def _run(self) -> None:
        # Only text that repeats its prompt tells whose answer it is.
        script = [dataclasses.replace(turn, text=None) for turn in self.script]
        config = SimulatedAgent(script)
        simulation = Simulation(self.schedule)
        played: list[Records] = []

        def scenario(sim: Simulation) -> None:
            backoff = Backoff(wait=tenacity.wait_fixed(1.0), reset_after=30.0)
            with Supervisor.start(max_restarts=ALLOWED, within=WITHIN, backoff=backoff) as root:
                play = Play(sim, root, config)
                played.append(play.seen)
                config._state.crashes = self.crashes  # Not while they come up for the first time.
                for running in [sim.client(play.client, actions) for actions in self.actions]:
                    running.result()
                sim.sleep(QUIET)
                config._state.crashes = 0
                statistics = play.pool.statistics()
                assert (statistics.size, statistics.waiting) == (play.seen.size, 0)
                ended = list(play.seen.ends)
                alive = [str(agent) for agent in play.agents if agent.is_alive()]
            assert play.seen.ends == [*ended, *reversed(alive)]

        simulation.run(scenario)

        (seen,) = played
        with judged(simulation):
            asks = [
                action.prompt
                for actions in self.actions
                for action in actions
                if isinstance(action, Ask)
            ]
            assert seen.answers == Counter(asks)
            assert seen.deaths == Counter(range(seen.watchers))
            assert config.running == 0
            one_turn_at_a_time(seen.events)
            restarts_within_the_intensity(seen.events)
            requests = [request.prompt for request in config.requests]
            turns_begin_in_the_order_of_each_client(self.actions, requests)


TestMachine = Machine.TestCase
TestMachine.settings = SETTINGS


calls = st.one_of(
    st.just(("read",)),
    st.tuples(st.just("write"), st.integers(1, 9)),
    st.tuples(st.just("add"), st.integers(1, 9)),
)


@hypothesis.settings(SETTINGS, max_examples=times(100))
@hypothesis.given(
    schedule=schedules(),
    plans=st.lists(
        st.lists(st.tuples(calls, st.sampled_from([None, 1e-9, 1.0])), max_size=4),
        min_size=2,
        max_size=3,
    ),
    stop=st.booleans(),
)
def test_asks_of_an_actor_linearize_whether_answered_abandoned_or_refused(
    schedule: Deviations, plans: list[list[tuple[Any, float | None]]], stop: bool
) -> None:
    def scenario(sim: Simulation) -> None:
        register = Register.start()
        history = History()

        def client(name: str, plan: list[tuple[Any, float | None]]) -> None:
            for call, timeout in plan:
                operation = history.invoke(name, call)
                try:
                    history.answer(operation, register.ask(call, timeout=timeout))
                except AskTimeout:
                    assert timeout is not None  # It may have happened or not.
                except pykka.ActorDeadError:
                    assert stop
                    history.withdraw(operation)  # It was not handled.

        running = [sim.client(client, f"client-{n}", plan) for n, plan in enumerate(plans)]
        if stop:
            sim.client(register.stop)
        for each in running:
            each.result()
        assert_linearizable(history, register_model, 0)

    Simulation(schedule).run(scenario)
