"""Turns that crash their agent are ended, and end neither the agent nor a pool."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from google.antigravity import types as sdk

from agy_actors import (
    AgentCrashed,
    AgentGivenUp,
    Backoff,
    Chat,
    GetStatistics,
    InvalidPrompt,
    RetryPolicy,
    Routing,
    Send,
    Supervisor,
    TurnInterrupted,
    WaitForIdle,
)
from agy_actors.testing import (
    Ending,
    ScriptedModel,
    SimulatedAgent,
    SimulatedTurn,
    Simulation,
    call_tool,
    reply,
)
from tests.harnesses import PATIENCE, kill_harness

if TYPE_CHECKING:
    from agy_actors import AgentRef, Event, SupervisorRef

POISON = "caf\ud800e"
STUBBORN = RetryPolicy(attempts=10, retry=tenacity.retry_always, after_tool_calls=True)
AT_ONCE = Backoff(wait=tenacity.wait_none())
REFUSED = [
    POISON,
    ["hi", POISON],
    ("hi", POISON),
    [sdk.Image(data=b"x", mime_type="image/png", description=POISON)],
    sdk.Document(data=POISON.encode(errors="surrogatepass"), mime_type="text/plain"),
]


@pytest.mark.parametrize("prompt", REFUSED)
@pytest.mark.parametrize("kind", [Chat, Send])
def test_a_lone_surrogate_is_refused_when_the_message_is_created(
    kind: type[Any], prompt: object
) -> None:
    with pytest.raises(InvalidPrompt, match=r"surrogate|UTF-8"):
        kind(prompt)


def test_a_lone_surrogate_is_refused_by_every_method_with_a_prompt(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.openai_config())
    pool = supervisor.create_pool(model.openai_config(), 1)
    takers: list[Any] = [agent.ask, agent.tell, agent.stream, pool.ask, pool.tell, pool.stream]
    takers += [lambda text: list(pool.map([text])), lambda text: list(pool.as_completed([text]))]

    for take in takers:
        with pytest.raises(InvalidPrompt, match="position 3"):
            take(POISON)

    assert not model.requests
    assert agent.ask("hi").text == pool.ask("hi").text == "echo: hi"


def test_a_tool_that_is_an_agent_reports_a_lone_surrogate_to_the_model(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    expert = supervisor.create_agent(model.openai_config(), "expert")
    config = model.openai_config(tools=[expert.as_tool("consult", "Knows everything.")])
    agent = supervisor.create_agent(config, "boss")
    model.then(call_tool("consult", {"prompt": POISON}))

    assert agent.ask("go", timeout=PATIENCE).text
    assert expert.ask(GetStatistics()).restarts == 0


def let_poison_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agy_actors._agents.agent_messages.check_prompt", lambda _: None)


def test_a_turn_crashes_its_agent_twice(
    model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_poison_through(monkeypatch)
    events: list[Event] = []
    with Supervisor.start(max_restarts=5, backoff=AT_ONCE) as supervisor:
        supervisor.subscribe(events.append)
        agent = supervisor.create_agent(model.openai_config(), "poet", retry=STUBBORN)

        for _ in range(5):  # Ten crashes: each turn counts once.
            with pytest.raises(TurnInterrupted, match=r"crashed its agent 2 times") as caught:
                agent.ask(Chat(POISON), timeout=PATIENCE)
            assert not caught.value.retryable

        assert agent.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
        assert agent.ask(GetStatistics()).restarts == 10
    assert sum(isinstance(event, AgentCrashed) for event in events) == 10


@pytest.mark.own_processes
def test_a_tool_that_kills_its_process_is_called_at_most_twice(model: ScriptedModel) -> None:
    calls: list[int] = []
    let_go = threading.Event()
    refs: list[AgentRef] = []

    def die() -> str:
        """Die."""
        calls.append(len(calls))  # Before the kill, which ends the turn in any case.
        kill_harness(refs[0])
        let_go.wait()
        return "alive"

    model.when("die", call_tool("die"))
    with Supervisor.start(backoff=AT_ONCE) as supervisor:
        config = model.openai_config(tools=[die])
        refs.append(supervisor.create_agent(config, "poet", retry=STUBBORN))

        with pytest.raises(TurnInterrupted, match="crashed its agent 2 times") as caught:
            refs[0].ask(Chat("die"), timeout=PATIENCE)

        assert not caught.value.retryable
        assert len(calls) == 2
        assert refs[0].ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
        let_go.set()


def crash_on_poison(prompt: Any) -> SimulatedTurn:
    return SimulatedTurn(text="", ending=Ending.CRASH) if "poison" in str(prompt) else reply()


def test_crashes_of_one_turn_count_once_and_the_next_failure_is_backed_off() -> None:
    def scenario(sim: Simulation) -> None:
        backoff = Backoff(wait=tenacity.wait_fixed(1.0))
        with Supervisor.start(max_restarts=2, within=1000.0, backoff=backoff) as supervisor:
            agent = supervisor.create_agent(SimulatedAgent(crash_on_poison), retry=STUBBORN)
            # No wait before the first restart, and 1 s before later ones.
            for expected in (1.0, 3.0):
                with pytest.raises(TurnInterrupted, match="2 times"):
                    agent.ask("poison")
                assert agent.ask("hi").text == "hi"
                assert sim.now == expected

    Simulation().run(scenario)


def test_a_sent_or_told_turn_that_crashes_its_agent_twice_is_ended_too() -> None:
    def scenario(_: Simulation) -> None:
        config = SimulatedAgent(crash_on_poison)
        with Supervisor.start(max_restarts=2, within=1000.0) as supervisor:
            agent = supervisor.create_agent(config, retry=STUBBORN)
            agent.ask(Send("poison"))
            agent.tell("poison")
            assert agent.ask("hi").text == "hi"
            agent.ask(WaitForIdle())
        assert [request.prompt for request in config.requests].count("poison") == 4

    Simulation().run(scenario)


@pytest.mark.parametrize("poisoned", [4, 20])
@pytest.mark.parametrize("max_restarts", [0, 1, 5])
def test_turns_that_crash_members_neither_end_a_pool_nor_lose_other_turns(
    max_restarts: int, poisoned: int
) -> None:
    def scenario(_: Simulation) -> None:
        events: list[Event] = []
        config = SimulatedAgent(crash_on_poison)
        with Supervisor.start(backoff=AT_ONCE) as supervisor:
            supervisor.subscribe(events.append)
            pool = supervisor.create_pool(
                config, 3, retry=STUBBORN, max_restarts=max_restarts, within=1000.0
            )
            prompts = [f"{kind} {n}" for n in range(poisoned) for kind in ("poison", "good")]
            results = list(pool.map(prompts, return_exceptions=True))
            assert pool.ask(Chat("at last")).text == "at last"
            assert len(pool.members()) == 3

        for prompt, result in zip(prompts, results, strict=True):
            if "poison" in prompt:
                assert isinstance(result, TurnInterrupted)
                assert not result.retryable
            else:
                assert not isinstance(result, Exception)
                assert result.text == prompt
            tries = [request.prompt for request in config.requests].count(prompt)
            assert tries == (2 if "poison" in prompt else 1)
        given_up = sum(isinstance(event, AgentGivenUp) for event in events)
        if max_restarts == 0:
            assert given_up == 2 * poisoned
        elif max_restarts > poisoned:  # Even if one member has had all turns.
            assert given_up == 0

    Simulation().run(scenario)


def test_crashes_of_two_members_in_one_broadcast_do_not_end_its_turns() -> None:
    def scenario(_: Simulation) -> None:
        config = SimulatedAgent([SimulatedTurn(text="", ending=Ending.CRASH)] * 3)
        with Supervisor.start(backoff=AT_ONCE) as supervisor:
            pool = supervisor.create_pool(config, 3, routing=Routing.BROADCAST, retry=STUBBORN)

            assert [answer.text for answer in pool.broadcast("hi")] == ["hi"] * 3

    Simulation().run(scenario)
