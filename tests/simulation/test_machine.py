"""Programs that nobody wrote: clients, agents and a pool do whatever is drawn.

The machine's rules draw what each client does, step by step; when it has ended, all of it is
run in one simulation, in a drawn schedule and with drawn faults, and judged.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import hypothesis
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
"""Virtual seconds after which all that is under way has come to its end."""

clients = st.integers(0, CLIENTS - 1)
agents = st.integers(0, AGENTS - 1)


@dataclasses.dataclass(frozen=True)
class Ask:
    """A turn of an agent, or of the pool; each prompt is one of its own."""

    prompt: str
    agent: int | None
    timeout: float | None


@dataclasses.dataclass(frozen=True)
class Pause:
    """Time that goes by."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class Other:
    """Something else that is done to an agent."""

    what: str
    agent: int


@dataclasses.dataclass(frozen=True)
class Resize:
    """Another size of the pool."""

    size: int


Deed = Ask | Pause | Other | Resize


@dataclasses.dataclass
class Records:
    """What was seen."""

    answers: Counter[str] = dataclasses.field(default_factory=Counter)
    """How often each prompt's reply was told."""
    deaths: Counter[int] = dataclasses.field(default_factory=Counter)
    watchers: int = 0
    size: int = 1
    events: list[Event] = dataclasses.field(default_factory=list)
    ends: list[str] = dataclasses.field(default_factory=list)


class Play:
    """A drawn program, as it runs."""

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

    def client(self, deeds: list[Deed]) -> None:
        """Do what one client does."""
        for deed in deeds:
            with contextlib.suppress(AgyActorsError):  # A typed error is an answer.
                self._do(deed)

    def _do(self, deed: Deed) -> None:
        match deed:
            case Ask():
                self._ask(deed)
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
        whom = self.pool if ask.agent is None else self.agents[ask.agent]
        started = self.sim.now
        try:
            reply = whom.ask(Chat(ask.prompt, timeout=100.0), timeout=ask.timeout)
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


def turns_begin_in_the_order_of_each_client(deeds: list[list[Deed]], requests: list[str]) -> None:
    place = {prompt: requests.index(prompt) for prompt in set(requests)}
    for plan in deeds:
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
        self.deeds: list[list[Deed]] = [[] for _ in range(CLIENTS)]
        self.prompts = 0

    @rule(client=clients, agent=st.none() | agents, timeout=st.sampled_from([None, 0.5, 30.0]))
    def ask(self, client: int, agent: int | None, timeout: float | None) -> None:
        self.prompts += 1
        self.deeds[client].append(Ask(f"<{self.prompts}>", agent, timeout))

    @rule(client=clients, seconds=st.sampled_from([0.5, 5.0, 50.0]))
    def pause(self, client: int, seconds: float) -> None:
        self.deeds[client].append(Pause(seconds))

    @rule(client=clients, what=st.sampled_from(["cancel", "query", "watch"]), agent=agents)
    def do_something_else(self, client: int, what: str, agent: int) -> None:
        self.deeds[client].append(Other(what, agent))

    @rule(client=clients)
    def shut_down(self, client: int) -> None:
        self.deeds[client].append(Other("shut down", AGENTS - 1))

    @rule(size=st.integers(1, 3))
    def resize(self, size: int) -> None:
        self.deeds[0].append(Resize(size))

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
                config.stage.crashes = self.crashes  # Not while they come up for the first time.
                for running in [sim.client(play.client, deeds) for deeds in self.deeds]:
                    running.result()
                sim.sleep(QUIET)
                config.stage.crashes = 0
                statistics = play.pool.statistics()
                assert (statistics.size, statistics.waiting) == (play.seen.size, 0)
                ended = list(play.seen.ends)
                alive = [str(agent) for agent in play.agents if agent.is_alive()]
            assert play.seen.ends == [*ended, *reversed(alive)]

        simulation.run(scenario)

        (seen,) = played
        with judged(simulation):
            asks = [deed.prompt for deeds in self.deeds for deed in deeds if isinstance(deed, Ask)]
            assert seen.answers == Counter(asks)
            assert seen.deaths == Counter(range(seen.watchers))
            assert config.running == 0
            one_turn_at_a_time(seen.events)
            restarts_within_the_intensity(seen.events)
            requests = [request.prompt for request in config.requests]
            turns_begin_in_the_order_of_each_client(self.deeds, requests)


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
                    pass  # It may have happened or not.
                except Exception:  # noqa: BLE001 (the actor's end)
                    history.withdraw(operation)

        running = [sim.client(client, f"client-{n}", plan) for n, plan in enumerate(plans)]
        if stop:
            sim.client(register.stop)
        for each in running:
            each.result()
        assert_linearizable(history, register_model, 0)

    Simulation(schedule).run(scenario)
