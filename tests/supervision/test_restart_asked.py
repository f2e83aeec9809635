"""`RestartAgent`: a restart that someone asked for."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING

import pytest

from agy_actors import (
    AgentReady,
    AsyncioActor,
    Chat,
    Event,
    GetConversationId,
    GetHistory,
    GetStatistics,
    InvalidConfig,
    RestartAgent,
    Strategy,
    Supervisor,
)
from agy_actors._supervision.restart_logic import decide
from agy_actors._supervision.restart_policy import Limits, Restart
from agy_actors._supervision.restart_steps import (
    BackoffOver,
    BecameReady,
    Exited,
    Failed,
    Halt,
    Phase,
    RequestRestart,
    RestartAsked,
    Start,
    Wait,
)
from agy_actors.testing import say
from tests.harnesses import PATIENCE, kill_harness, pid_of, until
from tests.supervision.helpers import long_backoff
from tests.supervision.test_decisions import after, family_of, phases

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel


# The decisions


@pytest.mark.parametrize("strategy", Strategy)
def test_a_restart_that_was_asked_for_affects_no_sibling_and_is_no_failure(
    strategy: Strategy,
) -> None:
    family = family_of("abc", strategy=strategy, limits=Limits(max_restarts=0))

    family, ending = after(family, RestartAsked("b"))
    family, starting = after(family, Exited("b"))
    family, _ = after(family, BecameReady("b"))

    assert (ending, starting) == ((RequestRestart("b"),), (Start("b"),))
    assert phases(family) == {"a": Phase.UP, "b": Phase.UP, "c": Phase.UP}
    assert [member.failures for member in family.members] == [(), (), ()]


def test_a_temporary_child_restarts_if_someone_asks_for_it() -> None:
    family = family_of("a", temporary="a")

    family, actions = after(family, RestartAsked("a"), Exited("a"))

    assert actions == (Start("a"),)
    assert [member.restart for member in family.members] == [Restart.TEMPORARY]


def test_a_child_that_waits_for_its_restart_starts_at_once_and_only_once() -> None:
    family = family_of("a")
    family, (wait,) = after(family, Failed("a", 0.0))
    assert isinstance(wait, Wait)

    family, at_once = after(family, RestartAsked("a"))
    later = decide(family, BackoffOver(wait.token))

    assert (at_once, later) == ((Start("a"),), ())


@pytest.mark.parametrize("events", [[RestartAsked("a")], [Halt()], [Halt(), Exited("a")]])
def test_a_child_that_restarts_or_is_halted_is_left_alone(
    events: list[RestartAsked | Halt | Exited],
) -> None:
    family = family_of("a", nested=True)
    family, _ = after(family, *events)
    before = phases(family)

    family, actions = after(family, RestartAsked("a"))

    assert actions == ()
    assert phases(family) == before


# With agents


def test_an_agent_restarts_with_its_conversation(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")
    agent.ask("one")
    before = agent.ask(GetConversationId()), agent.ask(GetHistory())

    supervisor.ask(RestartAgent("poet"))

    until(lambda: agent.ask(GetStatistics()).restarts == 1)
    assert (agent.ask(GetConversationId()), agent.ask(GetHistory())) == before
    assert agent.ask("two").text == "echo: two"
    assert [text for _, text in model.requests[1].messages] == ["one", "echo: one", "two"]


def test_the_running_turn_runs_again(model: ScriptedModel) -> None:
    gate = threading.Event()
    model.when("slow", say("done", gate=gate))
    with Supervisor.start(max_restarts=0) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        reply = agent.ask(Chat("slow"), block=False)
        model.wait_for_requests(1)

        supervisor.ask(RestartAgent(agent))
        model.wait_for_requests(2)
        gate.set()

        assert reply.get(timeout=PATIENCE).attempts == 2


def test_an_agent_that_waits_for_its_restart_restarts_at_once(model: ScriptedModel) -> None:
    reached = threading.Event()
    with Supervisor.start(backoff=long_backoff(reached)) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        kill_harness(agent)
        agent.ask(Chat("zero"))  # The first restart has no backoff.
        kill_harness(agent)
        assert reached.wait(PATIENCE)
        answer = agent.ask(Chat("one"), block=False)

        supervisor.ask(RestartAgent("poet"))

        assert answer.get(timeout=PATIENCE).text == "echo: one"


def test_a_member_of_a_pool_restarts_and_the_pool_goes_on(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), size=2)
    member = pool.members()[0]

    pool.ask(RestartAgent(member))

    replies = [pool.ask(str(number), block=False) for number in range(8)]
    assert [reply.get(timeout=PATIENCE).text for reply in replies] == [
        f"echo: {n}" for n in range(8)
    ]
    until(lambda: member.ask(GetStatistics()).restarts == 1)
    assert pool.statistics().replaced == 0


def test_a_pool_and_a_supervisor_restart_with_all_below(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), size=2, name="pool")
    below = supervisor.create_supervisor("below")
    agent = below.create_agent(model.openai_config(), "poet")

    supervisor.ask(RestartAgent("pool"))
    supervisor.ask(RestartAgent(below))

    until(lambda: agent.ask(GetStatistics()).restarts == 1)
    until(lambda: all(member.ask(GetStatistics()).restarts == 1 for member in pool.members()))
    assert agent.ask("one").text == pool.ask("one").text == "echo: one"


class _Counter(AsyncioActor):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1


def test_a_plain_actor_restarts(supervisor: SupervisorRef) -> None:
    _Counter.made = 0
    ready = threading.Event()
    supervisor.create_actor(_Counter, name="counter")

    def note(event: Event) -> None:
        if isinstance(event, AgentReady):
            ready.set()

    supervisor.subscribe(note)
    supervisor.ask(RestartAgent("counter"))

    assert ready.wait(PATIENCE)
    assert _Counter.made == 2


def test_an_agent_that_ended_is_left_alone_and_an_unknown_name_is_an_error(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")
    supervisor.shutdown_agent(agent)

    supervisor.ask(RestartAgent(agent))
    with pytest.raises(InvalidConfig, match="has no agent 'poet'"):
        supervisor.ask(RestartAgent("poet"))

    assert not agent.is_alive()


def test_the_message_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(RestartAgent("poet"))) == RestartAgent("poet")


def test_the_process_of_an_agent_that_is_alone_in_it_is_replaced(model: ScriptedModel) -> None:
    with Supervisor.start(max_conversations_per_process=1) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        before = pid_of(agent)

        supervisor.ask(RestartAgent("poet"))

        until(lambda: agent.ask(GetStatistics()).harness_pid not in (None, before))
