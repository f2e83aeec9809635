"""Small programs with many agents, many callers and concurrent failures."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from agy_actors import (
    AgentDeadError,
    AgentStartError,
    Chat,
    CreateAgent,
    GetStatistics,
    InvalidConfig,
    ModelError,
    QuotaExceeded,
    ShutdownAgent,
    Supervisor,
    TurnStalled,
    TurnTimeout,
    as_completed,
)
from agy_actors.testing import ScriptedModel, http_error, quota_error, say, silence
from tests.harnesses import children
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import AgentConfig

    from agy_actors import AgentRef, SupervisorRef


@pytest.fixture(params=["openai", "gemini"])
def config(request: pytest.FixtureRequest, model: ScriptedModel) -> Callable[[], AgentConfig]:
    return model.openai_config if request.param == "openai" else model.gemini_config


def test_the_interpreter_stays_responsive_while_many_agents_start(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    started, pauses = threading.Event(), []

    def feel_the_pulse() -> None:
        before = time.monotonic()
        while not started.wait(0.005):
            now = time.monotonic()
            pauses.append(now - before)
            before = now

    pulse = threading.Thread(target=feel_the_pulse)
    pulse.start()

    creations = [supervisor.ask(CreateAgent(model.openai_config()), block=False) for _ in range(16)]
    agents = [creation.get() for creation in creations]

    started.set()
    pulse.join()
    replies = [agent.ask(Chat(agent.name), block=False) for agent in agents]
    assert [reply.get().text for reply in replies] == [f"echo: {agent.name}" for agent in agents]
    assert max(pauses) < 2.0  # A blocked interpreter would pause for all starts, which is seconds.


def test_a_chat_continues_during_a_peers_shutdown(
    supervisor: SupervisorRef, config: Callable[[], AgentConfig], model: ScriptedModel
) -> None:
    gate = threading.Event()
    model.when("long", say("one two three", gate=gate))
    busy, peer = supervisor.create_agent(config()), supervisor.create_agent(config())
    running = busy.ask(Chat("a long one"), block=False)
    model.wait_for_requests(1)

    supervisor.shutdown_agent(peer)

    gate.set()
    assert running.get().text == "one two three"
    assert busy.ask(Chat("next")).text == "echo: next"


def test_an_agent_starts_while_a_peer_ends(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    old = supervisor.create_agent(model.openai_config(), "old")

    ending = supervisor.ask(ShutdownAgent(old), block=False)
    new = supervisor.create_agent(model.openai_config(), "new")

    assert new.ask(Chat("hi")).text == "echo: hi"
    ending.get()
    assert supervisor.children() == {"new": new}


def test_a_name_can_be_reused_while_its_agent_ends(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    old = supervisor.create_agent(model.openai_config(), "poet")

    supervisor.ask(ShutdownAgent(old), block=False)
    new = supervisor.create_agent(model.openai_config(), "poet")

    assert new is not old
    assert not old.is_alive()
    assert new.ask(Chat("hi")).text == "echo: hi"


def test_agents_work_after_everything_was_torn_down(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    for number in range(2):
        agents = [supervisor.create_agent(model.openai_config(), name) for name in "ab"]
        replies = [agent.ask(Chat(f"{number}"), block=False) for agent in agents]
        assert [reply.get().text for reply in replies] == [f"echo: {number}"] * 2
        for agent in agents:
            supervisor.shutdown_agent(agent)

    with Supervisor.start() as another:
        agent = another.create_agent(model.openai_config(), "a")
        assert agent.ask(Chat("hi")).text == "echo: hi"


def test_peers_are_torn_down_one_after_another_while_the_rest_chat(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agents = [supervisor.create_agent(model.openai_config()) for _ in range(5)]

    while agents:
        replies = [agent.ask(Chat(agent.name), block=False) for agent in agents[1:]]
        supervisor.shutdown_agent(agents.pop(0))
        assert [reply.get().text for reply in replies] == [f"echo: {a.name}" for a in agents]

    assert supervisor.children() == {}


@pytest.mark.slow
@pytest.mark.own_processes
def test_rapid_cycles_leave_nothing_behind(
    supervisor: SupervisorRef, config: Callable[[], AgentConfig]
) -> None:
    for number in range(10):
        agent = supervisor.create_agent(config(), "poet")
        assert agent.ask(Chat(f"{number}")).text == f"echo: {number}"
        supervisor.shutdown_agent(agent)

    assert not children()
    assert supervisor.children() == {}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", quick([1, 2], 0))
def test_a_storm_of_creates_and_shutdowns_never_stalls(
    supervisor: SupervisorRef, model: ScriptedModel, seed: int
) -> None:
    def weather(number: int) -> None:
        chance = random.Random(100 * seed + number)
        for _ in range(8):
            name = chance.choice("abc")
            try:
                if chance.random() < 0.5:
                    agent = supervisor.create_agent(model.openai_config(), name)
                    assert agent.ask(Chat(name)).text == f"echo: {name}"
                else:
                    supervisor.shutdown_agent(name, timeout=30)
            except (InvalidConfig, AgentStartError, AgentDeadError):
                pass  # The name is taken or unknown, or another has ended the agent.

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(weather, range(6)))

    for name, agent in supervisor.children().items():
        assert agent.ask(Chat(name)).text == f"echo: {name}"


def test_supervisors_created_concurrently_are_isolated(model: ScriptedModel) -> None:
    def program(number: int) -> tuple[list[str], list[str]]:
        with Supervisor.start() as supervisor:
            config = model.openai_config if number % 2 else model.gemini_config
            names = [f"{number}-{n}" for n in range(2)]
            agents = [supervisor.create_agent(config(), name) for name in names]
            texts = [agent.ask(Chat(agent.name)).text for agent in agents]
            return list(supervisor.children()), texts

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(program, range(4)))

    for number, (names, texts) in enumerate(found):
        assert names == [f"{number}-0", f"{number}-1"]
        assert texts == [f"echo: {name}" for name in names]


def test_each_agent_of_a_mixed_set_gets_its_own_outcome(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    model.when("unavailable", http_error(503))
    model.when("quota", quota_error(12))
    model.when("drop", http_error(500))
    model.when("hang", silence("so far"))
    prompts = ["healthy 1", "unavailable", "quota", "drop", "hang", "healthy 2"]
    agents = {prompt: supervisor.create_agent(model.openai_config(), prompt) for prompt in prompts}

    replies = {
        prompt: agent.ask(Chat(prompt, stall_timeout=3.0), block=False)
        for prompt, agent in agents.items()
    }

    for prompt, reply in replies.items():
        if "healthy" in prompt:
            assert reply.get().text == f"echo: {prompt}"
    for prompt, status in (("unavailable", 503), ("drop", 500)):
        with pytest.raises(ModelError) as failed:
            replies[prompt].get()
        assert failed.value.status == status
    with pytest.raises(QuotaExceeded):
        replies["quota"].get()
    with pytest.raises((TurnStalled, TurnTimeout)) as stalled:
        replies["hang"].get()
    assert stalled.value.text == "so far"
    for prompt in ("healthy 1", "healthy 2"):
        assert agents[prompt].ask(Chat("still there?")).text == "echo: still there?"
        assert agents[prompt].ask(GetStatistics()).restarts == 0
    for prompt in ("unavailable", "quota", "drop", "hang"):
        assert agents[prompt].ask(Chat("and now?")).text == "echo: and now?"


def test_an_agent_recovers_after_each_error(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")

    for number in range(3):
        model.then(http_error(503))
        with pytest.raises(ModelError, match="503"):
            agent.ask(Chat("now"))
        assert agent.ask(Chat(f"{number}")).text == f"echo: {number}"


def test_a_stream_raises_the_error_to_its_reader(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")
    model.then(http_error(400))

    with pytest.raises(ModelError):
        list(agent.stream("hi"))

    assert list(agent.stream("again"))[-1].endswith("again")


def test_a_shutdown_after_an_error_does_not_hang(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")
    model.then(http_error(401))
    with pytest.raises(ModelError):
        agent.ask(Chat("hi"))

    supervisor.shutdown_agent(agent, timeout=8)

    with pytest.raises(AgentDeadError):
        agent.ask(Chat("hi"))


def test_agents_never_receive_each_others_text(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    def talk(agent: AgentRef) -> list[str]:
        return [agent.ask(Chat(f"{agent.name}, {number}")).text for number in range(6)]

    agents = [
        supervisor.create_agent(config(), f"{config.__name__} {number}")
        for config in (model.openai_config, model.gemini_config)
        for number in range(2)
    ]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(talk, agents))

    for agent, texts in zip(agents, found, strict=True):
        assert texts == [f"echo: {agent.name}, {number}" for number in range(6)]
    for request in model.requests:
        owner = request.prompt.split(",")[0]
        assert all(owner in text for _, text in request.messages)


def test_asks_of_many_agents_are_yielded_as_they_complete(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    gate = threading.Event()
    model.when("slow", say("slow", gate=gate))
    agents = [supervisor.create_agent(model.openai_config()) for _ in range(3)]
    prompts = ["slow", "b", "c"]

    done = as_completed([a.ask(Chat(p), block=False) for a, p in zip(agents, prompts, strict=True)])

    first = {next(done).get().text for _ in range(2)}
    gate.set()
    assert (first, next(done).get().text) == ({"echo: b", "echo: c"}, "slow")


def test_the_first_turn_sends_only_itself_and_later_ones_the_history_once(
    supervisor: SupervisorRef, config: Callable[[], AgentConfig], model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(config(), "poet")

    for prompt in ("one", "two", "three"):
        agent.ask(Chat(prompt))

    first, second, third = model.requests
    assert first.messages == (("user", "one"),)
    assert second.messages == (*first.messages, ("assistant", "echo: one"), ("user", "two"))
    assert third.messages == (*second.messages, ("assistant", "echo: two"), ("user", "three"))


@pytest.mark.parametrize(
    "text", quick(["größe 🌧 日本", "a\tb\n\n  c  ", "x" * 50_000, "\u2028\x7f"], 0, 2)
)
def test_text_is_returned_unchanged(
    supervisor: SupervisorRef, model: ScriptedModel, text: str
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")
    model.then(say(text), say(text))

    assert agent.ask(Chat("hi")).text == text
    assert "".join(agent.stream("again")) == text
