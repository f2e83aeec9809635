from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgentDeadError,
    AgentRestarting,
    Backoff,
    Chat,
    GetStatistics,
    GetTurnCount,
    ModelError,
    Restart,
    Supervisor,
    TurnInterrupted,
)
from agy_actors.testing import call_tool, http_error, say
from tests.harnesses import FAILS, PATIENCE, children, fake_harness, kill_harness, pid_of, until
from tests.supervision.helpers import long_backoff

if TYPE_CHECKING:
    from pathlib import Path

    from tenacity import RetryCallState

    from agy_actors import Event, SupervisorRef
    from agy_actors.testing import ScriptedModel

AT_ONCE = Backoff(wait=lambda _: 0.0)


def test_a_killed_agent_comes_back_with_its_conversation(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")
    agent.ask(Chat("one"))
    before = pid_of(agent)

    kill_harness(agent)

    assert agent.ask(Chat("two")).text == "echo: two"
    assert [text for _, text in model.requests[1].messages] == ["one", "echo: one", "two"]
    assert pid_of(agent) != before
    assert supervisor.children() == {"poet": agent}
    assert agent.ask(GetStatistics()).restarts == 1
    assert agent.ask(GetTurnCount()) == 2


def test_an_agent_that_was_killed_before_its_first_turn_comes_back(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.gemini_config(), "poet")

    kill_harness(agent)

    assert agent.ask(Chat("one")).text == "echo: one"


def test_messages_wait_through_a_restart(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    gate = threading.Event()
    model.then(say("slow", gate=gate))
    agent = supervisor.create_agent(model.openai_config(), "poet")
    running = agent.ask(Chat("one"), block=False)
    waiting = [agent.ask(Chat(prompt), block=False) for prompt in ("two", "three")]
    model.wait_for_requests(1)

    kill_harness(agent)

    assert running.get().text == "echo: one"  # No tool was called, so it was retried.
    assert [reply.get().text for reply in waiting] == ["echo: two", "echo: three"]


def test_an_agents_process_dies_after_a_tool_call(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    model.then(call_tool("pay", {"amount": 5}), say("slow", gate=threading.Event()))
    agent = supervisor.create_agent(model.openai_config(tools=[pay]), "poet")
    running = agent.ask(Chat("one"), block=False)
    waiting = agent.ask(Chat("two"), block=False)
    model.wait_for_requests(2)

    kill_harness(agent)

    with pytest.raises(TurnInterrupted):
        running.get()
    assert waiting.get().text == "echo: two"


@pytest.mark.own_processes
def test_peers_notice_nothing_of_a_crash(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    gate = threading.Event()
    model.then(say("slow reply", gate=gate))
    peer = supervisor.create_agent(model.openai_config(), "peer")
    victim = supervisor.create_agent(model.openai_config(), "victim")
    running = peer.ask(Chat("one"), block=False)
    model.wait_for_requests(1)

    kill_harness(victim)

    assert victim.ask(Chat("hi")).text == "echo: hi"
    gate.set()
    assert running.get().text == "slow reply"
    assert peer.ask(GetStatistics()).restarts == 0


@pytest.mark.new_processes
def test_an_agent_fails_again_and_again(model: ScriptedModel) -> None:
    with Supervisor.start(max_restarts=2, within=60, backoff=AT_ONCE) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        for prompt in ("one", "two"):
            kill_harness(agent)
            agent.ask(Chat(prompt))

        kill_harness(agent)

        assert agent.actor_stopped.wait(10)
        for _ in range(2):
            with pytest.raises(
                AgentDeadError,
                match="agent 'poet' was given up: it failed 3 times within 60 s, and 2 restarts are"
                " allowed; last cause: TurnInterrupted: the process of agent 'poet' died",
            ) as caught:
                agent.ask(Chat("three"))
            assert isinstance(caught.value.__cause__, TurnInterrupted)
        assert supervisor.children() == {}
        until(lambda: not children())
        assert supervisor.create_agent(model.openai_config(), "poet").is_alive()


def test_askers_of_an_agent_that_is_given_up_get_an_error(model: ScriptedModel) -> None:
    model.then(say("slow", gate=threading.Event()))
    with Supervisor.start(max_restarts=0) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        asked = [agent.ask(Chat(prompt), block=False) for prompt in ("one", "two", "three")]
        model.wait_for_requests(1)

        kill_harness(agent)

        for reply in asked:
            with pytest.raises(AgentDeadError, match="'poet' was given up: it failed 1 times"):
                reply.get(timeout=10)


def test_a_temporary_agent_is_not_restarted(model: ScriptedModel) -> None:
    with Supervisor.start() as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet", restart=Restart.TEMPORARY)

        kill_harness(agent)

        assert agent.actor_stopped.wait(10)
        with pytest.raises(AgentDeadError, match="it is temporary, and is not restarted"):
            agent.ask(Chat("hi"))
        assert supervisor.children() == {}


def test_an_agent_that_does_not_start_again_is_given_up(
    model: ScriptedModel, tmp_path: Path
) -> None:
    switch = tmp_path / "broken"
    strategy: Any = model.openai_config().create_strategy(tool_runner=None, hook_runner=None)
    real = strategy._binary_path
    env = fake_harness(tmp_path, f"if [ -e {switch} ]; then {FAILS}; fi\nexec {real}")
    with Supervisor.start(max_restarts=2, backoff=AT_ONCE) as supervisor:
        agent = supervisor.create_agent(model.openai_config(env=env), "poet")
        assert agent.ask(Chat("one")).text == "echo: one"
        switch.touch()

        kill_harness(agent)

        with pytest.raises(AgentDeadError, match=r"failed 3 times.*no such luck"):
            agent.ask(Chat("two"), timeout=10)


def test_errors_of_the_model_do_not_count_as_failures(model: ScriptedModel) -> None:
    with Supervisor.start(max_restarts=0) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        agent.ask(Chat("before"))
        model.then(*[http_error(400)] * 4)

        for number in range(4):
            with pytest.raises(ModelError):
                agent.ask(Chat(f"{number}"))

        assert agent.ask(Chat("after")).text == "echo: after"
        assert model.requests[-1].messages[0] == ("user", "before")


@pytest.mark.own_processes
def test_an_agent_whose_backoff_raises_is_given_up_and_no_other(
    model: ScriptedModel,
) -> None:
    def wait(_: RetryCallState) -> float:
        raise ZeroDivisionError("oops")

    with Supervisor.start(backoff=Backoff(wait=wait)) as supervisor:
        peer = supervisor.create_agent(model.openai_config(), "peer")
        agent = supervisor.create_agent(model.openai_config(), "poet")
        kill_harness(agent)
        agent.ask(Chat("one"))

        kill_harness(agent)

        with pytest.raises(AgentDeadError, match="its backoff raised ZeroDivisionError: oops"):
            agent.ask(Chat("two"), timeout=10)
        assert peer.ask(Chat("hi")).text == "echo: hi"


def test_asks_during_a_backoff_are_answered_after_it(model: ScriptedModel) -> None:
    waits, delays = threading.Event(), iter([0.5])

    def wait(_: RetryCallState) -> float:
        waits.set()
        return next(delays)

    with Supervisor.start(backoff=Backoff(wait=wait)) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        kill_harness(agent)
        agent.ask(Chat("one"))
        kill_harness(agent)
        assert waits.wait(10)

        statistics = agent.ask(GetStatistics(), block=False)
        turns = [agent.ask(Chat(prompt), block=False) for prompt in ("two", "three")]

        assert statistics.get().restarts == 2
        assert [turn.get().text for turn in turns] == ["echo: two", "echo: three"]


@pytest.mark.own_processes
def test_a_peer_works_while_an_agent_waits_for_its_restart(model: ScriptedModel) -> None:
    waits = threading.Event()
    with Supervisor.start(backoff=long_backoff(waits)) as supervisor:
        peer = supervisor.create_agent(model.openai_config(), "peer")
        agent = supervisor.create_agent(model.openai_config(), "poet")
        kill_harness(agent)
        agent.ask(Chat("one"))
        kill_harness(agent)
        assert waits.wait(10)

        assert peer.ask(Chat("hi")).text == "echo: hi"
        assert list(supervisor.children()) == ["peer", "poet"]


@pytest.mark.parametrize(("reset_after", "seconds"), [(0.01, [0.0, 0.0]), (600.0, [0.0, 0.1])])
def test_after_the_backoffs_quiet_period_the_next_failure_is_the_first(
    model: ScriptedModel, reset_after: float, seconds: list[float]
) -> None:
    delays: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, AgentRestarting):
            delays.append(event.delay)

    backoff = Backoff(wait=lambda _: 0.1, reset_after=reset_after)
    with Supervisor.start(backoff=backoff) as supervisor:
        supervisor.subscribe(note)
        agent = supervisor.create_agent(model.openai_config())

        for number in range(2):
            kill_harness(agent)
            agent.ask(Chat(f"{number}"), timeout=PATIENCE)  # A restart takes longer than 0.01 s.

        until(lambda: len(delays) == 2)
    assert delays == seconds
